package opencv

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// benchJPEG returns the picture to measure with: the file that CVFEEDER_BENCH_JPEG
// names, or the drawn one.
func benchJPEG(b *testing.B) []byte {
	b.Helper()
	if name := os.Getenv("CVFEEDER_BENCH_JPEG"); name != "" {
		return readFile(b, name)
	}
	return drawnJPEG(b)
}

func readFile(b *testing.B, name string) []byte {
	b.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// drawnJPEG returns a drawn picture of 1920x1080, 4:2:0 and about 320 KB, with smooth
// shades, edges, and noise as of a sensor.
func drawnJPEG(b *testing.B) []byte {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	m := image.NewRGBA(image.Rect(0, 0, 1920, 1080))
	for y := range 1080 {
		for x := range 1920 {
			shade := 110 + 60*math.Sin(float64(x)/190)*math.Cos(float64(y)/130)
			if (x/240+y/180)%3 == 0 {
				shade += 45
			}
			shade += rng.NormFloat64() * 6
			at := func(v float64) uint8 { return uint8(max(0, min(255, v))) }
			m.SetRGBA(x, y, color.RGBA{at(shade), at(shade*0.9 + 10), at(shade*0.7 + 30), 255})
		}
	}
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, m, &jpeg.Options{Quality: 82}); err != nil {
		b.Fatal(err)
	}
	return buf.Bytes()
}

// transformCases are what is made of one picture, and the results' names without the
// picture's.
var transformCases = []struct {
	name string
	outs func(testing.TB) []*transform.Output
}{
	{"transform-yolo-", presetOutput("yolo", nil)},
	{"transform-gray-", presetOutput("yolo", func(s *transform.Spec) { s.Color = transform.Gray })},
	{"transform-roi4-", presetOutput("yolo", func(s *transform.Spec) {
		s.ROI = transform.ROI{X: 0.4, Y: 0.4, W: 0.2, H: 0.2, Fraction: true} // 4% of the picture
	})},
	{"transform-two-", func(t testing.TB) []*transform.Output {
		return []*transform.Output{
			newOutput(t, "yolo", nil), newOutput(t, "yolo", func(s *transform.Spec) { s.Width, s.Height = 416, 416 }),
		}
	}},
	{"transform-fast-", presetOutput("yolo", func(s *transform.Spec) { s.Decode = transform.DecodeFast })},
	{"transform-imagenet-", presetOutput("imagenet", nil)},
	{"transform-clip-", presetOutput("clip", nil)},
}

func presetOutput(preset string, change func(*transform.Spec)) func(testing.TB) []*transform.Output {
	return func(t testing.TB) []*transform.Output {
		return []*transform.Output{newOutput(t, preset, change)}
	}
}

// BenchmarkTransform compares the time from a 1080p JPEG to tensors with that of
// libjpeg-turbo's whole decode of the same file alone, for each case and two pictures:
//
//	drawn    has noise in every block: the entropy of a sensor's picture
//	footage  is a frame of a video: smooth, in most blocks
//
// All take turns, so that the noise of a shared machine hits each, and the least times are
// compared.
func BenchmarkTransform(b *testing.B) {
	b.Run("drawn", func(b *testing.B) { benchmarkTransform(b, "drawn", drawnJPEG(b)) })
	b.Run("footage", func(b *testing.B) { benchmarkTransform(b, "footage", readFile(b, "testdata/footage.jpg")) })
}

