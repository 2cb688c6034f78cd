package transform

import (
	"fmt"
	"image"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/source"
)

const clipStep = 200 // milliseconds

// clipRig makes clips of frames of 1x2 pixels whose elements tell the slot, the channel and the
// pixel: 100*slot + 10*channel + pixel, in uint8.
type clipRig struct {
	*Clips
	released []int64
}

func newClipRig(t *testing.T, clip Clip, layout Layout) *clipRig {
	t.Helper()
	grid, err := source.NewGrid(clipStep * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	s := Spec{Width: 2, Height: 1, Color: RGB, DType: Uint8, Layout: layout, Clip: clip, Scale: 1, Std: [3]float64{1, 1, 1}}
	if err := clip.validate(layout); err != nil {
		t.Fatal(err)
	}
	return &clipRig{Clips: NewClips(&Output{Name: "clips", Spec: s}, grid, new(Buffers))}
}

// frame returns the frame of a slot number.
func (r *clipRig) frame(n int) *Tensor {
	t := &Tensor{
		Stream: "cam-1", Slot: source.Slot(n * clipStep), Source: image.Pt(2, 1), Affines: []Affine{{1, 0, 0, 0, 1, 0}},
		Output: r.output, Shape: r.output.Spec.Shape(1, Geometry{Size: image.Pt(2, 1)}), Data: make([]byte, 6),
	}
	for c := range 3 {
		for x := range 2 {
			at := 3*x + c
			if r.output.Spec.Layout.Planar() {
				at = 2*c + x
			}
			t.Data[at] = byte(n%20*10 + c*3 + x)
		}
	}
	t.release = func() { r.released = append(r.released, int64(t.Slot)/clipStep) }
	return t
}

// text describes clips: "12: 8 9 10! 11" ends at slot 12 (which is not in it).
func clipText(made []*Tensor) string {
	var all []string
	for _, t := range made {
		text := fmt.Sprintf("%d:", int64(t.Slot)/clipStep)
		for _, f := range t.Clip {
			text += fmt.Sprintf(" %d", int64(f.Slot)/clipStep)
			if f.Missing != "" {
				text += "!"
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

// TestClips: which frames are in which clips.
func TestClips(t *testing.T) {
	for name, tt := range map[string]struct {
		clip   Clip
		frames []int
		want   string
	}{
		"each":         {Clip{Frames: 3}, []int{5, 6, 7, 8, 9}, "7: 5 6 7; 8: 6 7 8; 9: 7 8 9"},
		"stride":       {Clip{Frames: 3, Stride: 2, Every: 4}, []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, "8: 4 6 8; 12: 8 10 12"},
		"apart":        {Clip{Frames: 2, Every: 5}, []int{4, 5, 6, 7, 8, 9, 10}, "5: 4 5; 10: 9 10"},
		"missing":      {Clip{Frames: 4, Every: 4}, []int{1, 2, 4, 5, 7, 8}, "4: 1 2 3! 4; 8: 5 6! 7 8"},
		"without end":  {Clip{Frames: 4, Every: 4}, []int{1, 2, 3, 5}, "4: 1 2 3 4!"},
		"long silence": {Clip{Frames: 2, Every: 2}, []int{1, 2, 101}, "2: 1 2"},
		"drop":         {Clip{Frames: 4, Every: 4, Missing: MissingDrop}, []int{1, 2, 4, 5, 6, 7, 8}, "8: 5 6 7 8"},
		"one frame":    {Clip{Frames: 1, Every: 3}, []int{3, 4, 5, 6}, "3: 3; 6: 6"},
	} {
		r := newClipRig(t, tt.clip, NTCHW)
		var made []*Tensor
		for _, n := range tt.frames {
			made = append(made, r.Add(r.frame(n))...)
		}
		if got := clipText(made); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestClipsWant: just the frames that are in some clip.
func TestClipsWant(t *testing.T) {
	for _, clip := range []Clip{{Frames: 3}, {Frames: 4, Stride: 2, Every: 8}, {Frames: 3, Stride: 3, Every: 5}, {Frames: 2, Stride: 7, Every: 3}, {Frames: 1, Every: 4}} {
		r := newClipRig(t, clip, NTCHW)
		c := clip.withDefaults()
		for n := 1000; n < 1000+c.Every; n++ {
			want := false
			for end := 0; end < 3000; end += c.Every {
				for k := range c.Frames {
					want = want || end-k*c.Stride == n
				}
			}
			if got := r.Wants(source.Slot(n * clipStep)); got != want {
				t.Errorf("%v: slot %d is wanted: %v, want %v", clip, n, got, want)
			}
		}
	}
}

// TestClipElements: where the elements of each frame are in each layout, and what is in the place
// of a missing one.
func TestClipElements(t *testing.T) {
	for _, layout := range []Layout{NCTHW, NTCHW, NTHWC} {
		for _, missing := range []Missing{"", MissingBlack} {
			r := newClipRig(t, Clip{Frames: 3, Every: 3, Missing: missing}, layout)
			r.Add(r.frame(4))
			made := r.Add(r.frame(6))
			if len(made) != 1 || made[0].Clip[1].Missing == "" {
				t.Fatalf("%s: clips %q", layout, clipText(made))
			}
			shape := map[Layout][]int{NCTHW: {1, 3, 3, 1, 2}, NTCHW: {1, 3, 3, 1, 2}, NTHWC: {1, 3, 1, 2, 3}}[layout]
			if diff := cmp.Diff(shape, made[0].Shape); diff != "" {
				t.Errorf("%s (-want +got):\n%s", layout, diff)
			}
			for i, n := range []int{4, 4, 6} {
				for c := range 3 {
					for x := range 2 {
						at := map[Layout]int{NCTHW: (c*3+i)*2 + x, NTCHW: (i*3+c)*2 + x, NTHWC: (i*2+x)*3 + c}[layout]
						want := byte(n*10 + c*3 + x)
						if i == 1 && missing == MissingBlack {
							want = 0
						}
						if got := made[0].Data[at]; got != want {
							t.Errorf("%s, %s: frame %d, channel %d, pixel %d is %d, want %d", layout, missing, i, c, x, got, want)
						}
					}
				}
			}
		}
	}
}

// TestBlackFrame: a missing frame is black as the model knows it.
func TestBlackFrame(t *testing.T) {
	s := preset(t, "imagenet")
	s.Layout = NTHWC
	data := s.black(&Tensor{Data: make([]byte, 2*3*4)})
	for i := range 6 {
		want := s.Element(s.Value(i%3, 0))
		got := uint32(data[4*i]) | uint32(data[4*i+1])<<8 | uint32(data[4*i+2])<<16 | uint32(data[4*i+3])<<24
		if got != want {
			t.Errorf("element %d is %#x, want %#x", i, got, want)
		}
	}
}

// TestFramesAreReleased: frames are kept for as long as a clip needs them, and no longer.
func TestFramesAreReleased(t *testing.T) {
	r := newClipRig(t, Clip{Frames: 3, Stride: 2, Every: 2}, NTCHW)
	for n := 2; n <= 12; n += 2 {
		r.Add(r.frame(n))
	}
	if diff := cmp.Diff([]int64{2, 4, 6, 8}, r.released); diff != "" || r.Bytes() != 12 {
		t.Errorf("%d bytes are kept, released (-want +got):\n%s", r.Bytes(), diff)
	}
	r.Reset()
	if len(r.released) != 6 || r.Bytes() != 0 {
		t.Errorf("%d frames are released, %d bytes kept", len(r.released), r.Bytes())
	}
	// After that, a clip begins with what comes then.
	var made []*Tensor
	for n := 14; n <= 18; n += 2 {
		made = append(made, r.Add(r.frame(n))...)
	}
	if got := clipText(made); got != "18: 14 16 18" {
		t.Errorf("%q", got)
	}
}

// TestAnotherSize: pictures of several sizes are in no clip together.
func TestAnotherSize(t *testing.T) {
	r := newClipRig(t, Clip{Frames: 2}, NTCHW)
	r.Add(r.frame(1))
	other := r.frame(2)
	other.Source = image.Pt(4, 2)
	if made := r.Add(other); len(made) > 0 {
		t.Errorf("%q", clipText(made))
	}
}

func TestClipAsText(t *testing.T) {
	for _, text := range []string{"", "{frames: 16}", "{frames: 16, stride: 2, every: 8}", "{frames: 2, missing: black}"} {
		var s Spec
		if err := s.Set("clip", text); err != nil || s.Clip.String() != text {
			t.Errorf("%q is read as %q, %v", text, s.Clip, err)
		}
		if s.Clip != (Clip{}) && s.Clip.validate(NCTHW) != nil {
			t.Errorf("%q: %v", text, s.Clip.validate(NCTHW))
		}
	}
	for _, bad := range []struct {
		Clip
		layout Layout
	}{
		{Clip{Frames: 16}, NCHW},
		{Clip{}, NCTHW},
		{Clip{Stride: 2}, NCTHW},
		{Clip{Frames: 257}, NCTHW},
		{Clip{Frames: 100, Stride: 100}, NCTHW},
		{Clip{Frames: 2, Every: -1}, NCTHW},
		{Clip{Frames: 2, Missing: "blue"}, NCTHW},
	} {
		if bad.validate(bad.layout) == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}
