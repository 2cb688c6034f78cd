package pipeline

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// clipped builds a rig of one stream of 100 slots, whose output a makes clips.
func (r *rig) clipped(t *testing.T, clip transform.Clip) {
	t.Helper()
	r.build(t, 1, 20*time.Second, func(_ *Options, streams []Stream) {
		spec := transform.Spec{DType: transform.Uint8, Color: transform.Gray, Layout: transform.NTCHW, Clip: clip}
		streams[0].Routes[0].Output = &transform.Output{Name: "a", Spec: spec, Fingerprint: "test"}
	})
}

// TestClipsOfAStream: frames become clips, each slot is accounted for, and nothing is kept at the
// end.
func TestClipsOfAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.clipped(t, transform.Clip{Frames: 4, Stride: 2, Every: 8})
		r.bad = func(s source.Slot) bool {
			return r.initial[0].Grid.Count(r.initial[0].Grid.Ceil(r.initial[0].From), s) == 50
		}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		received := r.out.Received("cam-1.a")
		if n := len(received); n < 11 || n > 13 {
			t.Errorf("%d clips of 100 slots, one in 8", n)
		}
		missing := 0
		for _, m := range received {
			frames := strings.Split(m.Header[publish.HeaderClip][0], ",")
			if got := m.Header[publish.HeaderShape][0]; len(frames) != 4 || !strings.HasPrefix(got, "1,4,") {
				t.Errorf("shape %s, frames %v", got, frames)
			}
			want, before := "", strings.TrimSuffix(frames[0], "!repeat")
			if before != frames[0] {
				before = frames[1] // the first after it
			}
			for _, f := range frames {
				if at, missing := strings.CutSuffix(f, "!repeat"); !missing {
					before = at
				}
				want += before
			}
			if string(m.Data) != want {
				t.Errorf("the clip of %v holds the frames %s", frames, m.Data)
			}
			if m.Header[publish.HeaderTime][0] != strings.TrimSuffix(frames[3], "!repeat") {
				t.Errorf("the clip of %v is of %v", m.Header[publish.HeaderTime], frames)
			}
			missing += strings.Count(m.Header[publish.HeaderClip][0], "!")
		}
		if missing > 1 {
			t.Errorf("%d frames are missing", missing)
		}
		if n := len(r.slots(t, "cam-1.b")); n != 99 {
			t.Errorf("%d tensors of the other output", n)
		}
		st := r.Streams()[0].Stats
		if st.Ended[source.Published] != 99 || st.Ended[source.Undecodable] != 1 {
			t.Errorf("%+v", st.Ended)
		}
		if n := r.turns.kept.Load(); n != 0 {
			t.Errorf("%d bytes are still kept", n)
		}
	})
}

// TestUnneededFrames: a frame that no clip has is not decoded, and its slot is skipped.
func TestUnneededFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.clipped(t, transform.Clip{Frames: 2, Stride: 4, Every: 8})
		r.initial[0].Routes = r.initial[0].Routes[:1]
		decoded := 0
		r.decode = func(source.Slot) time.Duration { r.mu.Lock(); defer r.mu.Unlock(); decoded++; return 0 }
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		st := r.Streams()[0].Stats
		if decoded != 25 || st.Ended[source.Published] != 25 || st.Ended[source.Skipped] != 75 {
			t.Errorf("%d frames are decoded, ended %v", decoded, st.Ended)
		}
	})
}

// TestClipsAreWatched: while nobody listens, no frames are made for clips, and the broker is asked.
// Somebody who begins to listen gets clips of what comes from then on.
func TestClipsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		start := time.Now()
		r.unheard = func(subject string) bool { return subject == "cam-1.a" && time.Since(start) < 10*time.Second }
		r.refuse = func(m publish.Message) error {
			if r.unheard(m.Subject) {
				return publish.ErrUnwatched
			}
			return nil
		}
		r.clipped(t, transform.Clip{Frames: 3})
		r.initial[0].Routes = r.initial[0].Routes[:1]
		decoded := 0
		r.decode = func(source.Slot) time.Duration { r.mu.Lock(); defer r.mu.Unlock(); decoded++; return 0 }
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		received := r.out.Received("cam-1.a")
		if n := len(received); n < 30 || n > 50 {
			t.Fatalf("%d clips of the 50 slots in which somebody listens", n)
		}
		if strings.Contains(received[0].Header[publish.HeaderClip][0], "!") {
			t.Errorf("the first clip is %v", received[0].Header[publish.HeaderClip])
		}
		st := r.Streams()[0].Stats
		if decoded > 65 || st.Ended[source.Unwatched] < 30 || st.Ended[source.Published]+st.Ended[source.Unwatched] != 100 {
			t.Errorf("%d frames are decoded, ended %v", decoded, st.Ended)
		}
	})
}

// TestAViewOfAClip: who looks at an output with clips sees its frames, one at a time.
func TestAViewOfAClip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		r.clipped(t, transform.Clip{Frames: 2, Stride: 4, Every: 8})
		r.while(t, func(ctx context.Context) {
			for range 10 {
				v, err := r.View(ctx, "cam-1", "a", 0)
				if err != nil || v.Tensor == nil || string(v.Tensor.Data) != v.Frame.Slot.String() {
					t.Fatalf("%+v, %v", v, err)
				}
				m := publish.NewMessage("", v.Tensor)
				if got := m.Header[publish.HeaderLayout][0]; got != "NCHW" {
					t.Errorf("a frame is laid out as %s", got)
				}
			}
		})
		if n := len(r.out.Received("cam-1.a")); n < 10 {
			t.Errorf("%d clips while somebody looked at frames", n)
		}
	})
}
