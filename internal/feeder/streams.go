package feeder

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

// A builder turns streams of the config into streams of the pipeline.
type builder struct {
	client  *kinesis.Client
	outputs map[string]*transform.Output
	subject publish.SubjectTemplate
	metrics *metrics.Metrics
	length  time.Duration // after which the streams end, unless 0
	group   *group        // nil where the streams are not shared
	// claim, where set, makes sure that a stream can be delivered.
	claim func(context.Context, pipeline.Stream) error
}

// check makes sure that a stream can be delivered. It must be called before the stream
// starts.
func (b *builder) check(ctx context.Context, s pipeline.Stream) error {
	if b.claim == nil {
		return nil
	}
	return b.claim(ctx, s)
}

// named returns the streams that the config lists by name or ARN.
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

// stream returns a stream for the pipeline. It begins at now unless the config says
// otherwise.
func (b *builder) stream(c config.Stream, now time.Time) (pipeline.Stream, error) {
	grid, err := source.NewGrid(c.Interval)
	if err != nil {
		return pipeline.Stream{}, fmt.Errorf("stream %s: %w", c.Name, err)
	}
	fetch := b.client.Stream(ClientOptions(c, func(code string, images int) { b.metrics.Requested(c.Name, code, images) }))
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
		// A range has a cursor of its own, apart from the cursor of the live stream.
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

// ClientOptions returns how a stream is read from Kinesis. The observer is called with
// the code and the number of images of each request.
func ClientOptions(c config.Stream, observe func(code string, images int)) kinesis.StreamOptions {
	opts := kinesis.StreamOptions{
		Name: c.Name, Producer: c.Selector == config.SelectorProducer,
		PNG: c.Request.Format == config.FormatPNG, Quality: c.Request.Quality,
		Width: c.Request.Size.Width, Height: c.Request.Size.Height,
		Observe: observe,
	}
	if c.ARN != "" {
		opts.Name, opts.ARN, opts.Region = "", c.ARN, c.Region
	}
	return opts
}

// Region returns the AWS region of a config. Where the config has none and every stream
// has its own (in its ARN), it is that of the first stream; "" leaves it to the SDK.
func Region(cfg *config.Config) string {
	named := func(s config.Stream) bool { return s.Region != "" }
	if cfg.AWS.Region != "" || !named(cfg.Streams[0]) || slices.ContainsFunc(cfg.Streams, func(s config.Stream) bool { return !named(s) }) {
		return cfg.AWS.Region
	}
	return cfg.Streams[0].Region
}

// LargestMessage returns the size in bytes of the largest message that a config can lead
// to, as far as it is known before the first picture, and which stream and output that
// is. See [MessageSize].
func LargestMessage(cfg *config.Config, outputs map[string]*transform.Output) (size int, which string, err error) {
	for _, c := range cfg.Streams {
		for _, name := range c.Outputs {
			n, err := MessageSize(c.Name, outputs[name])
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

// MessageSize returns the size in bytes of an output's message with the longest possible
// headers. Where the size of the tensor depends on the picture, only the headers count.
func MessageSize(stream string, o *transform.Output) (int, error) {
	const side = 8192
	g, err := o.Spec.Geometry(image.Pt(side, side))
	if err != nil {
		return 0, err
	}
	long := -1.0 / 3 * 1e-5 // no number has a longer decimal
	t := &transform.Tensor{
		Stream: stream, Slot: source.SlotAt(time.Now()), Capture: time.Now(), Output: o,
		Shape: o.Spec.Shape(g), Source: image.Pt(side, side), Affine: transform.Affine{long, long, long, long, long, long},
	}
	n, _ := o.Spec.Bytes()
	return n + publish.HeaderSize(publish.NewMessage("", t).Header), nil
}
