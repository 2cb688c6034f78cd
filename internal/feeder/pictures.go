package feeder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/internal/tensorimage"
	"github.com/cvfeeder/cvfeeder/metrics/status"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/ondemand"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// The limits of pictures for the status page.
const (
	maxViews    = 4 // requests that wait for a picture at the same time, and as many of the wall
	viewTime    = 15 * time.Second
	smallTime   = 12 * time.Second // of the wall: fragments may be ten seconds long
	viewSide    = 1280             // pixels
	smallSide   = 320
	viewQuality = 85
	maxSource   = 16 << 20 // bytes
)

// pictures are those that the status page shows.
type pictures struct {
	parts *parts
	// views are the requests that wait for a picture, or make one, and small those of the wall.
	views, small *semaphore.Weighted
	// covering is held while a camera's own picture is made anew.
	covering sync.Mutex
}

func newPictures(p *parts) *pictures {
	return &pictures{parts: p, views: semaphore.NewWeighted(maxViews), small: semaphore.NewWeighted(maxViews)}
}

// next waits for a frame of a stream, and returns it with its tensor.
func (p *pictures) next(ctx context.Context, r status.PictureRequest) (status.Picture, error) {
	views, wait := p.views, viewTime
	if r.Small {
		views, wait = p.small, smallTime
	}
	ctx, leave, err := enter(ctx, views, r.Stream, wait)
	if err != nil {
		return status.Picture{}, err
	}
	defer leave()
	v, err := p.parts.pipeline.View(ctx, r.Stream, r.Output, r.Slot)
	if err != nil {
		return status.Picture{}, pictureError(err)
	}
	if v.Tensor != nil {
		defer v.Tensor.Release()
	}
	return p.render(v, r)
}

// ofSlot asks for the frame of a slot that has passed. It counts like a request over NATS, so
// that the page is no way around the limits of these.
func (p *pictures) ofSlot(ctx context.Context, from string, r status.PictureRequest) (status.Picture, error) {
	if err := p.parts.rates.Take("page " + from); err != nil {
		p.parts.metrics.FrameRequest(string(frames.RefusedRate))
		return status.Picture{}, fmt.Errorf("%w: %w", status.ErrTooMany, err)
	}
	ctx, leave, err := enter(ctx, p.views, r.Stream, viewTime)
	if err != nil {
		p.parts.metrics.FrameRequest(string(frames.RefusedBusy))
		return status.Picture{}, err
	}
	defer leave()
	var pic status.Picture
	err = p.parts.look(ctx, frames.Request{Stream: r.Stream, Time: r.Slot.Time(), Output: r.Output}, func(f source.Frame, t *transform.Tensor) error {
		pic, err = p.render(pipeline.View{Frame: f, Tensor: t}, r)
		pic.Outcome = "requested"
		return err
	})
	return pic, pictureError(err)
}

// enter returns the context of a request for a picture, which counts until leave is called.
func enter(ctx context.Context, views *semaphore.Weighted, stream string, wait time.Duration) (_ context.Context, leave func(), err error) {
	if !views.TryAcquire(1) {
		return nil, nil, fmt.Errorf("%w: %d pictures are being waited for; try again", status.ErrBusy, maxViews)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait,
		fmt.Errorf("%w of stream %s has come within %v", status.ErrNoFrame, stream, wait))
	return ctx, func() { cancel(); views.Release(1) }, nil
}

