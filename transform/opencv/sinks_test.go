package opencv

import (
	"image"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/transform"
)

// TestOtherFilter: where OpenCV resizes with another filter than ours, as some builds do, it
// resizes the region after the rows came.
func TestOtherFilter(t *testing.T) {
	d := newDecoders(t, Options{})
	if len(d.rows.meter.differs) > 0 {
		t.Fatalf("OpenCV resizes in other ways: %v", d.rows.meter.differs)
	}
	area := func(o of, g transform.Geometry) (view, error) {
		s, other := o.spec, *o.spec
		if s.Resize == transform.OpenCVLinear {
			other.Resize = transform.OpenCVArea
		}
		if s.Color == transform.Gray && s.Resize == "" { // a gray that is not OpenCV's
			v, err := d.rows.resize(o, g)
			v.bytes()[7] ^= 1
			return v, err
		}
		return d.rows.resize(of{spec: &other}, g)
	}
	differs, err := d.rows.compareSinks(area)
	want := map[way]bool{{transform.OpenCVLinear, false}: true, {transform.OpenCVLinear, true}: true, {"", true}: true}
	if diff := cmp.Diff(want, differs, cmp.AllowUnexported(way{})); diff != "" || err != nil {
		t.Fatalf("%v, ways (-want +got):\n%s", err, diff)
	}
	d.rows.meter.differs = differs
	rng := rand.New(rand.NewPCG(5, 5))
	for range 60 {
		d.compare(t, readPicture(t, "420.jpg"), randomOutput(rng, 200), randomOutput(rng, 200))
	}
}

// BenchmarkSinks measures what it takes to resize a picture of 1920x1080 that is in memory,
// row by row. "copy" is the least: it makes rows of four bytes a pixel, and leaves out the fourth.
func BenchmarkSinks(b *testing.B) {
	w := NewWorker(Options{})
	defer w.Close()
	src, err := w.pixels.picture(image.Pt(1920, 1080), 3)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range src.bytes() {
		src.bytes()[i] = uint8(rng.Uint32())
	}
	sized := func(width, height int, how transform.Resize, color transform.Color) func(*transform.Spec) {
		return func(s *transform.Spec) { s.Width, s.Height, s.Resize, s.Color = width, height, how, color }
	}
	for name, o := range map[string]*transform.Output{
		"copy":         newOutput(b, "raw", nil),
		"yolo":         newOutput(b, "yolo", nil),
		"yolo-gray":    newOutput(b, "yolo", sized(640, 640, transform.OpenCVLinear, transform.Gray)),
		"linear-608":   newOutput(b, "yolo", sized(608, 608, transform.OpenCVLinear, transform.RGB)),
		"linear-gray":  newOutput(b, "yolo", sized(608, 608, transform.OpenCVLinear, transform.Gray)),
		"halve":        newOutput(b, "yolo", sized(960, 960, transform.OpenCVLinear, transform.RGB)),
		"nearest":      newOutput(b, "yolo", sized(640, 640, transform.OpenCVNearest, transform.RGB)),
		"area-640":     newOutput(b, "yolo", sized(640, 640, transform.OpenCVArea, transform.RGB)),
		"area-608":     newOutput(b, "yolo", sized(608, 608, transform.OpenCVArea, transform.RGB)),
		"imagenet":     newOutput(b, "imagenet", nil),
		"clip":         newOutput(b, "clip", nil),
		"clip-gray":    newOutput(b, "clip", sized(224, 224, transform.PillowBicubic, transform.Gray)),
		"lanczos-640":  newOutput(b, "yolo", sized(640, 640, transform.PillowLanczos, transform.RGB)),
		"bilinear-640": newOutput(b, "yolo", sized(640, 640, transform.PillowBilinear, transform.RGB)),
	} {
		b.Run(name, func(b *testing.B) {
			p := picture{full: src.size, eighths: 8}
			all := w.meter.resizings(p, []*transform.Output{o})
			for b.Loop() {
				if _, err := w.feed(&w.rows, src, p, all); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
