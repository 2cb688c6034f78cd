package gate_test

import (
	"image"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/transform/gate"
)

// flat returns a luma of one brightness but for a square of another.
func flat(w, h int, v uint8, square image.Rectangle, other uint8) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Pix[y*w+x] = v
			if image.Pt(x, y).In(square) {
				m.Pix[y*w+x] = other
			}
		}
	}
	return m
}

// A look is one frame of TestDecide, a second after the one before it.
type look struct {
	luma   *image.Gray
	region image.Rectangle // the whole luma unless it is set
	back   bool            // of the same instant as the one before it
	forget bool            // the one before it was not delivered
	next   time.Duration   // until the next one; a second unless it is set
	want   gate.Reason
}

func TestDecide(t *testing.T) {
	empty := flat(80, 45, 100, image.Rectangle{}, 0)
	corner := image.Rect(60, 30, 80, 45) // 8.3% of the picture
	car := flat(80, 45, 100, corner, 200)
	left := image.Rect(0, 0, 40, 45)
	for name, looks := range map[string][]look{
		"the first passes, a still one does not":                {{luma: empty, want: gate.Unknown}, {luma: empty}, {luma: empty}},
		"what comes, stays and leaves passes twice":             {{luma: empty, want: gate.Unknown}, {luma: car, want: gate.Changed}, {luma: car}, {luma: car}, {luma: empty, want: gate.Changed}, {luma: empty}},
		"at least one in three seconds":                         {{luma: empty, want: gate.Unknown}, {luma: empty}, {luma: empty}, {luma: empty, want: gate.Due}, {luma: empty}},
		"due if the next one would come too late":               {{luma: empty, want: gate.Unknown}, {luma: empty, next: 2 * time.Second}, {luma: empty, next: 2 * time.Second, want: gate.Due}, {luma: empty, next: 3 * time.Second, want: gate.Due}},
		"what is due begins with the last one that passed":      {{luma: empty, want: gate.Unknown}, {luma: empty}, {luma: car, want: gate.Changed}, {luma: car}, {luma: car}, {luma: car, want: gate.Due}},
		"what is outside of the region does not count":          {{luma: empty, region: left, want: gate.Unknown}, {luma: car, region: left}, {luma: empty, region: left}},
		"in a small region, a small change is a large share":    {{luma: empty, region: corner, want: gate.Unknown}, {luma: flat(80, 45, 100, image.Rect(60, 30, 63, 35), 160), region: corner, want: gate.Changed}},
		"another region is another picture":                     {{luma: empty, want: gate.Unknown}, {luma: empty, region: left, want: gate.Unknown}, {luma: empty, region: left}},
		"another size is another picture":                       {{luma: empty, want: gate.Unknown}, {luma: flat(81, 45, 100, image.Rectangle{}, 0), want: gate.Unknown}},
		"time that does not go on":                              {{luma: empty, want: gate.Unknown}, {luma: empty}, {luma: empty, back: true, want: gate.Unknown}, {luma: empty}},
		"one that was not delivered":                            {{luma: empty, want: gate.Unknown}, {luma: car, want: gate.Changed}, {luma: car, forget: true, want: gate.Unknown}, {luma: car}},
		"a region beside the picture always passes":             {{luma: empty, region: image.Rect(90, 0, 99, 9), want: gate.Unknown}, {luma: empty, region: image.Rect(90, 0, 99, 9), want: gate.Unknown}},
		"a little brighter is the light, much is a lamp":        {{luma: empty, want: gate.Unknown}, {luma: flat(80, 45, 115, image.Rectangle{}, 0)}, {luma: flat(80, 45, 160, image.Rectangle{}, 0), want: gate.Brighter}, {luma: flat(80, 45, 160, image.Rectangle{}, 0)}},
		"somebody in other light is seen":                       {{luma: empty, want: gate.Unknown}, {luma: flat(80, 45, 115, corner, 180), want: gate.Changed}},
		"half of the picture is covered":                        {{luma: empty, want: gate.Unknown}, {luma: flat(80, 45, 100, left, 130), want: gate.Changed}},
		"all of the picture but a strip is covered":             {{luma: flat(80, 45, 100, image.Rect(0, 0, 80, 5), 90), want: gate.Unknown}, {luma: flat(80, 45, 119, image.Rect(0, 0, 80, 5), 90), want: gate.Changed}},
		"less than the share does not pass, twice as much does": {{luma: empty, want: gate.Unknown}, {luma: flat(80, 45, 100, image.Rect(0, 0, 8, 8), 200)}, {luma: flat(80, 45, 100, image.Rect(0, 0, 16, 8), 200), want: gate.Changed}},
	} {
		t.Run(name, func(t *testing.T) {
			g := gate.New(gate.Options{Change: 0.02, Every: 3 * time.Second})
			at := epoch
			for i, l := range looks {
				if !l.back {
					at = at.Add(time.Second)
				}
				if l.forget {
					g.Forget()
				}
				if l.next == 0 {
					l.next = time.Second
				}
				if l.region.Empty() {
					l.region = l.luma.Rect
				}
				if v := g.Decide(at, l.next, l.luma, nil, l.region); v.Why != l.want || v.Pass != (l.want != gate.Same) {
					t.Errorf("look %d: %+v, want %v", i, v, l.want)
				}
			}
		})
	}
}

