package opencv

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"gocv.io/x/gocv"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// TestPNGIsOpenCVs compares the pixels of noise, with a random filter for each row, with those
// of OpenCV's own decoder, which has libpng: for every color type, depth, with and without
// interlacing.
func TestPNGIsOpenCVs(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	w, raw := NewWorker(Options{}), newOutput(t, "raw", func(s *transform.Spec) { s.Color = transform.BGR })
	defer w.Close()
	for color, kind := range map[byte]struct {
		channels int
		depths   []byte
	}{0: {1, []byte{1, 2, 4, 8, 16}}, 2: {3, []byte{8, 16}}, 3: {1, []byte{1, 2, 4, 8}}, 4: {2, []byte{8, 16}}, 6: {4, []byte{8, 16}}} {
		for _, depth := range kind.depths {
			for _, interlace := range []byte{0, 1} {
				for _, size := range [][2]int{{1, 1}, {3, 5}, {13, 9}, {64, 33}} {
					data := noisePNG(rng, size, kind.channels, depth, color, interlace)
					name := fmt.Sprintf("%v pixels, color type %d, %d bits, interlacing %d", size, color, depth, interlace)
					if err := w.Decode(source.Frame{Data: data}, nil, []*transform.Output{raw}); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					tensor := makeTensor(t, w, data, raw.Spec)
					if want := decodedByOpenCV(t, data); !bytes.Equal(tensor.Data, want) {
						t.Errorf("%s: OpenCV has other pixels", name)
					}
				}
			}
		}
	}
}

func decodedByOpenCV(t *testing.T, data []byte) []byte {
	t.Helper()
	m, err := gocv.IMDecode(data, gocv.IMReadColor)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	return m.ToBytes()
}

// noisePNG returns a PNG of random rows, filters and, if it has one, a full palette.
func noisePNG(rng *rand.Rand, size [2]int, channels int, depth, color, interlace byte) []byte {
	f := pngFile{width: size[0], height: size[1], bits: int(depth) * channels, interlaced: interlace == 1}
	var rows []byte
	for _, pass := range f.passes() {
		for range pass.size.Y {
			rows = append(rows, byte(rng.IntN(5)))
			for range (pass.size.X*f.bits + 7) / 8 {
				rows = append(rows, byte(rng.Uint32()))
			}
		}
	}
	data := pngWith(uint32(size[0]), uint32(size[1]), depth, color, interlace, rows)
	if color != pngPalette {
		return data
	}
	palette := make([]byte, 3<<depth)
	for i := range palette {
		palette[i] = byte(rng.Uint32())
	}
	header := len(pngMagic) + chunkFrame + headerLen
	return append(append(bytes.Clone(data[:header]), pngChunk("PLTE", palette)...), data[header:]...)
}

// BenchmarkPNG decodes a PNG of noise of 1920x1080.
func BenchmarkPNG(b *testing.B) {
	data := noisePNG(rand.New(rand.NewPCG(9, 10)), [2]int{1920, 1080}, 3, 8, pngRGB, 0)
	w := NewWorker(Options{})
	defer w.Close()
	for b.Loop() {
		if err := w.Decode(source.Frame{Data: data}, nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}
