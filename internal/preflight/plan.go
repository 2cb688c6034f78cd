package preflight

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/cores"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/preflight/savings"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
	"github.com/cvfeeder/cvfeeder/transform"
)

// The figures that the plan is calculated with.
const (
	// month is 730 hours, as in AWS's price lists.
	month = 730 * time.Hour
	// baseMemory is the memory of a process without streams, and streamMemory what each
	// stream adds, in bytes.
	baseMemory, streamMemory = 40 << 20, 32 << 10
)

// assumed is the size of pictures if it is not known.
var assumed = image.Pt(1920, 1080) //nolint:gochecknoglobals // a constant, if Go had structured ones

// A limited stream has limits, and the images that it takes a month.
type limited struct {
	name   string
	limits config.Limits
	month  float64
}

// A load is the load that all streams cause together.
type load struct {
	streams       int
	frames, bytes float64 // a second
	cores         float64
	month, once   images             // a month, and in total of what has an end
	sent          map[string]float64 // bytes a second by output
	largest       int64              // bytes of the largest frame: its picture and tensors
	kinds         map[string]*kind
	limited       []limited // the streams with limits of their own
	inOrder       []*kind
	// busiest is the stream at whose live edge most points are used in a second.
	busiest                     string
	mediaPoints, metadataPoints float64
}

// writePlan prints what the config will cost in bytes, images, money, CPU and memory.
func (c *checker) writePlan(ctx context.Context, out io.Writer) error {
	if len(c.streams) == 0 {
		_, err := fmt.Fprintln(out, "\nno plan: there is no stream to read; --assume-streams N plans for N streams of each prefix")
		return err
	}
	l := load{sent: map[string]float64{}, kinds: map[string]*kind{}}
	costs := map[string]time.Duration{}
	for _, s := range c.streams {
		if s.Poll == config.PollRequest {
			l.streams++
			continue
		}
		if err := c.add(&l, s, costs); err != nil {
			return feeder.Usage(err)
		}
		if err := c.poll(ctx, &l, s); err != nil {
			return err
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "\nplan")
	c.printTensors(w, l)
	line := func(key, format string, args ...any) { _, _ = fmt.Fprintf(w, "  "+key+"\t"+format+"\n", args...) }
	line("frames", "%s a second, from %s", number(l.frames), count(l.streams, "stream"))
	line("to NATS", "%s a second", bytesText(l.bytes))
	c.printPolling(line, l)
	c.printCost(line, l)
	c.printLimits(line, l)
	c.printQuota(line, l)
	host := cores.New(os.DirFS("/"))
	line("CPU", "%s of %s cores of this machine: decoding a frame and making its tensors takes a CPU time of %s", strconv.FormatFloat(l.cores, 'f', 2, 64), number(host.Limit()), costText(costs))
	workers := int64(host.Workers())
	line("memory", "about %s: %s in flight (delivery.inflight), %d workers, %s",
		bytesText(float64(baseMemory+int64(c.cfg.Delivery.Inflight)+workers*l.largest+int64(l.streams)*streamMemory)),
		bytesText(float64(c.cfg.Delivery.Inflight)), workers, count(l.streams, "stream"))
	if c.cfg.Delivery.Memory != "" {
		line("shared", "%s more in %s (delivery.memory_bytes)", bytesText(float64(c.cfg.Delivery.MemoryBytes)), c.cfg.Delivery.Memory)
	}
	for _, text := range savings.OfGates(c.cfg.Outputs, c.read()) {
		line("gate", "%s", text)
	}
	c.printBatches(line, l)
	c.printMasks(line)
	c.printPoll(line)
	told := map[string]int{}
	for _, s := range c.streams {
		if s.Prefix != "" {
			told[s.Prefix]++
		}
	}
	for _, prefix := range slices.Sorted(maps.Keys(told)) {
		line("note", "prefix %s is planned as %s: --connect counts those that it matches, and --assume-streams N plans for N", prefix, count(told[prefix], "stream"))
	}
	return w.Flush()
}

// read returns the streams that are read.
func (c *checker) read() []config.Stream {
	all := make([]config.Stream, len(c.streams))
	for i, s := range c.streams {
		all[i] = s.Stream
	}
	return all
}

// printBatches says which streams have a row in one tensor, and whether they will come in time.
func (c *checker) printBatches(line func(key, format string, args ...any), l load) {
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Outputs)) {
		if b := c.cfg.Outputs[name].Batch; b.Name != "" {
			line("batch", "%s: the rows of %s are %s, on %s, at most %v after the first of them",
				name, b.Name, strings.Join(b.Streams, ", "), c.plan.Subject.Subject(b.Name, name), b.Wait)
			if longest := l.longestFragment(b.Streams); b.Wait < longest {
				line("", "their fragments are up to %v long: unless those of all begin at the same time, rows will be missing with this batch.wait", longest)
			}
		}
	}
}

