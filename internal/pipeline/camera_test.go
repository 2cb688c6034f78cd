package pipeline

import (
	"context"
	"image"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/gate"
)

// A sightedWorker counts what it was called with the camera for, and what without.
type sightedWorker struct {
	worker
	camera *transform.Camera
	seen   map[string]int
}

func (w *sightedWorker) saw(call string, c *transform.Camera) {
	w.rig.mu.Lock()
	defer w.rig.mu.Unlock()
	if c != w.camera {
		call = "blind " + call
	}
	w.seen[call]++
}

func (w *sightedWorker) Decode(f source.Frame, c *transform.Camera, outs []*transform.Output) error {
	w.saw("decode", c)
	return w.worker.Decode(f, c, outs)
}

func (w *sightedWorker) Luma(f source.Frame, c *transform.Camera) (*image.Gray, image.Point, error) {
	w.saw("luma", c)
	return w.worker.Luma(f, c)
}

// TestWorkersGetTheCamera: with each frame of a stream, live, on request, looked at, and of an
// excursion.
func TestWorkersGetTheCamera(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, seen := &rig{}, map[string]int{}
		camera := &transform.Camera{Masks: []transform.Mask{{Pixelate: 16}}}
		gates := []*Gate{{Options: gate.Options{Change: 0.1, Every: time.Second}}, nil}
		r.gated(t, func(int) bool { return true }, gates...)
		r.initial[0].Camera = camera
		r.opts.NewWorker = func() Worker {
			return &sightedWorker{worker: worker{rig: r}, camera: camera, seen: seen}
		}
		r.opts.Measure = func(f source.Frame, c *transform.Camera, outs []*transform.Output) (image.Point, int64) {
			(&sightedWorker{worker: worker{rig: r}, camera: camera, seen: seen}).saw("measure", c)
			return measure(f, c, outs)
		}
		o := r.Begin(Excursion{Stream: r.past(2 * time.Second)})
		r.while(t, func(ctx context.Context) {
			if err := o.Run(ctx); err != nil {
				t.Error(err)
			}
			v, err := r.View(ctx, "cam-1", "a", 0)
			if err != nil || v.Tensor == nil {
				t.Errorf("a view: %v, %v", v.Err, err)
			}
			if err := r.Frame(ctx, "cam-1", time.Now().Add(-time.Second), "a", func(*transform.Tensor) error { return nil }); err != nil {
				t.Error(err)
			}
		})
		if n := 100 + 10 + 1; seen["measure"] != n || seen["decode"] != n || seen["luma"] != 100 || len(seen) != 3 {
			t.Errorf("got %v, want %d decoded", seen, n)
		}
	})
}

// TestWhatIsDecoded: a frame is decoded for all outputs of the stream, whichever are wanted, and
// not at all if only the original is.
func TestWhatIsDecoded(t *testing.T) {
	a, b := &transform.Output{Name: "a"}, &transform.Output{Name: "b"}
	original := &transform.Output{Name: "original", Spec: transform.Spec{Encode: transform.EncodeOriginal}}
	all := []*transform.Output{a, original, b}
	j := &job{camera: &camera{outputs: all}}
	for _, o := range all {
		j.routes = append(j.routes, publish.Route{Output: o})
	}
	for _, tt := range []struct {
		wanted []bool
		want   []*transform.Output
	}{
		{[]bool{true, true, true}, all},
		{[]bool{false, true, true}, all},
		{[]bool{true, false, false}, all},
		{[]bool{false, true, false}, []*transform.Output{original}},
	} {
		if got := j.decoded(tt.wanted); !slices.Equal(got, tt.want) {
			t.Errorf("%v wanted: %d outputs are decoded for, want %d", tt.wanted, len(got), len(tt.want))
		}
	}
}
