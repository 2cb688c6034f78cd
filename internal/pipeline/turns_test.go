package pipeline

import (
	"image"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// TestSlowPictures: the pictures of one camera take a second and a half each. The frames of
// the others wait for one of them at most, whether there are as many workers as such
// pictures or fewer.
func TestSlowPictures(t *testing.T) {
	for _, workers := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			const slow = 1500 * time.Millisecond
			r := &rig{}
			ages := map[string]time.Duration{}
			r.refuse = func(m publish.Message) error {
				at, err := time.Parse(time.RFC3339, m.Header["Cvf-Time"][0])
				r.mu.Lock()
				defer r.mu.Unlock()
				ages[m.Subject] = max(ages[m.Subject], time.Since(at))
				return err
			}
			r.build(t, 6, time.Minute, func(o *Options, _ []Stream) {
				o.Workers = workers
				o.NewWorker = func() Worker {
					return &pacedWorker{worker: worker{rig: r}, paces: map[string]time.Duration{"cam-1": slow}, other: 10 * time.Millisecond}
				}
			})
			if err := r.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, subject := range slices.Sorted(maps.Keys(ages)) {
				if age := ages[subject]; subject[:5] != "cam-1" && age > slow+time.Second {
					t.Errorf("%d workers: a frame of %s was %v old", workers, subject, age)
				}
			}
			if n := len(r.slots(t, "cam-1.a")); n != 300 {
				t.Errorf("%d workers: %d frames of the slow camera", workers, n)
			}
		})
	}
}

// pacedWorker takes as long for a frame as its stream says.
type pacedWorker struct {
	worker
	paces map[string]time.Duration
	other time.Duration
}

func (w *pacedWorker) Decode(f source.Frame, _ *transform.Camera, _ []*transform.Output) error {
	w.frame = f
	pace, ok := w.paces[f.Stream]
	if !ok {
		pace = w.other
	}
	time.Sleep(pace)
	return nil
}

// TestWorkersMemoryIsInTheBudget: what a worker takes counts while it works, and no longer.
func TestWorkersMemoryIsInTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const work = 1 << 20
		r := &rig{decode: func(source.Slot) time.Duration { return 20 * time.Millisecond }}
		r.refuse = func(publish.Message) error {
			time.Sleep(time.Millisecond)
			return nil
		}
		workers, atOnce := 0, 0
		r.build(t, 4, 5*time.Second, func(o *Options, _ []Stream) {
			o.Inflight = 2*work + 1000
			o.Measure = func(f source.Frame, _ *transform.Camera, outs []*transform.Output) (image.Point, int64) {
				size, _ := measure(f, nil, outs)
				return size, work
			}
			o.NewWorker = func() Worker { return &countingWorker{worker: worker{rig: r}, now: &workers, most: &atOnce} }
		})
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if atOnce != 2 {
			t.Errorf("%d workers at once, where there is memory for 2", atOnce)
		}
		if r.inflight > 2*work+1000 || r.InflightBytes() != 0 {
			t.Errorf("%d bytes of the budget were used, and %d are at the end", r.inflight, r.InflightBytes())
		}
	})
}

// countingWorker counts how many work at once.
type countingWorker struct {
	worker
	now, most *int
}

func (w *countingWorker) Decode(f source.Frame, c *transform.Camera, outs []*transform.Output) error {
	w.rig.mu.Lock()
	*w.now++
	*w.most = max(*w.most, *w.now)
	w.rig.mu.Unlock()
	return w.worker.Decode(f, c, outs)
}

func (w *countingWorker) Rest() {
	w.rig.mu.Lock()
	*w.now--
	w.rig.mu.Unlock()
}

// TestTrueSizeIsCharged: tensors as large as their pictures are charged by the size of
// their own picture, not by that of the one before.
func TestTrueSizeIsCharged(t *testing.T) {
	raw, err := transform.Preset("raw")
	if err != nil {
		t.Fatal(err)
	}
	c := &camera{outputs: []*transform.Output{{Spec: raw}}}
	j := newRequest(c, source.Frame{Data: make([]byte, 100)}, publish.Route{Output: c.outputs[0]})
	for _, size := range []image.Point{{3840, 2160}, {64, 48}, {8192, 8192}} {
		got := j.measure(func(source.Frame, *transform.Camera, []*transform.Output) (image.Point, int64) { return size, 7 })
		if want := int64(100 + 7 + size.X*size.Y*3); got != want {
			t.Errorf("%v: %d bytes, want %d", size, got, want)
		}
	}
}