// TestBusyIsNotNoise: a block in which something else is to be seen in every other frame, for
// minutes, does not come to be taken for noise.
func TestBusyIsNotNoise(t *testing.T) {
	g := gate.New(gate.Options{Change: 0.02})
	empty, car := flat(80, 45, 100, image.Rectangle{}, 0), flat(80, 45, 100, image.Rect(10, 10, 30, 20), 140)
	for i := range 2000 {
		m := empty
		if i%2 == 1 {
			m = car
		}
		if v := g.Decide(epoch.Add(time.Duration(i)*time.Second), time.Second, m, nil, m.Rect); !v.Pass {
			t.Fatalf("frame %d does not pass: %+v", i, v)
		}
	}
}

// TestNoiseIsLearned: noise that passes at first does not any more once it is known, and what
// is clearer than noise passes all the same.
func TestNoiseIsLearned(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	g := gate.New(gate.Options{Change: 0.02})
	passed := 0
	noisy := func(base *image.Gray) *image.Gray {
		m := image.NewGray(base.Rect)
		for i, v := range base.Pix {
			m.Pix[i] = uint8(max(0, min(255, float64(v)+rng.NormFloat64()*2.5)))
		}
		return m
	}
	empty := flat(80, 45, 60, image.Rectangle{}, 0)
	for i := range 400 {
		m := noisy(empty)
		if v := g.Decide(epoch.Add(time.Duration(i)*time.Second), time.Second, m, nil, m.Rect); v.Pass && i >= 100 {
			passed++
		}
	}
	if passed > 3 {
		t.Errorf("noise has passed %d times in 300 frames after it was known", passed)
	}
	m := noisy(flat(80, 45, 60, image.Rect(10, 10, 25, 20), 85))
	if v := g.Decide(epoch.Add(time.Hour), time.Second, m, nil, m.Rect); v.Why != gate.Changed {
		t.Errorf("somebody in the noise: %+v", v)
	}
}

