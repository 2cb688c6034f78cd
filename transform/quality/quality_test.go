package quality_test

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cvfeeder/cvfeeder/transform/quality"
)

// shapes draws something with edges, at an offset.
func shapes(w, h, dx int) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = 90
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 40 {
		x, y, bright := rng.IntN(2*w)-w/2-dx, rng.IntN(h), uint8(30+rng.IntN(180))
		for by := y; by < min(h, y+h/5); by++ {
			for bx := max(0, x); bx < min(w, x+w/6); bx++ {
				m.Pix[by*w+bx] = bright
			}
		}
	}
	return m
}

// lit returns the picture in another light.
func lit(m *image.Gray, gain, offset float64) *image.Gray {
	r := image.NewGray(m.Rect)
	for i, v := range m.Pix {
		r.Pix[i] = uint8(max(0, min(255, math.Round(gain*float64(v)+offset))))
	}
	return r
}

func measure(t *testing.T, m *image.Gray, hidden *quality.Mask) quality.Look {
	t.Helper()
	l, ok := quality.Measure(m, hidden)
	if !ok {
		t.Fatal("too little of the picture counts")
	}
	return l
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > within {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// TestMeasures: the measures are what their names say, in the units that they claim.
func TestMeasures(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 40, 20))
	for i := range m.Pix { // columns of 100 and 140
		m.Pix[i] = uint8(100 + 40*(i%2))
	}
	l := measure(t, m, nil)
	near(t, "mean", l.Mean, 120, 0)
	near(t, "contrast", l.Contrast, 20, 1e-9)
	near(t, "spread", l.Spread, 40, 0)
	near(t, "sharpness", l.Sharpness, 80*80, 1e-6) // each column has neighbours of 40 more, or less
	near(t, "clipped", l.Clipped, 0, 0)
	for x := range 10 { // a row of 20: a quarter
		for y := range 20 {
			m.Pix[y*40+x] = 255
		}
	}
	near(t, "clipped", measure(t, m, nil).Clipped, 0.25, 1e-9)
}

// TestLargePictures: leaving out rows of a large picture hardly changes the measures.
func TestLargePictures(t *testing.T) {
	small, large := shapes(160, 50, 0), image.NewGray(image.Rect(0, 0, 160, 400))
	for y := range 400 { // the same rows, again and again
		copy(large.Pix[y*160:][:160], small.Pix[y%50*160:])
	}
	a, b := measure(t, small, nil), measure(t, large, nil)
	near(t, "mean", b.Mean, a.Mean, 3)
	near(t, "contrast", b.Contrast, a.Contrast, 3)
	near(t, "sharpness", b.Sharpness/a.Sharpness, 1, 0.2)
}

// TestHidden: what is hidden changes nothing, whatever is there, and a picture of which hardly
// anything is left has no measures.
func TestHidden(t *testing.T) {
	const w, h = 80, 45
	m := shapes(w, h, 0)
	hidden := quality.NewMask(w, h)
	for y := 10; y < 30; y++ {
		for x := 20; x < 50; x++ {
			hidden.Hide(x, y)
		}
	}
	want := measure(t, m, hidden)
	rng := rand.New(rand.NewPCG(1, 2))
	for y := 10; y < 30; y++ {
		for x := 20; x < 50; x++ {
			m.Pix[y*w+x] = uint8(rng.Uint32())
		}
	}

	if got := measure(t, m, hidden); got != want {
		t.Errorf("with something else behind the mask: %+v, want %+v", got.Measures, want.Measures)
	}
	if got := measure(t, m, nil); got == want {
		t.Error("without the mask it is the same")
	}
	for i := w * h / 11; i < w*h; i++ {
		hidden.Hide(i%w, i/w)
	}
	if _, ok := quality.Measure(m, hidden); ok {
		t.Error("a picture that is hidden almost all over has measures")
	}
}

// TestSparse: the means of the picture and of its mask that are kept are those of the same blocks.
func TestSparse(t *testing.T) {
	m, hidden := image.NewGray(image.Rect(0, 0, 7, 5)), make([]bool, 35)
	for i := range m.Pix {
		m.Pix[i], hidden[i] = uint8(i), i%4 == 0
	}
	s, mask := quality.Sparse(m), quality.SparseMask(hidden, 7, 5)
	if s.Rect.Max != image.Pt(4, 3) || mask.Size() != s.Rect.Max {
		t.Fatalf("sizes %v and %v", s.Rect, mask.Size())
	}
	for y := range 3 {
		for x := range 4 {
			if at := int(s.GrayAt(x, y).Y); at != 2*y*7+2*x || mask.Hides(x, y) != hidden[at] {
				t.Errorf("%d,%d is block %d, hidden %v", x, y, at, mask.Hides(x, y))
			}
		}
	}
}

