package pipeline

import (
	"image"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
	"github.com/cvfeeder/cvfeeder/internal/logging"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/gate"
)

// noisy draws a picture with shapes, that no other is the same as, or a black one.
func noisy(at source.Slot, black bool) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, 40, 22))
	rng := rand.New(rand.NewPCG(uint64(at), 1))
	for i := range m.Pix {
		if m.Pix[i] = uint8(100 + 60*((i/3)%5) - 20*(i/40%4) + rng.IntN(3)); black {
			m.Pix[i] = uint8(rng.IntN(3))
		}
	}
	return m
}

// sighted builds a rig of one stream of 60 seconds whose camera is looked at. It is black in the
// slots for which black says so, in seconds after the first.
func (r *rig) sighted(t *testing.T, log *logbook, black func(second float64) bool, change func(*Stream)) {
	t.Helper()
	r.build(t, 1, time.Minute, func(o *Options, streams []Stream) {
		if log != nil {
			o.Log = logging.New(log, logging.Options{JSON: true})
		}
		s := &streams[0]
		s.Health = camerahealth.New(camerahealth.Default())
		if change != nil {
			change(s)
		}
		first := s.Grid.Ceil(s.From)
		r.luma = func(at source.Slot) (*image.Gray, error) { return noisy(at, black(at.Sub(first).Seconds())), nil }
	})
}

// qualities returns what the messages on a subject say of their pictures.
func (r *rig) qualities(t *testing.T, subject string) (all []*publish.Quality) {
	t.Helper()
	for _, m := range r.out.Received(subject) {
		h := publish.NewMessage("s", &transform.Tensor{
			Stream: "s", Slot: 1, Capture: time.Unix(1, 0), Source: image.Pt(8, 8), Shape: []int{1, 3, 1, 1}, Affines: []transform.Affine{{1, 0, 0, 0, 1, 0}},
			Output: &transform.Output{Name: "a", Fingerprint: "x", Spec: transform.Spec{Scale: 1, Std: [3]float64{1, 1, 1}, DType: transform.Uint8, Layout: transform.NCHW, Color: transform.RGB}},
		}).Header
		if v := m.Header[publish.HeaderQuality]; v != nil {
			h[publish.HeaderQuality] = v
		}
		e, err := publish.ParseEnvelope(h)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Quality)
	}
	return all
}

// TestCameraHealth: one picture a second is looked at, whichever worker is ready first; what is
// wrong is logged once when it begins and once when it is over; and each message says how good its
// picture is, or the last one before it.
func TestCameraHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logbook{}
		r := &rig{decode: func(at source.Slot) time.Duration { return time.Duration(at/200%7) * 90 * time.Millisecond }}
		r.sighted(t, log, func(s float64) bool { return s >= 20 && s < 45 }, nil)
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r.looks < 58 || r.looks > 70 {
			t.Errorf("%d pictures of 60 seconds were looked at", r.looks)
		}
		lines, _ := log.lines(t)
		if lines["the camera does not see well: "+camerahealth.Black.Means()] != 1 || lines["the camera sees well again"] != 1 || len(lines) != 2 {
			t.Errorf("logged: %v", lines)
		}
		all := r.qualities(t, "cam-1.a")
		if len(all) != 300 {
			t.Fatalf("%d messages", len(all))
		}
		for i, q := range all {
			second := float64(i) / 5
			switch {
			case q == nil:
				t.Errorf("second %.1f: it says nothing", second)
			case q.Age < 0 || q.Age > 1500*time.Millisecond:
				t.Errorf("second %.1f: its picture is of %v before", second, q.Age)
			case second-q.Age.Seconds() >= 20 && second-q.Age.Seconds() < 45 != (q.Mean < 5):
				t.Errorf("second %.1f: mean %v", second, q.Mean)
			}
			// It is told after 15 seconds, and over after 5; a second more or less is left open.
			told := len(q.Conditions) == 1 && q.Conditions[0] == "black"
			if sure := second > 37 && second < 48; told != sure && (sure || second < 35 || second > 52) {
				t.Errorf("second %.1f: %q", second, q.Conditions)
			}
		}
		s := r.initial[0].Health.State(time.Now())
		if !s.Known || len(s.Conditions) != 0 || !s.Ever(camerahealth.Black) || s.Ever(camerahealth.Frozen) {
			t.Errorf("%+v", s)
		}
		if later := r.initial[0].Health.State(time.Now().Add(time.Minute)); later.Known {
			t.Error("a minute later, it is still known")
		}
	})
}

// TestHealthOfGated: what gates compare is looked at, too, though hardly any of it is decoded.
func TestHealthOfGated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.sighted(t, nil, func(s float64) bool { return s >= 20 }, func(s *Stream) {
			g := &Gate{Options: gate.Options{Change: 1, Every: time.Hour}}
			s.Gates = NewGates([]*Gate{g, g}, nil)
		})
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := r.initial[0].Health.State(time.Now()); r.looks > 4 || !s.Known || len(s.Conditions) != 1 {
			t.Errorf("%d looks; %+v", r.looks, s)
		}
	})
}

// TestHealthOfRectified: what a gate looks at is rectified then, which is another view than the
// camera's own. Only that is looked at, of the frames that pass.
func TestHealthOfRectified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.sighted(t, nil, func(s float64) bool { return s >= 20 }, func(s *Stream) {
			g := &Gate{Options: gate.Options{Change: 1, Every: time.Hour}}
			s.Gates = NewGates([]*Gate{g, g}, nil)
			s.Camera = &transform.Camera{Lens: &transform.Lens{}}
		})
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := r.initial[0].Health.State(time.Now()); r.looks == 0 || len(s.Conditions) != 0 {
			t.Errorf("%d looks; %+v", r.looks, s)
		}
	})
}

// TestHealthUnknown: of a camera to whose tensors nobody listens, it is not known how well it sees.
func TestHealthUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{unheard: func(string) bool { return true }}
		r.sighted(t, nil, func(float64) bool { return false }, nil)
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := r.initial[0].Health.State(time.Now()); s.Known || r.looks > 0 || !s.At.IsZero() {
			t.Errorf("%d looks; %+v", r.looks, s)
		}
	})
}

// TestMasksDoNotCount: what is masked is not looked at: a picture that is black but for it is.
func TestMasksDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.sighted(t, nil, func(float64) bool { return true }, func(s *Stream) {
			s.Camera = &transform.Camera{Masks: []transform.Mask{{Polygon: []transform.Fraction{{X: 0, Y: 0}, {X: 1, Y: 0}, {X: 1, Y: 0.5}, {X: 0, Y: 0.5}}}}}
		})
		black := r.luma
		r.luma = func(at source.Slot) (*image.Gray, error) {
			m, err := black(at)
			for i := range 40 * 11 {
				m.Pix[i] = 200
			}
			return m, err
		}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := r.initial[0].Health.State(time.Now()); len(s.Conditions) != 1 || s.Conditions[0].Condition != camerahealth.Black || s.Mean > 5 {
			t.Errorf("%+v", s)
		}
	})
}
