package opencv

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	imagepng "image/png"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// randomMask returns a mask with a random polygon, whose edges may cross, or a box.
func randomMask(rng *rand.Rand) transform.Mask {
	m := transform.Mask{Fill: [3]uint8{uint8(rng.Uint32()), uint8(rng.Uint32()), uint8(rng.Uint32())}}
	if rng.IntN(3) == 0 {
		x, y := rng.Float64(), rng.Float64()
		m.Polygon = transform.BoxPolygon([4]float64{x, y, rng.Float64() * (1 - x), rng.Float64() * (1 - y)})
		return m
	}
	for range 3 + rng.IntN(5) {
		m.Polygon = append(m.Polygon, transform.Fraction{X: rng.Float64(), Y: rng.Float64()})
	}
	return m
}

// under tells whether some point of a pixel is inside one of the masks, by looking at many.
func under(c *transform.Camera, size image.Point, x, y int) bool {
	const n = 4
	for i := range n * n {
		px := (float64(x) + (float64(i%n)+0.5)/n) / float64(size.X)
		py := (float64(y) + (float64(i/n)+0.5)/n) / float64(size.Y)
		for _, m := range c.Masks {
			inside := false
			for k, a := range m.Polygon {
				b := m.Polygon[(k+1)%len(m.Polygon)]
				if (a.Y > py) != (b.Y > py) && px < a.X+(py-a.Y)/(b.Y-a.Y)*(b.X-a.X) {
					inside = !inside
				}
			}
			if inside {
				return true
			}
		}
	}
	return false
}

// A pair is two encoded pictures that differ only under the masks.
type pair struct {
	kind string
	size image.Point
	a, b []byte
}