// FuzzDecide: whatever the sizes and the pixels, a verdict is sound, the same picture is the
// same at once, and a white or black one in its place is a change.
func FuzzDecide(f *testing.F) {
	f.Add(80, 45, 0, 0, 80, 45, []byte("picture"))
	f.Add(1, 1, 0, 0, 1, 1, []byte{0})
	f.Add(480, 270, 3, 5, 470, 260, []byte{1, 200, 7})
	f.Add(7, 900, -3, 850, 20, 200, []byte{255, 0})
	f.Fuzz(func(t *testing.T, w, h, x, y, rw, rh int, pixels []byte) {
		w, h = 1+(w&1023), 1+(h&1023)
		m := image.NewGray(image.Rect(0, 0, w, h))
		for i := range m.Pix {
			if len(pixels) > 0 {
				m.Pix[i] = pixels[i%len(pixels)]
			}
		}
		region := image.Rect(x&2047, y&2047, x&2047+rw&2047, y&2047+rh&2047)
		g := gate.New(gate.Options{Change: 0.5})
		if v := g.Decide(epoch, 0, m, nil, region); !v.Pass || v.Why != gate.Unknown {
			t.Fatalf("the first: %+v", v)
		}
		v := g.Decide(epoch.Add(time.Second), 0, m, nil, region)
		if outside := region.Intersect(m.Rect).Empty(); v.Pass != outside || v.Share != 0 {
			t.Errorf("the same again, in %v of %v: %+v", region, m.Rect, v)
		}
		sum, shown := 0, region.Intersect(m.Rect)
		for i, v := range m.Pix {
			if image.Pt(i%w, i/w).In(shown) {
				sum += int(v)
			}
		}
		for i := range m.Pix {
			m.Pix[i] = 255
			if sum > 127*shown.Dx()*shown.Dy() {
				m.Pix[i] = 0
			}
		}
		v = g.Decide(epoch.Add(2*time.Second), 0, m, nil, region)
		if !v.Pass || v.Share < 0 || v.Share > 1 {
			t.Errorf("another picture, in %v of %v: %+v", region, m.Rect, v)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	m := flat(240, 135, 100, image.Rect(20, 20, 80, 80), 180)
	g := gate.New(gate.Options{Change: 0.02})
	at := epoch
	for b.Loop() {
		at = at.Add(time.Second)
		g.Decide(at, 0, m, nil, m.Rect)
	}
}

// TestHidden: what changes where nobody is to see it opens no gate, and takes no part in what
// the light is; the rest does, by its share of what is seen.
func TestHidden(t *testing.T) {
	rect := image.Rect(0, 0, 40, 30)
	for _, region := range []image.Rectangle{rect, image.Rect(10, 5, 33, 28)} {
		hidden := make([]bool, 40*30)
		for i := range hidden {
			hidden[i] = i%40 >= 20 // the right half
		}
		rng := rand.New(rand.NewPCG(1, 2))
		scene := image.NewGray(rect)
		for i := range scene.Pix {
			scene.Pix[i] = uint8(40 + rng.IntN(150))
		}
		look := func(change func(x int, v uint8) uint8) *image.Gray {
			m := image.NewGray(rect)
			for i, v := range scene.Pix {
				m.Pix[i] = change(i%40, v)
			}
			return m
		}
		g, at := gate.New(gate.Options{Change: 0.1}), epoch
		decide := func(m *image.Gray) gate.Verdict {
			at = at.Add(time.Second)
			return g.Decide(at, 0, m, hidden, region)
		}
		decide(scene)
		for range 50 {
			v := decide(look(func(x int, v uint8) uint8 {
				if x >= 20 {
					return uint8(rng.Uint32())
				}
				return v
			}))
			if v.Pass || v.Share != 0 {
				t.Fatalf("%v: what is hidden passes: %+v", region, v)
			}
		}
		darker := decide(look(func(x int, v uint8) uint8 {
			if x >= 20 {
				return 0
			}
			return uint8(float64(v) * 0.9)
		}))
		if darker.Pass {
			t.Errorf("%v: another light passes: %+v", region, darker)
		}
		v := decide(look(func(x int, v uint8) uint8 {
			if x >= 15 && x < 20 {
				return 255 - v
			}
			return v
		}))
		if !v.Pass || v.Why != gate.Changed || v.Share < 0.15 {
			t.Errorf("%v: what is seen does not pass: %+v", region, v)
		}
	}
	g, all := gate.New(gate.Options{Change: 0.1}), []bool{true, true, true, true}
	for i := range 3 {
		m := image.NewGray(image.Rect(0, 0, 2, 2))
		m.Pix[0] = uint8(200 * i)
		if v := g.Decide(epoch.Add(time.Duration(i)*time.Second), 0, m, all, m.Rect); v.Pass != (i == 0) || v.Share != 0 {
			t.Errorf("everything is hidden: %+v", v)
		}
	}
}
