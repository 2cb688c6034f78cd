package feeder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/internal/tensorimage"
	"github.com/cvfeeder/cvfeeder/internal/web"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/metrics/status"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// The limits of pictures for the status page.
const (
	maxViews    = 4 // requests that wait for a picture at the same time
	viewTime    = 15 * time.Second
	viewSide    = 1280 // pixels
	viewQuality = 85
	maxSource   = 16 << 20 // bytes
)

// sources returns what the metrics read at each scrape.
func (p *parts) sources() metrics.Sources {
	s := metrics.Sources{
		Streams:       func() []metrics.Stream { return metricsOf(p.pipeline.Streams()) },
		Connections:   p.broker.connections,
		InflightBytes: p.pipeline.InflightBytes,
		MatsOpen:      opencv.OpenMats,
		BusyRatio:     p.pipeline.Busy,
		Cores:         p.lacks,
		Remakes:       p.broker.conn.Remakes,
		Rollbacks:     p.broker.conn.Rollbacks,
		NotReady:      p.watchdog.counts,
		Now:           p.service.Now,
		ClockOffset:   p.service.ClockOffset,
	}
	if p.plan.Config.Cluster.Group != "" {
		s.Group = p.outlet.sharing.counts
	}
	return s
}

// lacks returns what the process lacks in cores.
func (p *parts) lacks() metrics.Cores {
	l := p.cores.Lack()
	return metrics.Cores{Limit: l.Cores, Quota: l.Quota, Machine: l.Machine, Process: l.Process}
}

// metricsOf returns the states of streams as the metrics show them.
func metricsOf(states []pipeline.State) []metrics.Stream {
	all := make([]metrics.Stream, len(states))
	for i, s := range states {
		all[i] = metrics.Stream{Name: s.Name, Stats: s.Stats, Lag: s.Feed.Lag, Overlap: s.Feed.Overlap, Trail: s.Feed.Trail}
	}
	return all
}

// handler serves the status page, metrics and health.
func (p *parts) handler(l net.Listener) http.Handler {
	cfg := p.plan.Config
	local := web.IsLoopback(l)
	if !local && cfg.HTTP.Token == "" {
		p.log.Warn("the status page, with pictures, and the metrics are open to everybody who can connect: set http.token, or listen on 127.0.0.1", "http", "http://"+l.Addr().String())
	}
	views := semaphore.NewWeighted(maxViews)
	page := status.Handler(status.Options{
		Version: Version(), Mode: string(cfg.Delivery.Mode), NATS: p.broker.url,
		Streams: p.statuses, Waiting: p.waiting, Connections: p.broker.connections,
		Health: p.watchdog.now, Busy: p.pipeline.Busy, Now: p.service.Now, At: p.service.At, ClockOffset: p.service.ClockOffset,
		Picture: func(ctx context.Context, stream, output string) (status.Picture, error) {
			return picture(ctx, p.pipeline, views, stream, output)
		},
	})
	return web.Handler(web.Options{
		Metrics: p.metrics, Ready: p.watchdog.ready, Status: page,
		Pprof: cfg.HTTP.Pprof, Token: cfg.HTTP.Token, Loopback: local,
	})
}

// waiting returns the names of the config's streams until they have begun.
func (p *parts) waiting() []string {
	if p.opened.Load() {
		return nil
	}
	var names []string
	for _, s := range p.plan.Config.Streams {
		if s.Prefix != "" {
			names = append(names, s.Prefix+"*")
		} else {
			names = append(names, s.Name)
		}
	}
	return names
}

// statuses returns how every stream stands, by name, for the status page.
func (p *parts) statuses() []status.Stream {
	states := p.states()
	all := make([]status.Stream, 0, len(states))
	for _, s := range states {
		history := p.histories.Of(s.Name)
		if history == nil {
			continue // it was removed this very moment
		}
		all = append(all, status.Stream{
			Stream:   metrics.Stream{Name: s.Name, Stats: s.Stats, Lag: s.Feed.Lag, Overlap: s.Feed.Overlap, Trail: s.Feed.Trail},
			Interval: s.Grid.Interval(), Grace: s.Grace, To: s.To, History: history,
			Outputs: func() []status.Output { return outputsOf(s.Routes) },
		})
	}
	return all
}

