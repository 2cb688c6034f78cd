package opencv

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/transform"
)

// FuzzDecodeJPEG decodes what may be a JPEG, and makes tensors of what is one.
func FuzzDecodeJPEG(f *testing.F) {
	fuzzDecode(f, ".jpg", jpegMarkers, func(data []byte) []byte { return data })
}

// FuzzDecodePNG does so for PNG, with the checksums put right: they would keep
// nearly everything from the decoder.
func FuzzDecodePNG(f *testing.F) { fuzzDecode(f, ".png", pngChunks, repairPNG) }

// jpegMarkers returns where the markers of a JPEG are.
func jpegMarkers(data []byte) []int {
	var at []int
	for i := 2; i+1 < len(data); i++ {
		if data[i] == 0xff && data[i+1] != 0 && data[i+1] != 0xff {
			at = append(at, i)
		}
	}
	return at
}

// pngChunks returns where the chunks of a PNG are.
func pngChunks(data []byte) []int {
	var at []int
	for i := len(pngMagic); i < len(data); i += chunkFrame + int(binary.BigEndian.Uint32(data[i:])) {
		at = append(at, i)
	}
	return at
}

// repairPNG returns the PNG with the right checksum of each chunk.
func repairPNG(data []byte) []byte {
	data = slices.Clone(data)
	rest := data[min(len(data), len(pngMagic)):]
	for len(rest) >= chunkFrame {
		n := uint64(binary.BigEndian.Uint32(rest))
		if n > uint64(len(rest)-chunkFrame) {
			break
		}
		binary.BigEndian.PutUint32(rest[8+n:], crc32.ChecksumIEEE(rest[4:8+n]))
		rest = rest[chunkFrame+n:]
	}
	return data
}

// FuzzRows compares the two ways from a JPEG to a tensor.
func FuzzRows(f *testing.F) {
	addSeeds(f, ".jpg", jpegMarkers)
	rng := rand.New(rand.NewPCG(5, 6))
	var outputs []*transform.Output
	for range 4 {
		outputs = append(outputs, linearOutput(rng, 100))
	}
	w := NewWorker(Options{MaxWidth: 300, MaxHeight: 300})
	defer w.Close()
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, o := range outputs {
			compareWays(t, w, data, o)
		}
	})
}

// fuzzDecode fuzzes the decoder of the files with the extension.
func fuzzDecode(f *testing.F, extension string, marks func([]byte) []int, repair func([]byte) []byte) {
	addSeeds(f, extension, marks)
	outputs := fuzzOutputs(f)
	w := NewWorker(Options{MaxWidth: 300, MaxHeight: 300})
	defer w.Close()
	f.Fuzz(func(t *testing.T, data []byte) {
		if decodeReason(t, w, repair(data)) != "" {
			return
		}
		for _, o := range outputs {
			tensor, err := w.Tensor(o)
			if err != nil {
				t.Fatalf("%s: %v", o.Name, err)
			}
			n := o.Spec.DType.Size()
			for _, d := range tensor.Shape {
				n *= d
			}
			if n != len(tensor.Data) {
				t.Errorf("%s: %d bytes of shape %v", o.Name, len(tensor.Data), tensor.Shape)
			}
			tensor.Release()
		}
		if n := OpenMats(); n != 0 {
			t.Errorf("%d Mats are open", n)
		}
	})
}

// addSeeds adds the files with the extension, each of them cut at every mark, and
// with a bit flipped in each of the bytes that begin what is marked.
func addSeeds(f *testing.F, extension string, marks func([]byte) []int) {
	f.Helper()
	files, err := os.ReadDir("testdata/pictures")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file.Name(), extension) {
			data := readPicture(f, file.Name())
			f.Add(data)
			for _, at := range marks(data) {
				f.Add(slices.Clone(data[:at]))
				for i := at; i < min(at+8, len(data)); i++ {
					flipped := slices.Clone(data)
					flipped[i] ^= 1 << (i % 8)
					f.Add(flipped)
				}
			}
		}
	}
}

// fuzzOutputs returns outputs that take every way through the pixels.
func fuzzOutputs(f *testing.F) []*transform.Output {
	var outputs []*transform.Output
	for i, resize := range transform.Resizes() {
		for j, fit := range transform.Fits() {
			o := newOutput(f, "none", func(s *transform.Spec) {
				s.Width, s.Height = 33, 20
				s.Resize, s.Fit = resize, fit
				s.Color = transform.Colors()[(i+j)%3]
				s.DType = transform.DTypes()[(i+j/2)%3]
				s.Layout = transform.Layouts()[(i/2+j)%2]
			})
			o.Name = string(resize) + " " + string(fit)
			outputs = append(outputs, o)
		}
	}
	return outputs
}
