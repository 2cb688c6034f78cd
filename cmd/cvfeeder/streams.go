package main

import (
	"context"
	"fmt"
	"image"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A builder makes streams as the pipeline takes them out of those of the config.
type builder struct {
	client  *kinesis.Client
	outputs map[string]*transform.Output
	subject publish.SubjectTemplate
	metrics *metrics.Metrics
	length  time.Duration // after which they end, unless 0
	group   *group        // nil where the streams are not shared
	// claim, where set, makes sure that a stream can be delivered.
	claim func(context.Context, pipeline.Stream) error
}

// check makes sure that a stream can be delivered, before it is started.
func (b *builder) check(ctx context.Context, s pipeline.Stream) error {
	if b.claim == nil {
		return nil
	}
	return b.claim(ctx, s)
}

// named returns the streams that the config names.
func (b *builder) named(streams []config.Stream) ([]pipeline.Stream, error) {
	now := time.Now()
	var all []pipeline.Stream
	for _, c := range streams {
		if c.Prefix != "" {
			continue
		}
		s, err := b.stream(c, now)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// stream returns the pipeline's stream, whose time begins at now unless the config
// says otherwise.
func (b *builder) stream(c config.Stream, now time.Time) (pipeline.Stream, error) {
	grid, err := source.NewGrid(c.Interval)
	if err != nil {
		return pipeline.Stream{}, fmt.Errorf("stream %s: %w", c.Name, err)
	}
	fetch := b.client.Stream(b.options(c))
	s := pipeline.Stream{
		Name: c.Name, Fetcher: fetch, Check: fetch.Check, Grid: grid, From: source.SlotAt(now), Key: c.Name,
		Poll: poll.Options{
			Lag: time.Duration(c.Lag), Overlap: time.Duration(c.Overlap),
			Grace: c.Grace, Freshness: c.Freshness, Retention: fetch.Retention,
		},
	}
	switch {
	case c.From.Kind == config.StartAt:
		s.From = source.SlotAt(c.From.Time)
		// A range has a cursor of its own, beside that of the live stream.
		s.Key += "@" + s.From.String()
		s.Range = true
	case c.From.Kind == config.StartNow:
		s.Key = ""
	}
	switch {
	case b.length > 0:
		s.Poll.To = s.From.Add(b.length)
	case !c.To.Time.IsZero():
		s.Poll.To = source.SlotAt(c.To.Time)
	}
	for _, name := range c.Outputs {
		s.Outputs = append(s.Outputs, b.outputs[name])
		s.Subjects = append(s.Subjects, b.subject.Subject(c.Name, name))
	}
	return s, nil
}

func (b *builder) options(c config.Stream) kinesis.StreamOptions {
	opts := kinesis.StreamOptions{
		Name: c.Name, Producer: c.Selector == "producer",
		PNG: c.Request.Format == "png", Quality: c.Request.Quality,
		Width: c.Request.Size.Width, Height: c.Request.Size.Height,
		Observe: func(code string, images int) {
			b.metrics.Requested(c.Name, code, images)
		},
	}
	if c.ARN != "" {
		opts.Name, opts.ARN, opts.Region = "", c.ARN, c.Region
	}
	return opts
}

// region returns that of the config, or where nothing needs one but streams that name
// their own, the first of theirs; "" leaves it to the SDK.
func region(cfg *config.Config) string {
	named := func(s config.Stream) bool { return s.Region != "" }
	if cfg.AWS.Region != "" || !named(cfg.Streams[0]) || slices.ContainsFunc(cfg.Streams, func(s config.Stream) bool { return !named(s) }) {
		return cfg.AWS.Region
	}
	return cfg.Streams[0].Region
}

// largest returns the size of the largest message that the config can lead to, as
// far as it is known before the first picture, and which that is.
func largest(cfg *config.Config, outputs map[string]*transform.Output) (size int, which string, err error) {
	for _, c := range cfg.Streams {
		for _, name := range c.Outputs {
			n, err := largestMessage(c.Name, outputs[name])
			if err != nil {
				return 0, "", fmt.Errorf("output %s: %w", name, err)
			}
			if n > size {
				size, which = n, fmt.Sprintf("stream %s%s, output %s", c.Name, c.Prefix, name)
			}
		}
	}
	return size, which, nil
}

// largestMessage returns the size of an output's message, with headers as long as
// they get. Where the size of the tensor is that of the picture, only the headers
// are known.
func largestMessage(stream string, o *transform.Output) (int, error) {
	const side = 8192
	g, err := o.Spec.Geometry(image.Pt(side, side))
	if err != nil {
		return 0, err
	}
	long := -1.0 / 3 * 1e-5 // as long a decimal as any
	t := &transform.Tensor{
		Stream: stream, Slot: source.SlotAt(time.Now()), Capture: time.Now(), Output: o,
		Shape: o.Spec.Shape(g), Source: image.Pt(side, side), Affine: transform.Affine{long, long, long, long, long, long},
	}
	n, _ := o.Spec.Bytes()
	return n + publish.HeaderSize(publish.NewMessage("", t).Header), nil
}