// outputsOf returns outputs as the page shows them.
func outputsOf(routes []publish.Route) []status.Output {
	all := make([]status.Output, len(routes))
	for i, r := range routes {
		all[i] = status.Output{Name: r.Output.Name, Subject: r.Subject, Spec: describe(r.Output)}
	}
	return all
}

// describe returns an output in a few words: 640x640 letterbox, rgb float32 nchw.
func describe(o *transform.Output) string {
	size := "as large as the picture"
	if o.Spec.Width > 0 {
		size = fmt.Sprintf("%dx%d %s", o.Spec.Width, o.Spec.Height, o.Spec.Fit)
	}
	return fmt.Sprintf("%s, %s %s %s", size, o.Spec.Color, o.Spec.DType, o.Spec.Layout)
}

// picture waits for the next frame of a stream, and returns it with its tensor.
func picture(ctx context.Context, p *pipeline.Pipeline, views *semaphore.Weighted, stream, output string) (status.Picture, error) {
	if !views.TryAcquire(1) {
		return status.Picture{}, fmt.Errorf("%w: %d pictures are being waited for; try again", status.ErrBusy, maxViews)
	}
	defer views.Release(1)
	ctx, cancel := context.WithTimeoutCause(ctx, viewTime,
		fmt.Errorf("%w of stream %s has come within %v", status.ErrNoFrame, stream, viewTime))
	defer cancel()
	v, err := p.View(ctx, stream, output)
	switch {
	case errors.Is(err, pipeline.ErrUnknown):
		return status.Picture{}, fmt.Errorf("%w: %w", status.ErrNotFound, err)
	case errors.Is(err, pipeline.ErrNotRunning):
		return status.Picture{}, errors.New("the streams have not begun yet, or are ending")
	case err != nil:
		return status.Picture{}, err
	}
	if v.Tensor != nil {
		defer v.Tensor.Release()
	}
	return render(v, output)
}

// render turns a frame and its tensor into pictures.
func render(v pipeline.View, output string) (status.Picture, error) {
	pic := status.Picture{
		Stream: v.Frame.Stream, Output: output, Time: v.Frame.Slot.String(),
		Capture: v.Frame.Capture.UTC().Format(publish.TimeFormat), Outcome: v.Outcome.String(),
	}
	if v.Err != nil {
		pic.Reason = sanitize.Text(v.Err.Error())
	}
	if v.Tensor == nil {
		return pic, nil
	}
	var err error
	if pic.Tensor, err = tensorImage(v.Tensor); err != nil {
		return status.Picture{}, err
	}
	pic.Affine = v.Tensor.Affine
	pic.Shape = fmt.Sprintf("%s %s %s", strings.Trim(fmt.Sprint(v.Tensor.Shape), "[]"), v.Tensor.Output.Spec.DType, v.Tensor.Output.Spec.Color)
	// The data has been decoded, so it is a valid picture.
	if kind := http.DetectContentType(v.Frame.Data); len(v.Frame.Data) <= maxSource && (kind == "image/jpeg" || kind == "image/png") {
		pic.Source = &status.Image{Width: v.Tensor.Source.X, Height: v.Tensor.Source.Y, Type: kind, Data: v.Frame.Data}
	}
	return pic, nil
}

// tensorImage returns a tensor as a picture, by way of the message, so that it shows
// what a consumer gets.
func tensorImage(t *transform.Tensor) (*status.Image, error) {
	m := publish.NewMessage("", t)
	envelope, err := publish.ParseEnvelope(m.Header)
	if err != nil {
		return nil, err
	}
	tensor, err := tensorimage.New(envelope, m.Data)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, tensor.Sampled(viewSide), &jpeg.Options{Quality: viewQuality}); err != nil {
		return nil, err
	}
	return &status.Image{Width: envelope.Width(), Height: envelope.Height(), Type: "image/jpeg", Data: out.Bytes()}, nil
}
