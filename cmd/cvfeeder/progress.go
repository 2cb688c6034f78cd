package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
)

// rateSeconds is how many seconds a rate is averaged over. It spans several fragments,
// because media comes in bursts of one fragment.
const rateSeconds = 10

// A progress shows how a feeder is doing. It prints a line every second; on a terminal,
// each replaces the one before.
type progress struct {
	out      io.Writer
	terminal bool
	start    time.Time
	counts   []uint64        // published slots, a second apart, newest last
	last     *feeder.Running // nil before the streams run
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	return p
}

// begin prints the addresses of everything.
func (p *progress) begin(endpoint string, r feeder.Running, shared string) {
	p.start, p.last = time.Now(), &r
	for _, l := range [][2]string{
		{"Kinesis Video (fake)", endpoint},
		{"NATS", r.NATS + "  subjects cvf.t.> and cvf.gap.>"},
		{"status page", r.HTTP + "/  and /metrics  /healthz  /readyz"},
		{"shared memory", shared},
	} {
		if l[0] == "status page" && r.HTTP == "" {
			continue
		}
		p.printf("%-21s %s\n", l[0], l[1])
	}
}

// show prints a line every second until ctx ends.
func (p *progress) show(ctx context.Context, r feeder.Running) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			if p.terminal {
				p.printf("\n")
			}
			return
		case now := <-t.C:
			line := p.line(now, r.Streams())
			if p.terminal {
				p.printf("\r\033[K%s", line)
			} else {
				p.printf("%s\n", line)
			}
		}
	}
}

func (p *progress) line(now time.Time, streams []metrics.Stream) string {
	all := total(streams)
	p.counts = append(p.counts, all.Ended[source.Published]+all.Ended[source.Unwatched]+all.Ended[source.Unchanged])
	if len(p.counts) > rateSeconds+1 {
		p.counts = p.counts[1:]
	}
	rate := 0.0
	if n := len(p.counts); n > 1 {
		rate = float64(p.counts[n-1]-p.counts[0]) / float64(n-1)
	}
	return fmt.Sprintf("%4ds  streams %d  frames/s %.1f  published %d  unwatched %d  gaps %d  %s",
		int(now.Sub(p.start).Round(time.Second).Seconds()), len(streams), rate,
		all.Ended[source.Published], all.Ended[source.Unwatched], gaps(all), ages(now, streams))
}

// ages says how old the newest frame of all cameras is, and which camera's newest frame is
// the oldest. Cameras that rest have none.
func ages(now time.Time, streams []metrics.Stream) string {
	read := slices.DeleteFunc(slices.Clone(streams), func(s metrics.Stream) bool { return s.Resting })
	if len(read) == 0 {
		return "all rest"
	}
	byAge := func(a, b metrics.Stream) int { return cmp.Compare(a.Freshness(now), b.Freshness(now)) }
	text := fmt.Sprintf("newest frame %.1fs old", slices.MinFunc(read, byAge).Freshness(now).Seconds())
	if len(read) > 1 {
		last := slices.MaxFunc(read, byAge)
		text += fmt.Sprintf(", of %s %.1fs", last.Name, last.Freshness(now).Seconds())
	}
	return text
}

// total returns the sums over all streams.
func total(streams []metrics.Stream) source.Stats {
	var all source.Stats
	for _, s := range streams {
		all.Expected += s.Expected
		all.Pending += s.Pending
		for o := range s.Ended {
			all.Ended[o] += s.Ended[o]
			all.Gaps[o] += s.Gaps[o]
			all.GapTime[o] += s.GapTime[o]
		}
	}
	return all
}

func gaps(st source.Stats) (n uint64) {
	for _, g := range st.Gaps {
		n += g
	}
	return n
}

// summary prints the ledger of every stream, and whether it adds up.
func (p *progress) summary() error {
	if p.last == nil {
		return nil
	}
	streams := p.last.Streams()
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := []string{"stream", "expected"}
	for _, o := range source.Outcomes() {
		head = append(head, o.String())
	}
	row(w, append(head, "pending", "gaps"))
	for _, s := range streams {
		row(w, cells(s.Name, s.Stats))
	}
	all := total(streams)
	row(w, cells("all", all))
	if err := w.Flush(); err != nil {
		return err
	}
	sum := all.Pending
	for _, n := range all.Ended {
		sum += n
	}
	if sum != all.Expected {
		return fmt.Errorf("the ledger does not add up: %d slots expected, %d accounted for", all.Expected, sum)
	}
	p.printf("%d slots expected, each with its outcome", all.Expected)
	if all.Pending > 0 {
		p.printf(", except %d that were still pending at the end", all.Pending)
	}
	p.printf(".\n")
	return nil
}

func cells(name string, st source.Stats) []string {
	c := []string{name, fmt.Sprint(st.Expected)}
	for _, o := range source.Outcomes() {
		c = append(c, fmt.Sprint(st.Ended[o]))
	}
	return append(c, fmt.Sprint(st.Pending), fmt.Sprint(gaps(st)))
}

func row(w io.Writer, cells []string) {
	_, _ = fmt.Fprintln(w, strings.Join(cells, "\t")+"\t")
}

func (p *progress) printf(format string, args ...any) { _, _ = fmt.Fprintf(p.out, format, args...) }