// printMasks says what is covered of the pictures.
func (c *checker) printMasks(line func(key, format string, args ...any)) {
	for _, s := range c.cfg.Streams {
		for _, m := range s.Masks {
			line("mask", "%s: %v", s.Name+s.Prefix, m)
		}
	}
}

// longestFragment returns the length of the longest fragments of some streams.
func (l *load) longestFragment(streams []string) (longest time.Duration) {
	for _, k := range l.inOrder {
		if slices.ContainsFunc(k.streams, func(name string) bool { return slices.Contains(streams, name) }) {
			longest = max(longest, k.media.Fragment, k.media.FragmentMax)
		}
	}
	return longest
}

// printPoll says which streams are not read all the time.
func (c *checker) printPoll(line func(key, format string, args ...any)) {
	polls, active := map[config.Poll]int{}, map[config.Hours]int{}
	for _, s := range c.streams {
		polls[s.Poll]++
		active[s.Active]++
	}
	for _, open := range slices.Sorted(maps.Keys(active)) {
		if open != "" {
			line("note", "%s: active %s, which is %s of the week and of the images", count(active[open], "stream"), open, percent(open.Open().Share()))
		}
	}
	if n := polls[config.PollSubscribed]; n > 0 {
		line("note", "%s: poll is subscribed, so this is what they cost while somebody listens", count(n, "stream"))
	}
	if n := polls[config.PollRequest]; n > 0 {
		line("note", "%s: poll is request, so they cost only what is requested, which requests.images_per_day bounds", count(n, "stream"))
	}
}

// add adds a stream to the load. The CPU time of a frame is measured once for each kind
// of stream.
func (c *checker) add(l *load, s checked, costs map[string]time.Duration) error {
	size, known := s.size()
	rate := float64(time.Second) / float64(s.Interval)
	kind := fmt.Sprintf("%dx%d %s to %s", size.X, size.Y, s.Request.Format, strings.Join(s.Outputs, ", "))
	if !known {
		kind += " (assumed)"
	}
	if n := len(s.Masks); n > 0 {
		kind += ", with " + count(n, "mask")
	}
	cost, measured := costs[kind]
	if !measured {
		var err error
		if cost, err = c.measure(s, size); err != nil {
			return fmt.Errorf("stream %s: %w", s.Name+s.Prefix, err)
		}
		costs[kind] = cost
	}
	frame := int64(size.X) * int64(size.Y) * 3
	for _, name := range s.Outputs {
		o, batch := c.plan.Outputs[name], c.cfg.Outputs[name].Batch
		n, err := messageSize(s.Name, o, batch.Of(), size)
		if err != nil {
			return fmt.Errorf("output %s: %w", name, err)
		}
		n /= batch.Rows() // the part that is the stream's
		sent := rate * o.Spec.Messages() * float64(n)
		if o.Spec.Pictures() {
			sent = 0 // what a picture takes is not known
		}
		l.bytes += sent
		l.sent[name] += sent
		frame += int64(n)
	}
	l.streams++
	l.frames += rate
	l.cores += rate * cost.Seconds()
	l.largest = max(l.largest, frame)
	return nil
}

// size returns the size of a stream's pictures. It is assumed if known is false.
func (s checked) size() (size image.Point, known bool) {
	if header, _, err := image.DecodeConfig(bytes.NewReader(s.picture)); err == nil {
		return image.Pt(header.Width, header.Height), true
	}
	if s.Request.Size.Width > 0 {
		return image.Pt(s.Request.Size.Width, s.Request.Size.Height), true
	}
	return assumed, false
}

// messageSize returns the size in bytes of an output's message for a picture of the
// given size.
func messageSize(stream string, o *transform.Output, batch *transform.Batch, picture image.Point) (int, error) {
	size, err := feeder.MessageSize(stream, o, batch)
	if _, known := o.Spec.Bytes(); known || err != nil {
		return size, err
	}
	n, err := o.Spec.BytesOf(picture)
	return size + o.Spec.ClipBytes(n), err
}

func (c *checker) printTensors(w io.Writer, l load) {
	_, _ = fmt.Fprintln(w, "  output\ttensor\tbytes\ta second")
	for _, name := range slices.Sorted(maps.Keys(l.sent)) {
		o := c.plan.Outputs[name]
		if o.Spec.Pictures() {
			_, _ = fmt.Fprintf(w, "  %s\t%s\t?\t?\n", name, pictureText(&o.Spec))
			continue
		}
		shape, size := tensorText(&o.Spec, c.cfg.Outputs[name].Batch.Rows())
		_, _ = fmt.Fprintf(w, "  %s\t%s %s\t%s\t%s\n", name, shape, o.Spec.DType, size, bytesText(l.sent[name]))
	}
}