// TestSimilarity: light, and surfaces that are bright in infrared, leave a view as it is; another
// part of the place is another view.
func TestSimilarity(t *testing.T) {
	const w, h = 80, 45
	usual := measure(t, shapes(w, h, 0), nil)
	for name, c := range map[string]struct {
		m           *image.Gray
		least, most float64
	}{
		"the same":        {shapes(w, h, 0), 0.999, 1.001},
		"less light":      {lit(shapes(w, h, 0), 0.3, 0), 0.7, 1},
		"fog":             {lit(shapes(w, h, 0), 0.4, 120), 0.7, 1},
		"a negative":      {lit(shapes(w, h, 0), -1, 255), 0.95, 1.001},
		"turned a little": {shapes(w, h, 12), 0, 0.3},
		"turned":          {shapes(w, h, 40), 0, 0.3},
		"nothing":         {lit(shapes(w, h, 0), 0, 90), 0, 0.05},
	} {
		l := measure(t, c.m, nil)
		if got := quality.Similarity(&l.Thumb, &usual.Thumb); !(got >= c.least && got <= c.most) {
			t.Errorf("%s: %v, want %v to %v", name, got, c.least, c.most)
		}
	}
}

// TestShift: only what changes the light of most of the picture is a shift.
func TestShift(t *testing.T) {
	const w, h = 80, 45
	usual := measure(t, shapes(w, h, 0), nil)
	brighter, darker, other := measure(t, lit(shapes(w, h, 0), 1.2, 0), nil), measure(t, lit(shapes(w, h, 0), 0.5, 0), nil), measure(t, shapes(w, h, 12), nil)
	near(t, "brighter", quality.Shift(&usual.Thumb, &brighter.Thumb), 0.18, 0.02)
	near(t, "darker", quality.Shift(&usual.Thumb, &darker.Thumb), -0.67, 0.03)
	near(t, "another view", quality.Shift(&usual.Thumb, &other.Thumb), 0, 0)
	near(t, "difference", quality.Difference(&usual.Thumb, &usual.Thumb), 0, 0)
}

// TestSame: a single block that differs by a level in each of a few tiles tells pictures apart, and
// a clock in a corner does not.
func TestSame(t *testing.T) {
	const w, h = 80, 45
	usual := measure(t, shapes(w, h, 0), nil)
	m := shapes(w, h, 0)
	for x := range 20 {
		m.Pix[2*w+x] ^= 64
	}
	if l := measure(t, m, nil); !l.Prints.Same(&usual.Prints) {
		t.Error("a clock in a corner makes it another picture")
	}
	for _, at := range []image.Point{{30, 20}, {50, 30}, {70, 40}} {
		m.Pix[at.Y*w+at.X]++
	}
	if l := measure(t, m, nil); l.Prints.Same(&usual.Prints) {
		t.Error("noise leaves it the same picture")
	}
	black := measure(t, lit(m, 0, 0), nil)
	if black.Prints.Same(&black.Prints) {
		t.Error("black pictures tell that they are the same")
	}
}

// FuzzMeasure: whatever the size and the pixels, measures are numbers in their ranges.
func FuzzMeasure(f *testing.F) {
	f.Add(80, 45, []byte("picture"), false)
	f.Add(1, 1, []byte{0}, false)
	f.Add(480, 270, []byte{1, 200, 7}, true)
	f.Add(7, 900, []byte{255, 0}, true)
	f.Fuzz(func(t *testing.T, w, h int, pixels []byte, mask bool) {
		w, h = 1+(w&511), 1+(h&1023)
		m := image.NewGray(image.Rect(0, 0, w, h))
		var hidden *quality.Mask
		if mask {
			hidden = quality.NewMask(w, h)
		}
		for i := range m.Pix {
			if len(pixels) == 0 {
				break
			}
			m.Pix[i] = pixels[i%len(pixels)]
			if mask && m.Pix[i]&3 == 1 {
				hidden.Hide(i%w, i/w)
			}
		}
		l, ok := quality.Measure(m, hidden)
		if !ok {
			if !mask {
				t.Error("it has no measures")
			}
			return
		}
		for what, v := range map[string][2]float64{
			"mean": {l.Mean, 255}, "contrast": {l.Contrast, 128}, "spread": {l.Spread, 255}, "clipped": {l.Clipped, 1},
			"sharpness":  {l.Sharpness, 1020 * 1020},
			"similarity": {quality.Similarity(&l.Thumb, &l.Thumb), 1.001}, "difference": {quality.Difference(&l.Thumb, &l.Thumb), 0},
		} {
			if !(v[0] >= 0 && v[0] <= v[1]) {
				t.Errorf("%s is %v", what, v[0])
			}
		}
	})
}

func BenchmarkMeasure(b *testing.B) {
	m := shapes(240, 135, 0)
	for b.Loop() {
		quality.Measure(m, nil)
	}
}

func BenchmarkSimilarity(b *testing.B) {
	l, _ := quality.Measure(shapes(240, 135, 0), nil)
	for b.Loop() {
		quality.Similarity(&l.Thumb, &l.Thumb)
	}
}