func benchmarkTransform(b *testing.B, picture string, data []byte) {
	// Each case has its own worker: what one keeps for the next picture is for the same
	// outputs.
	w := NewWorker(Options{})
	defer w.Close()
	floor := libjpegAlone(b, w, data)
	runs := []func(){floor}
	for _, c := range transformCases {
		w, outs := NewWorker(Options{}), c.outs(b)
		defer w.Close()
		runs = append(runs, func() { transformOnce(b, w, data, outs...) })
	}
	least := leastOf(b, runs...)
	b.ReportMetric(milliseconds(least[0]), "libjpeg-ms")
	for i, c := range transformCases {
		b.ReportMetric(milliseconds(least[i+1]), c.name+picture+"-ms")
		b.ReportMetric(float64(least[i+1])/float64(least[0]), c.name+picture)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// libjpegAlone returns a function that decodes the whole picture with libjpeg-turbo's
// public functions, in the same way as TurboJPEG and OpenCV.
func libjpegAlone(b *testing.B, w *Worker, data []byte) func() {
	b.Helper()
	h, err := readJPEGHeader(data)
	if err != nil {
		b.Fatal(err)
	}
	v, err := w.pixels.picture(h.size, 3)
	if err != nil {
		b.Fatal(err)
	}
	job := new(Worker).wholeJPEG(h, 8, v) // without our own decoder
	job.lax = 1
	return func() {
		if err := w.runJPEG(&job, data); err != nil {
			b.Error(err)
		}
	}
}

// transformOnce makes one tensor of one picture.
func transformOnce(b *testing.B, w *Worker, data []byte, outs ...*transform.Output) {
	if err := w.Decode(source.Frame{Data: data}, nil, outs); err != nil {
		b.Error(err)
		return
	}
	for _, o := range outs {
		t, err := w.Tensor(o)
		if err != nil {
			b.Error(err)
			return
		}
		t.Release()
	}
}

// BenchmarkDecode measures the ways from a JPEG to pixels: to those of one output row by
// row, and to all of them with the row decoder and without.
func BenchmarkDecode(b *testing.B) {
	data, yolo := benchJPEG(b), newOutput(b, "yolo", nil)
	for name, bb := range map[string]struct {
		o    Options
		outs []*transform.Output
	}{
		"rows":  {Options{}, []*transform.Output{yolo}},
		"whole": {Options{}, nil},
		"plain": {Options{NoRowDecoder: true}, nil},
	} {
		b.Run(name, func(b *testing.B) {
			w := NewWorker(bb.o)
			defer w.Close()
			for b.Loop() {
				if err := w.Decode(source.Frame{Data: data}, nil, bb.outs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTensor measures all that comes after the decoder.
func BenchmarkTensor(b *testing.B) {
	data := benchJPEG(b)
	for _, preset := range []string{"yolo", "imagenet", "clip", "raw"} {
		b.Run(preset, func(b *testing.B) {
			w, out := NewWorker(Options{}), newOutput(b, preset, nil)
			defer w.Close()
			transformOnce(b, w, data, out)
			b.ReportAllocs()
			for b.Loop() {
				t, err := w.Tensor(out)
				if err != nil {
					b.Fatal(err)
				}
				t.Release()
			}
		})
	}
}

// BenchmarkPack measures the way from resized pixels to the tensor's elements.
func BenchmarkPack(b *testing.B) {
	out := newOutput(b, "yolo", nil)
	w := NewWorker(Options{NoRowDecoder: true}) // keeps the whole picture
	defer w.Close()
	transformOnce(b, w, benchJPEG(b), out)
	for _, dtype := range transform.DTypes() {
		for _, layout := range []transform.Layout{transform.NCHW, transform.NHWC} {
			b.Run(string(dtype)+"-"+string(layout), func(b *testing.B) {
				s := out.Spec
				s.Layout, s.Fit = layout, transform.Stretch
				setDType(&s, dtype)
				g, err := s.Geometry(w.picture.full)
				if err != nil {
					b.Fatal(err)
				}
				src, err := w.resize(of{spec: &s}, g)
				if err != nil {
					b.Fatal(err)
				}
				n, _ := s.Bytes()
				dst := make([]byte, n)
				for b.Loop() {
					w.pack(&s, g, src, dst, false)
				}
			})
		}
	}
}

// BenchmarkTransformScaling compares the throughput of two workers with that of one, in
// turns. What the machine allows is measured as well: libjpeg-turbo alone, where two
// decodes share nothing but the memory's bandwidth.
func BenchmarkTransformScaling(b *testing.B) {
	if runtime.GOMAXPROCS(0) < 2 {
		b.Skip("needs two cores")
	}
	data, out := benchJPEG(b), newOutput(b, "yolo", nil)
	workers := [2]*Worker{NewWorker(Options{}), NewWorker(Options{})}
	var alone [2]func()
	for i, w := range workers {
		defer w.Close()
		transformOnce(b, w, data, out)
		alone[i] = libjpegAlone(b, w, data)
	}
	whole := func(i int) { transformOnce(b, workers[i], data, out) }
	floor := func(i int) { alone[i]() }
	var wholes, floors [2][]float64
	turns := 20
	if testing.Short() {
		turns = 2
	}
	for b.Loop() {
		for turn := range turns {
			n := turn % 2
			wholes[n] = append(wholes[n], throughput(n+1, whole))
			floors[n] = append(floors[n], throughput(n+1, floor))
		}
	}
	b.ReportMetric(median(wholes[1])/median(wholes[0]), "transform-scaling")
	b.ReportMetric(median(floors[1])/median(floors[0]), "libjpeg-scaling")
}

// throughput returns how many times a second n goroutines together run once. It
// is the sum of their rates: none waits for another to finish.
func throughput(n int, once func(i int)) float64 {
	rates := make([]float64, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			start, runs := time.Now(), 0
			for ; time.Since(start) < 80*time.Millisecond; runs++ {
				once(i)
			}
			rates[i] = float64(runs) / time.Since(start).Seconds()
		})
	}
	wg.Wait()
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return sum
}

// timed returns how long f takes.
func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// median returns the middle of the values.
func median[T cmp.Ordered](d []T) T {
	slices.Sort(d)
	return d[len(d)/2]
}

// leastOf runs functions in turns, and returns the least time of each.
func leastOf(b *testing.B, runs ...func()) []time.Duration {
	b.Helper()
	least := make([]time.Duration, len(runs))
	for i, run := range runs {
		run() // once to allocate
		least[i] = timed(run)
	}
	turns := 60
	if testing.Short() {
		turns = 2
	}
	for b.Loop() {
		for range turns {
			for i, run := range runs {
				least[i] = min(least[i], timed(run))
			}
		}
	}
	return least
}