// pixelPair returns pictures that differ in the pixels under the masks before they are encoded.
func pixelPair(t *testing.T, rng *rand.Rand, c *transform.Camera, size image.Point) pair {
	t.Helper()
	kind := pick(rng, []string{"jpeg", "gray jpeg", "png", "gray png"})
	draw := func() *image.NRGBA {
		m := image.NewNRGBA(image.Rectangle{Max: size})
		for i := range m.Pix {
			m.Pix[i] = uint8(rng.Uint32()) | uint8(i%4/3*255)
		}
		return m
	}
	a, b := draw(), draw()
	for y := range size.Y {
		for x := range size.X {
			if !under(c, size, x, y) {
				b.SetNRGBA(x, y, a.NRGBAAt(x, y))
			}
		}
	}
	quality := 30 + rng.IntN(70)
	encode := func(m *image.NRGBA) []byte {
		var picture image.Image = m
		if strings.HasPrefix(kind, "gray") {
			gray := image.NewGray(m.Rect)
			for i := range gray.Pix {
				gray.Pix[i] = m.Pix[4*i]
			}
			picture = gray
		}
		var out bytes.Buffer
		var err error
		if kind == "png" || kind == "gray png" {
			err = imagepng.Encode(&out, picture)
		} else {
			err = jpeg.Encode(&out, picture, &jpeg.Options{Quality: quality})
		}
		if err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	return pair{kind, size, encode(a), encode(b)}
}

// codedPair returns JPEGs of some sampling, CMYK included, that differ in all coefficients of the
// MCUs that have a pixel under the masks, and in no others.
func codedPair(rng *rand.Rand, c *transform.Camera, size image.Point) pair {
	s := pick(rng, append([]sampling{{{1, 1}, {1, 1}, {1, 1}, {1, 1}}, {{2, 2}, {1, 1}, {1, 1}, {2, 2}}}, samplings...))
	unit, components := image.Pt(8, 8), []int{0}
	if len(s) > 1 {
		components = nil
		for i, f := range s {
			unit.X, unit.Y = max(unit.X, 8*f[0]), max(unit.Y, 8*f[1])
			for range f[0] * f[1] {
				components = append(components, i)
			}
		}
	}
	across, down := (size.X+unit.X-1)/unit.X, (size.Y+unit.Y-1)/unit.Y
	differ := make([]bool, across*down)
	for y := range size.Y {
		for x := range size.X {
			if at := y/unit.Y*across + x/unit.X; !differ[at] {
				differ[at] = under(c, size, x, y)
			}
		}
	}
	draw := func() (b [64]int) {
		b[0] = rng.IntN(200) - 100
		for i := range rng.IntN(20) {
			b[1+i] = rng.IntN(21) - 10
		}
		return b
	}
	var blocks [2][][64]int
	for m := range differ {
		for range components {
			b := draw()
			blocks[0] = append(blocks[0], b)
			if differ[m] {
				b = draw()
			}
			blocks[1] = append(blocks[1], b)
		}
	}
	encode := func(all [][64]int) []byte {
		p, n, last := coded{w: size.X, h: size.Y, sampling: s}, 0, map[int]int{}
		for i := range p.quantization {
			p.quantization[i] = 8
		}
		p.block = func() [64]int {
			b, component := all[n], components[n%len(components)]
			b[0], last[component] = b[0]-last[component], b[0]
			n++
			return b
		}
		return p.encode()
	}
	return pair{fmt.Sprint("coded ", s), size, encode(blocks[0]), encode(blocks[1])}
}

// TestNothingIsSeenUnderMasks: of pictures that differ only under the masks, the tensors are the
// same, whatever is made of them, in whichever way. And they differ without the masks.
func TestNothingIsSeenUnderMasks(t *testing.T) {
	d := newDecoders(t, Options{})
	rng := rand.New(rand.NewPCG(3, 4))
	differed, kinds := 0, map[string]int{}
	const pairs = 60
	for i := range pairs {
		c := &transform.Camera{}
		for range 1 + rng.IntN(3) {
			c.Masks = append(c.Masks, randomMask(rng))
		}
		size, third := image.Pt(1+rng.IntN(120), 1+rng.IntN(120)), image.Pt(1+rng.IntN(40), 1+rng.IntN(40))
		if i%3 == 0 {
			size = third.Mul(3)
		}
		p := codedPair(rng, c, size)
		if i%2 == 0 {
			p = pixelPair(t, rng, c, size)
		}
		for n := range 6 {
			outs := randomOutputs(rng, 90)
			if n == 0 && i%3 == 0 { // of which only every third pixel is made
				outs = []*transform.Output{newOutput(t, "yolo", func(s *transform.Spec) { s.Width, s.Height = third.X, third.Y })}
			}
			for _, w := range []*Worker{d.rows, d.whole, d.plain} {
				a, b := seen(w, p.a, c, outs), seen(w, p.b, c, outs)
				if len(w.picture.resized) > 0 {
					kinds[p.kind]++
				}
				for i := range a {
					if !bytes.Equal(a[i].data, b[i].data) || a[i].err != b[i].err {
						t.Fatalf("%s of %v: %+v shows what is under %v: %s%s", p.kind, size, outs[i].Spec, c.Masks, a[i].err, b[i].err)
					}
				}
				bare, other := results(w, p.a, outs), results(w, p.b, outs)
				for i := range bare {
					if !bytes.Equal(bare[i].data, other[i].data) {
						differed++
					}
				}
			}
		}
	}
	if differed < 6*pairs || len(kinds) < 15 {
		t.Errorf("%d tensors differ without masks, and %d kinds of pictures were resized by rows", differed, len(kinds))
	}
}

// TestMasksCoverNoMore: outside of the cover the pixels are as without masks, and inside they
// have the color, of all kinds of pictures, in all ways, at all scales.
func TestMasksCoverNoMore(t *testing.T) {
	d := newDecoders(t, Options{})
	rng := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		m := randomMask(rng)
		c := &transform.Camera{Masks: []transform.Mask{m}}
		size := image.Pt(1+rng.IntN(120), 1+rng.IntN(120))
		p := codedPair(rng, &transform.Camera{}, size)
		if rng.IntN(2) == 0 {
			p = pixelPair(t, rng, &transform.Camera{}, size)
		}
		raw := newOutput(t, "raw", func(s *transform.Spec) { s.Color = transform.RGB })
		for _, w := range []*Worker{d.rows, d.whole, d.plain} {
			bare := results(w, p.a, []*transform.Output{raw})[0]
			if bare.err != "" {
				t.Fatal(bare.err)
			}
			got := seen(w, p.a, c, []*transform.Output{raw})[0]
			covered := make([]bool, size.X*size.Y)
			for y := range size.Y {
				for _, s := range w.picture.cover.Spans[w.picture.cover.Rows[y]:w.picture.cover.Rows[y+1]] {
					for x := s.From; x < s.To; x++ {
						covered[y*size.X+int(x)] = true
					}
				}
			}
			for i, hidden := range covered {
				want := bare.data[3*i : 3*i+3]
				if hidden {
					want = m.Fill[:]
				}
				if !bytes.Equal(got.data[3*i:3*i+3], want) {
					t.Fatalf("%s of %v: pixel %d,%d is %v, want %v", p.kind, size, i%size.X, i/size.X, got.data[3*i:3*i+3], want)
				}
			}
		}
	}
}

