package feeder

import (
	"fmt"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A camera is a stream that the config wants, whether it runs here or elsewhere. All that is
// read of it shares a client, and with it the stream's quota.
type camera struct {
	config  config.Stream
	client  *kinesis.Stream
	builder *builder
	// sight is what is particular to its pictures.
	sight *transform.Camera
}

// cameras are all of them, by name.
type cameras struct{ by sync.Map }

// camera makes that of a stream.
func (b *builder) camera(c config.Stream) *camera {
	opts := b.clientOptions(c)
	located := opts.Located
	opts.Located = func(result string) {
		located(result)
		b.moved(c.Name, result)
	}
	made := &camera{config: c, client: b.service.Stream(opts), builder: b, sight: c.Camera()}
	if b.cameras != nil {
		b.cameras.by.Store(c.Name, made)
	}
	return made
}

// clientOptions returns those of a client of a stream, whose images and look-ups are counted.
func (b *builder) clientOptions(c config.Stream) kinesis.StreamOptions {
	opts := ClientOptions(c, func(code string, asked, came source.Bill) {
		b.purse.Spend(c.Name, asked.Sum())
		b.metrics.Requested(c.Name, code, asked, came)
	})
	opts.Located = b.metrics.EndpointLookup
	return opts
}

// past returns how to poll a range of a camera's time for s, whatever its age.
func (c *camera) past(s pipeline.Stream, why source.Cause) poll.Options {
	opts := c.builder.poll(c, s)
	opts.Cause, opts.Freshness, opts.Again, opts.Check = why, 0, 0, c.client.Check
	return opts
}

// of returns the camera of a name, nil where there is none.
func (c *cameras) of(name string) *camera {
	if found, known := c.by.Load(name); known {
		return found.(*camera)
	}
	return nil
}

// excerpt returns what a config file says of a stream, false where there is none.
func (c *cameras) excerpt(name string) (string, bool) {
	of := c.of(name)
	if of == nil {
		return "", false
	}
	text, err := of.builder.plan.Config.Excerpt(of.config)
	return text, err == nil
}

// lookBack returns a stream that reads a range of a camera's time, from one slot up to another,
// beside the stream of that name: every interval, 0 for the camera's own. Its images are counted
// under the cause. It has no cursor, and the camera's outputs and subjects. It is refused with a
// [*budget.Error] if images may not cost more.
func (p *parts) lookBack(name string, interval time.Duration, from, to source.Slot, why source.Cause) (pipeline.Stream, error) {
	return p.lookBackThrough(name, interval, from, to, why, func(f poll.Fetcher) poll.Fetcher { return f })
}

// lookBackThrough is lookBack with something between the feed and the camera's client.
func (p *parts) lookBackThrough(
	name string, interval time.Duration, from, to source.Slot, why source.Cause, through func(poll.Fetcher) poll.Fetcher,
) (pipeline.Stream, error) {
	c := p.cameras.of(name)
	if c == nil {
		return pipeline.Stream{}, fmt.Errorf("%w stream %q", pipeline.ErrUnknown, name)
	}
	if err := c.builder.purse.Allow(name); err != nil {
		return pipeline.Stream{}, err
	}
	if interval == 0 {
		interval = c.config.Interval
	}
	grid, err := source.NewGrid(interval)
	if err != nil {
		return pipeline.Stream{}, err
	}
	b := c.builder
	s := pipeline.Stream{
		Name: name, Grid: grid, From: from, To: to, Backfill: true, Grace: c.config.Grace, Routes: b.routes(c.config, c.sight), Camera: c.sight,
	}
	opts := c.past(s, why)
	opts.Fragment = p.feedOf(name).Fragment
	s.Open = func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
		opts := opts
		opts.Fetched = fetched
		return poll.New(through(b.traces.fetcher(name, c.client)), l, opts)
	}
	return s, nil
}
