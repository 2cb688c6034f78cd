package opencv

import (
	"image"
	"math/rand/v2"
	"testing"

	"github.com/cvfeeder/cvfeeder/transform"
)

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