// pictureError gives an error of the pipeline the kind that the page knows.
func pictureError(err error) error {
	var kind error
	switch {
	case errors.Is(err, pipeline.ErrNotRunning):
		return errors.New("the streams have not begun yet, or are ending")
	case errors.Is(err, pipeline.ErrUnknown):
		kind = status.ErrNotFound
	case errors.Is(err, ondemand.ErrSpent):
		kind = status.ErrTooMany
	case errors.Is(err, source.ErrNoMedia):
		kind = status.ErrNoFrame
	default:
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// render turns a frame and its tensor into pictures.
func (p *pictures) render(v pipeline.View, r status.PictureRequest) (status.Picture, error) {
	pic := status.Picture{
		Stream: v.Frame.Stream, Output: r.Output, Time: v.Frame.Slot.String(),
		Capture: v.Frame.Capture.UTC().Format(publish.TimeFormat), Outcome: v.Outcome.String(),
	}
	if v.Err != nil {
		pic.Reason = sanitize.Text(v.Err.Error())
	}
	if v.Tensor == nil {
		return pic, nil
	}
	envelope, data, err := received(v.Tensor)
	if err != nil {
		return status.Picture{}, err
	}
	for _, a := range v.Tensor.Affines {
		pic.Affines = append(pic.Affines, a)
	}
	if pic.Source, err = p.source(v, r.Small); err != nil {
		pic.Reason = sanitize.Text(err.Error())
	}
	if envelope.ContentType != "" {
		pic.Columns = 1
		pic.Shape = fmt.Sprintf("%dx%d %s", envelope.Width(), envelope.Height(), envelope.ContentType)
		if len(data) <= maxSource {
			pic.Tensor = &status.Image{Width: envelope.Width(), Height: envelope.Height(), Type: envelope.ContentType, Data: bytes.Clone(data)}
		}
		return pic, nil
	}
	tensor, err := tensorimage.New(envelope, data)
	if err != nil {
		return status.Picture{}, err
	}
	if pic.Tensor, err = imageOf(tensor, envelope, r.Small); err != nil {
		return status.Picture{}, err
	}
	pic.Columns = tensor.Columns()
	if r.NPY {
		var file bytes.Buffer
		if err := tensorimage.EncodeNPY(&file, tensor); err != nil {
			return status.Picture{}, err
		}
		pic.NPY = file.Bytes()
	}
	pic.Shape = fmt.Sprintf("%s %s %s", strings.Trim(fmt.Sprint(v.Tensor.Shape), "[]"), v.Tensor.Output.Spec.DType, v.Tensor.Output.Spec.Color)
	return pic, nil
}

// source returns the camera's own picture, nil where a browser cannot show it. What is under masks
// never leaves the process.
func (p *pictures) source(v pipeline.View, small bool) (*status.Image, error) {
	c := p.parts.cameras.of(v.Frame.Stream)
	switch {
	case c == nil:
		return nil, errors.New("the stream has just changed: its picture is not shown")
	case !c.sight.Plain():
		return p.covered(v, c, small)
	case !showable(v.Frame.Data):
		return nil, nil
	}
	size := v.Tensor.Source
	return &status.Image{Width: size.X, Height: size.Y, Type: http.DetectContentType(v.Frame.Data), Data: v.Frame.Data}, nil
}

// showable tells whether a browser can show a frame's data.
func showable(data []byte) bool {
	kind := http.DetectContentType(data)
	return len(data) <= maxSource && (kind == transform.TypeJPEG || kind == transform.TypePNG)
}

// covered returns a camera's own picture as a tensor of it would see it: what is under masks never
// leaves the process.
func (p *pictures) covered(v pipeline.View, c *camera, small bool) (*status.Image, error) {
	p.covering.Lock()
	defer p.covering.Unlock()
	w := opencv.NewWorker(opencv.Options{MaxWidth: p.parts.plan.Config.Decoder.MaxSize.Width, MaxHeight: p.parts.plan.Config.Decoder.MaxSize.Height})
	defer w.Close()
	spec, err := transform.Preset("raw")
	if err != nil {
		return nil, err
	}
	o := &transform.Output{Name: "frame", Spec: spec, Fingerprint: spec.Fingerprint(opencv.Engine())}
	if err := w.Decode(v.Frame, c.sight, []*transform.Output{o}); err != nil {
		return nil, err
	}
	t, err := w.Tensor(o)
	if err != nil {
		return nil, err
	}
	defer t.Release()
	envelope, data, err := received(t)
	if err != nil {
		return nil, err
	}
	shown, err := tensorimage.New(envelope, data)
	if err != nil {
		return nil, err
	}
	return imageOf(shown, envelope, small)
}

// received returns a tensor as a consumer gets it, so that the page shows just that.
func received(t *transform.Tensor) (publish.Envelope, []byte, error) {
	m := publish.NewMessage("", t)
	envelope, err := publish.ParseEnvelope(m.Header)
	return envelope, m.Data, err
}

// imageOf returns a tensor as a picture.
func imageOf(t tensorimage.Tensor, e publish.Envelope, small bool) (*status.Image, error) {
	side := viewSide
	if small {
		side = smallSide
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, t.Sampled(side), &jpeg.Options{Quality: viewQuality}); err != nil {
		return nil, err
	}
	columns := t.Columns()
	width, height := e.Width()*columns, e.Height()*e.Pictures()/columns
	return &status.Image{Width: width, Height: height, Type: "image/jpeg", Data: out.Bytes()}, nil
}