// TestMosaic: a pixelated block has the mean of its pixels, of which a filled part has none, and
// pictures of the same means are the same.
func TestMosaic(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	d := newDecoders(t, Options{})
	raw := newOutput(t, "raw", func(s *transform.Spec) { s.Color = transform.RGB })
	size := image.Pt(100, 75)
	for range 10 {
		fill := randomMask(rng)
		c := &transform.Camera{Masks: []transform.Mask{
			{Polygon: transform.BoxPolygon([4]float64{0.3, 0.2, 0.4, 0.6}), Pixelate: pick(rng, []int{8, 16, 24, 64})}, fill,
		}}
		side := c.Masks[0].Pixelate
		p := pixelPair(t, rng, &transform.Camera{}, size)
		filled := &transform.Camera{Masks: []transform.Mask{fill}}
		for _, w := range []*Worker{d.rows, d.whole, d.plain} {
			bare := seen(w, p.a, filled, []*transform.Output{raw})[0].data
			got := seen(w, p.a, c, []*transform.Output{raw})[0].data
			fillOnly := w.picture.cover
			for y := range size.Y {
				for x := range size.X {
					want := bare[3*(y*size.X+x):][:3]
					inSpan := false
					for _, s := range fillOnly.Spans[fillOnly.Rows[y]:fillOnly.Rows[y+1]] {
						inSpan = inSpan || int32(x) >= s.From && int32(x) < s.To
					}
					if !inSpan && inMosaic(fillOnly, x, y) {
						want = meanOf(bare, size, image.Rect(x/side*side, y/side*side, x/side*side+side, y/side*side+side))
					}
					if !bytes.Equal(got[3*(y*size.X+x):][:3], want) {
						t.Fatalf("%s: pixel %d,%d is %v, want %v", p.kind, x, y, got[3*(y*size.X+x):][:3], want)
					}
				}
			}
			for i := range 64 { // all that is under the mask is in the mosaic
				x, y := 30+i%8*5, 15+i/8*5
				if !inMosaic(fillOnly, x, y) {
					t.Fatalf("%d,%d is not pixelated", x, y)
				}
			}
		}
	}
}

func inMosaic(c *transform.Cover, x, y int) bool {
	for _, m := range c.Mosaics {
		for _, b := range m.Blocks {
			if x/m.Side == b.X && y/m.Side == b.Y {
				return true
			}
		}
	}
	return false
}

