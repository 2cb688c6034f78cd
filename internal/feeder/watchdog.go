package feeder

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
)

const (
	// watchEvery is how often the watchdog looks.
	watchEvery = time.Second
	// named is how many streams a line of the log names.
	named = 3
)

// A watchdog looks at everything once a second, and has package health say how well it is.
// Whoever wants to know reads its report.
type watchdog struct {
	machine  *health.Machine
	snapshot func() health.Snapshot
	log      *slog.Logger
	report   atomic.Pointer[health.Report]
}

// newWatchdog returns a watchdog whose first report is that of now.
func newWatchdog(n health.Need, snapshot func() health.Snapshot, log *slog.Logger) *watchdog {
	w := &watchdog{machine: health.New(n), snapshot: snapshot, log: log}
	w.look()
	return w
}

// watch looks until ctx ends.
func (w *watchdog) watch(ctx context.Context) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			w.look()
		}
	}
}

// look makes a report, and logs what has changed: a line when a reason begins, and one when
// it is over. Streams for which the same changes at the same time share a line.
func (w *watchdog) look() {
	report, changes := w.machine.Observe(w.snapshot())
	w.report.Store(&report)
	for len(changes) > 0 {
		first := changes[0]
		var same []health.Change
		changes = slices.DeleteFunc(changes, func(c health.Change) bool {
			is := c.Code == first.Code && c.Over == first.Over && (c.Stream == "") == (first.Stream == "")
			if is {
				same = append(same, c)
			}
			return is
		})
		w.tell(same, report.At)
	}
}

// tell logs a change, of one stream or of several.
func (w *watchdog) tell(same []health.Change, at time.Time) {
	c := same[0]
	args := []any{"reason", string(c.Code)}
	switch {
	case len(same) > 1:
		var names []string
		for _, one := range same[:min(named, len(same))] {
			names = append(names, one.Stream)
		}
		args = append(args, "streams", len(same), "names", strings.Join(names, ","))
	case c.Stream != "":
		args = append(args, "stream", c.Stream)
	}
	if c.Over {
		w.log.Info("well again", append(args, "lasted", at.Sub(c.Since).Round(watchEvery))...)
		return
	}
	if c.Detail != "" {
		args = append(args, "err", c.Detail)
	}
	w.log.Warn(c.Code.Means(), args...)
}

// now returns the report as it is to be believed now.
func (w *watchdog) now() health.Report { return w.report.Load().Read(time.Now()) }

// counts returns how many streams have each reason.
func (w *watchdog) counts() map[health.Code]int { return w.now().Counts() }

// ready returns whether the process is ready, and all reasons, a line for each.
func (w *watchdog) ready() (bool, []string) {
	r := w.now()
	return r.Ready, r.Lines()
}

// snapshot returns what is known now. It looks at the cores, as it is called every second.
func (p *parts) snapshot() health.Snapshot {
	p.cores.Look()
	s := health.Snapshot{
		At: time.Now(), Now: p.service.Now(), Opened: p.opened.Load(), Stopping: p.stopping.Load(),
		Waiting: p.broker.conn.Waiting(), Lost: p.broker.conn.Remakes() + p.broker.conn.Rollbacks(), Troubles: p.broker.troubles.all(),
		Unfound: p.follower.Load().notFound(), Prefixes: p.follower.Load().prefixes(), Group: p.outlet.sharing.part(), ClockOffset: p.service.ClockOffset(), Cores: p.cores.Lack().Text(),
	}
	s.Down, s.Deaf = p.broker.down()
	s.Budget = budgetOf(p.purse.UseOfAll())
	seen := sighting{s.At, p.pipeline.Streams()}
	p.seen.Store(&seen)
	for _, st := range seen.states {
		s.Streams = append(s.Streams, health.Stream{
			Name: st.Name, Stats: st.Stats, Feed: st.Feed, Interval: st.Grid.Interval(), Grace: st.Grace, To: st.To,
			Problem: st.Problem, Delivering: st.Delivering, InHand: st.InHand, Moved: p.moves.of(st.Name), Budget: budgetOf(p.purse.Use(st.Name)),
		})
	}
	return s
}

// A sighting is how all streams stood when the watchdog looked.
type sighting struct {
	at     time.Time
	states []pipeline.State
}

// states returns how every stream stands, by name, as the watchdog last saw it: whoever looks at
// the page of thousands of streams costs no look at each of them. If the watchdog does not look
// any more, it is as it is now.
func (p *parts) states() []pipeline.State {
	if seen := p.seen.Load(); seen != nil && time.Since(seen.at) < 2*watchEvery {
		return seen.states
	}
	return p.pipeline.Streams()
}

// troubles are the last failures to publish, by reason.
type troubles struct {
	mu sync.Mutex
	by map[health.Code]health.Trouble
}

// note takes note of a failure, after which the message is published again.
func (t *troubles) note(reason string, err error) {
	code := health.NotStored
	switch {
	case reason == publish.DropFull:
		code = health.StreamFull
	case reason == publish.DropDisconnected, reason == deliver.Conflict:
		return // the connections tell, or it is harmless
	}
	t.add(code, err)
}

func (t *troubles) add(code health.Code, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[health.Code]health.Trouble{}
	}
	t.by[code] = health.Trouble{Code: code, At: time.Now(), Detail: err.Error()}
}

func (t *troubles) all() []health.Trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]health.Trouble, 0, len(t.by))
	for _, one := range t.by {
		all = append(all, one)
	}
	return all
}

// moves are when the endpoints of the streams have last moved, by name.
type moves struct{ at sync.Map }

// located is told of the result of a look-up of a stream's endpoint.
func (m *moves) located(stream, result string) {
	if result == kinesis.LookupMoved {
		m.at.Store(stream, time.Now())
	}
}

// forget drops what is known of a stream that stops: others come and go with a prefix, and
// all of their names would add up.
func (p *parts) forget(stream string) {
	if c := p.cameras.of(stream); c != nil && p.outlet != nil && p.outlet.once != nil {
		for _, r := range c.builder.routes(c.config, c.sight) {
			p.outlet.once.Forget(r.Subject)
			p.memory.forget(r.Subject)
		}
	}
	if p.bursts != nil {
		p.bursts.Forget(stream)
	}
	p.cameras.by.Delete(stream)
	p.purse.Forget(stream)
	p.moves.at.Delete(stream)
}

func (m *moves) of(stream string) time.Time {
	at, some := m.at.Load(stream)
	if !some {
		return time.Time{}
	}
	return at.(time.Time)
}
