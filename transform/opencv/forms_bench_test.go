package opencv

import (
	"image"
	"testing"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// BenchmarkTiles compares decoding a 1080p JPEG to six tiles that overlap, which share one
// decode, with decoding it to one picture of the same outputs without tiles.
func BenchmarkTiles(b *testing.B) {
	whole := newOutput(b, "raw", nil)
	tiles := newOutput(b, "raw", func(s *transform.Spec) { s.Tiles = transform.Tiles{Grid: image.Pt(3, 2), Overlap: 0.1} })
	data := drawnJPEG(b)
	run := func(o *transform.Output) func() {
		w := NewWorker(Options{})
		b.Cleanup(w.Close)
		return func() {
			if err := w.Decode(source.Frame{Data: data}, nil, []*transform.Output{o}); err != nil {
				b.Fatal(err)
			}
		}
	}
	least := leastOf(b, run(whole), run(tiles))
	b.ReportMetric(float64(least[1])/float64(least[0]), "tiles-decode-vs-whole")
}

// BenchmarkOriginal measures what it takes to pass on a frame as it is, in milliseconds.
func BenchmarkOriginal(b *testing.B) {
	o := newOutput(b, "raw", func(s *transform.Spec) { s.Encode = transform.EncodeOriginal })
	w, data := NewWorker(Options{}), drawnJPEG(b)
	defer w.Close()
	least := leastOf(b, func() { transformOnce(b, w, data, o) })
	b.ReportMetric(least[0].Seconds()*1000, "original-ms")
}
