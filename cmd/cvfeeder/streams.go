package main

import (
	"fmt"
	"image"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/transform"
)

// streams returns the config's streams as the pipeline takes them.
func (f *feeder) streams(client *kinesis.Client, outputs map[string]*transform.Output, m *metrics.Metrics) ([]pipeline.Stream, error) {
	subject, err := publish.ParseSubject(f.cfg.Delivery.Subject)
	if err != nil {
		return nil, fmt.Errorf("delivery.subject: %w", err)
	}
	now := time.Now()
	all := make([]pipeline.Stream, len(f.cfg.Streams))
	for i, c := range f.cfg.Streams {
		grid, err := source.NewGrid(c.Interval)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", c.Name, err)
		}
		fetch := client.Stream(streamOptions(c, m))
		s := pipeline.Stream{
			Name: c.Name, Fetcher: fetch, Check: fetch.Check, Grid: grid, From: source.SlotAt(now),
			Poll: source.Options{
				Lag: time.Duration(c.Lag), Overlap: time.Duration(c.Overlap),
				Grace: c.Grace, Freshness: c.Freshness,
			},
		}
		if f.length > 0 {
			s.Poll.To = s.From.Add(f.length)
		}
		if c.From.Kind == config.StartAt {
			s.From = source.SlotAt(c.From.Time)
		}
		for _, name := range c.Outputs {
			s.Outputs = append(s.Outputs, outputs[name])
			s.Subjects = append(s.Subjects, subject.Subject(c.Name, name))
		}
		all[i] = s
	}
	return all, nil
}

func streamOptions(c config.Stream, m *metrics.Metrics) kinesis.StreamOptions {
	opts := kinesis.StreamOptions{
		Name: c.Name, Producer: c.Selector == "producer",
		PNG: c.Request.Format == "png", Quality: c.Request.Quality,
		Width: c.Request.Size.Width, Height: c.Request.Size.Height,
		Observe: func(code string, images int) {
			m.Requests.WithLabelValues(c.Name, code).Inc()
			m.Images.WithLabelValues(c.Name).Add(float64(images))
		},
	}
	if c.ARN != "" {
		opts.Name, opts.ARN = "", c.ARN
	}
	return opts
}

// largest returns the size of the largest message that the config can lead to, as
// far as it is known before the first picture, and which that is.
func (f *feeder) largest(outputs map[string]*transform.Output) (size int, which string, err error) {
	for _, c := range f.cfg.Streams {
		for _, name := range c.Outputs {
			n, err := largestMessage(c.Name, outputs[name])
			if err != nil {
				return 0, "", fmt.Errorf("output %s: %w", name, err)
			}
			if n > size {
				size, which = n, fmt.Sprintf("stream %s, output %s", c.Name, name)
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