// meanOf returns the mean color of a part of RGB pixels.
func meanOf(pixels []byte, size image.Point, r image.Rectangle) []byte {
	r = r.Intersect(image.Rectangle{Max: size})
	var sums [3]float64
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			for c := range sums {
				sums[c] += float64(pixels[3*(y*size.X+x)+c])
			}
		}
	}
	mean := make([]byte, 3)
	for c := range mean {
		mean[c] = byte(math.Floor(sums[c]/float64(r.Dx()*r.Dy()) + 0.5))
	}
	return mean
}

// TestMaskedPicturesAreMeasured: what a masked picture takes is what the meter said.
func TestMaskedPicturesAreMeasured(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for _, name := range []string{"420.jpg", "cmyk.jpg", "progressive.jpg", "rgb.png", "gray.jpg"} {
		for range 8 {
			c := &transform.Camera{Masks: []transform.Mask{randomMask(rng)}}
			if rng.IntN(2) == 0 {
				c.Masks[0].Pixelate = 16
			}
			compareMeasuredOf(t, name, source.Frame{Data: readPicture(t, name)}, c, randomOutputs(rng, 300))
		}
	}
}

// BenchmarkMasks compares the transform of a picture with masks to that without, in turns: the
// least times of each.
func BenchmarkMasks(b *testing.B) {
	data := benchJPEG(b)
	fill := []transform.Mask{
		{Polygon: []transform.Fraction{{X: 0.1, Y: 0.2}, {X: 0.4, Y: 0.2}, {X: 0.3, Y: 0.6}}},
		{Polygon: transform.BoxPolygon([4]float64{0.5, 0.5, 0.25, 0.25})},
	}
	mosaic := []transform.Mask{fill[0], {Polygon: fill[1].Polygon, Pixelate: 16}}
	cameras := []*transform.Camera{nil, {Masks: fill}, {Masks: mosaic}}
	for _, preset := range []string{"yolo", "imagenet"} {
		b.Run(preset, func(b *testing.B) {
			w, out := NewWorker(Options{}), newOutput(b, preset, nil)
			defer w.Close()
			least := []time.Duration{time.Hour, time.Hour, time.Hour}
			for b.Loop() {
				for i, c := range cameras {
					least[i] = min(least[i], timed(func() {
						if err := w.Decode(source.Frame{Data: data}, c, []*transform.Output{out}); err != nil {
							b.Fatal(err)
						}
						t, err := w.Tensor(out)
						if err != nil {
							b.Fatal(err)
						}
						t.Release()
					}))
				}
			}
			b.ReportMetric(float64(least[1])/float64(least[0]), "fill-vs-none")
			b.ReportMetric(float64(least[2])/float64(least[0]), "mosaic-vs-none")
		})
	}
}

// TestGatesSeeNothingUnderMasks: the blocks that are not hidden from a gate are the same in
// pictures that differ only under the masks, and some of those that are hidden are not.
func TestGatesSeeNothingUnderMasks(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	rng := rand.New(rand.NewPCG(11, 12))
	looked, differed := 0, 0
	for i := range 200 {
		c := &transform.Camera{Masks: []transform.Mask{randomMask(rng)}}
		c.Masks[0].Pixelate = i % 2 * 16
		size := image.Pt(1+rng.IntN(120), 1+rng.IntN(120))
		p := pixelPair(t, rng, c, size)
		hidden := c.Hidden(size)
		a, _, err := w.Luma(source.Frame{Data: p.a}, c)
		if err != nil {
			continue // a PNG has none
		}
		before := bytes.Clone(a.Pix)
		b, _, err := w.Luma(source.Frame{Data: p.b}, c)
		if err != nil || len(hidden) != len(before) {
			t.Fatal(err, len(hidden), len(before))
		}
		for i, v := range b.Pix {
			if v != before[i] {
				differed++
				if !hidden[i] {
					t.Fatalf("%s of %v: block %d is to be seen", p.kind, size, i)
				}
			} else if !hidden[i] {
				looked++
			}
		}
	}
	if looked < 500 || differed < 500 {
		t.Errorf("%d blocks are the same, %d are not", looked, differed)
	}
}