// pictureText describes the pictures that an output makes, whose bytes depend on what they show.
func pictureText(s *transform.Spec) string {
	switch {
	case !s.Decodes():
		return "the picture as it came"
	case s.Width > 0:
		return fmt.Sprintf("%dx%d %s", s.Width, s.Height, s.Encode)
	}
	return "the picture as " + string(s.Encode)
}

// tensorText returns the shape and the size of an output's tensors, of so many rows
// of a batch. A size that follows from the
// picture's is shown for the assumed one.
func tensorText(s *transform.Spec, rows int) (shape, size string) {
	_, known := s.Bytes()
	all, err := s.Geometries(assumed)
	if err != nil || !known && !s.ComputesSize() && s.Tiles == (transform.Tiles{}) {
		return "as large as the picture", "?"
	}
	dims, n := make([]string, 0, 4), s.DType.Size()
	for _, side := range s.MessageShape(s.Shape(len(all)*rows, all[0])) {
		dims, n = append(dims, strconv.Itoa(side)), n*side
	}
	shape, size = strings.Join(dims, "x"), bytesText(float64(n))
	if !known {
		shape += fmt.Sprintf(" of a picture of %dx%d,", assumed.X, assumed.Y)
	}
	return shape, size
}

func (c *checker) printCost(line func(key, format string, args ...any), l load) {
	price := c.cfg.Price.PerMillionImages / 1e6
	for _, part := range []struct {
		images
		when string
	}{{l.month, " a month"}, {l.once, " in total"}} {
		if part.made == 0 {
			continue
		}
		line("images", "%s million%s", span(part.made/1e6, part.answered/1e6), part.when)
		line("cost", "%s %s%s, at %s per million images (price.per_million_images)",
			span(part.made*price, part.answered*price), c.cfg.Price.Currency, part.when, money(c.cfg.Price.PerMillionImages, c.cfg.Price))
	}
	if l.month.answered > l.month.made || l.once.answered > l.once.made {
		line("", "the lower figure if only pictures are billed, the higher one if entries without a picture are, too")
	}
}

// printLimits says how much of the limits the plan takes.
func (c *checker) printLimits(line func(key, format string, args ...any), l load) {
	key := "limits"
	tell := func(of string, limit config.Limits, images float64) {
		share := func(what string, used, most float64, all string) {
			if most == 0 {
				return
			}
			text := fmt.Sprintf("%s takes %s of %s", of, percent(used/most), all)
			if used > most {
				then := "nothing is asked for"
				if limit.Then == config.ThenSlow {
					then = "a tenth is asked for"
				}
				text += fmt.Sprintf(": after %s of each %s, %s", percent(most/used), what, then)
			}
			line(key, "%s", text)
			key = ""
		}
		day := images * float64(24*time.Hour) / float64(month)
		share("day", day, float64(limit.ImagesPerDay), grouped(float64(limit.ImagesPerDay))+" images a day")
		share("month", images*c.cfg.Price.PerMillionImages/1e6, limit.MoneyPerMonth, money(limit.MoneyPerMonth, c.cfg.Price)+" a month")
	}
	tell("the plan", c.cfg.Limits, l.month.answered)
	for _, s := range l.limited {
		tell("stream "+s.name, s.limits, s.month)
	}
}

func (c *checker) printQuota(line func(key, format string, args ...any), l load) {
	if l.busiest != "" {
		line("quota", "the busiest stream, %s, uses %s of its %d media points a second, and %s of its %s metadata points",
			l.busiest, percent(l.mediaPoints/limits.MediaPoints), limits.MediaPoints,
			percent(l.metadataPoints/limits.MetadataPoints), grouped(limits.MetadataPoints))
	}
	line("", "the start makes %s each to DescribeStream and GetDataEndpoint: %s at the account's %d a second",
		count(l.streams, "request"), (time.Duration(float64(l.streams)/limits.AccountRequests*1000)*time.Millisecond + time.Millisecond).Round(time.Millisecond), limits.AccountRequests)
}

func costText(costs map[string]time.Duration) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(costs)) {
		parts = append(parts, fmt.Sprintf("%v for %s", costs[kind].Round(10*time.Microsecond), kind))
	}
	return strings.Join(parts, "; ")
}

// number formats a number with three significant digits, and from 1000 on as a whole
// number.
func number(v float64) string {
	if v >= 1000 {
		return grouped(v)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// grouped formats a whole number as 12,345.
func grouped(v float64) string {
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func percent(share float64) string { return strconv.FormatFloat(share*100, 'g', 2, 64) + "%" }

// bytesText formats a number of bytes with a unit that suits its size.
func bytesText(n float64) string {
	for _, unit := range []struct {
		name string
		size float64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= unit.size {
			return strconv.FormatFloat(n/unit.size, 'f', 1, 64) + " " + unit.name
		}
	}
	return strconv.FormatFloat(n, 'f', 0, 64) + " bytes"
}
