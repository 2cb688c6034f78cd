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
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/internal/tensorimage"
	"github.com/cvfeeder/cvfeeder/internal/web"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/metrics/status"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/transform"
)

// The limits of pictures for the status page.
const (
	maxViews    = 4 // requests that wait for a picture at the same time
	viewTime    = 15 * time.Second
	viewSide    = 1280 // pixels
	viewQuality = 85
	maxSource   = 16 << 20 // bytes
)

// handler serves the status page, metrics and health. The pipeline is nil until NATS is
// ready.
func (f *Feeder) handler(l net.Listener, r Running, at *atomic.Pointer[pipeline.Pipeline]) http.Handler {
	why := func() []string { return notReady(r.conn, at.Load()) }
	local := web.IsLoopback(l)
	if !local && f.cfg.HTTP.Token == "" {
		f.log.Warn("the status page, with pictures, and the metrics are open to everybody who can connect: set http.token, or listen on 127.0.0.1", "http", r.HTTP)
	}
	views := semaphore.NewWeighted(maxViews)
	page := status.Handler(status.Options{
		Version: Version(), Mode: string(f.cfg.Delivery.Mode), NATS: natsAt(f.cfg, r),
		Streams:     func() []status.Stream { return at.Load().Status() },
		Waiting:     func() []string { return f.waiting(at.Load()) },
		Connections: func() []metrics.Connection { return connections(r.conn) },
		NotReady:    why,
		Busy:        func() float64 { return at.Load().Busy() },
		Picture: func(ctx context.Context, stream, output string) (status.Picture, error) {
			return picture(ctx, at.Load(), views, stream, output)
		},
	})
	return web.Handler(web.Options{
		Metrics: r.metrics, NotReady: why, Status: page,
		Pprof: f.cfg.HTTP.Pprof, Token: f.cfg.HTTP.Token, Loopback: local,
	})
}

// waiting returns the names of the config's streams while there is no pipeline.
func (f *Feeder) waiting(p *pipeline.Pipeline) []string {
	var names []string
	for _, s := range f.cfg.Streams {
		switch {
		case p != nil:
		case s.Prefix != "":
			names = append(names, s.Prefix+"*")
		default:
			names = append(names, s.Name)
		}
	}
	return names
}

// picture waits for the next frame of a stream, and returns it with its tensor.
func picture(ctx context.Context, p *pipeline.Pipeline, views *semaphore.Weighted, stream, output string) (status.Picture, error) {
	if p == nil {
		return status.Picture{}, errors.New("the streams have not begun: NATS is not ready")
	}
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
		pic.Reason = v.Err.Error()
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
