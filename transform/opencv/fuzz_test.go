package opencv

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// FuzzDecodeJPEG decodes what may be a JPEG, and makes tensors of what is one, with the
// row decoder and without.
func FuzzDecodeJPEG(f *testing.F) {
	d := newDecoders(f, fuzzLimits)
	fuzzDecode(f, ".jpg", jpegMarkers, func(data []byte) []byte { return data }, d.rows, d.plain)
}

// FuzzDecodePNG does the same for PNG. It corrects the checksums, because with wrong ones
// hardly anything would reach the decoder.
func FuzzDecodePNG(f *testing.F) {
	d := newDecoders(f, fuzzLimits)
	fuzzDecode(f, ".png", pngChunks, repairPNG, d.rows, d.plain)
}

// fuzzLimits keep every input cheap.
var fuzzLimits = Options{MaxWidth: 300, MaxHeight: 300}

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

// FuzzRows compares the ways from a picture to tensors, for outputs of all kinds, several at
// once.
func FuzzRows(f *testing.F) {
	seeds := uint64(0)
	add := func(data []byte) {
		seeds++
		f.Add(data, seeds)
	}
	eachSeed(f, ".jpg", jpegMarkers, add)
	eachSeed(f, ".png", pngChunks, add)
	for _, name := range []string{"no-luma.jpg", "worst.jpg", "worst-good.jpg"} {
		add(readBroken(f, name))
	}
	d := newDecoders(f, fuzzLimits)
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		d.compare(t, data, randomOutputs(rand.New(rand.NewPCG(seed, 6)), 100)...)
	})
}

// fuzzDecode fuzzes the decoders of the files with the extension. All workers have to
// refuse the same inputs for the same reason, and to make the same tensors of the others. The
// libraries have to keep off standard error.
func fuzzDecode(f *testing.F, extension string, marks func([]byte) []int, repair func([]byte) []byte, workers ...*Worker) {
	eachSeed(f, extension, marks, func(data []byte) { f.Add(data) })
	outputs := fuzzOutputs(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		data = repair(data)
		var want transform.Reason
		if written := stderrOf(t, func() { want = decodeReason(t, workers[0], data) }); written != "" {
			t.Errorf("on standard error: %q", written)
		}
		for _, w := range workers[1:] {
			if got := decodeReason(t, w, data); got != want {
				t.Fatalf("%q and %q", got, want)
			}
		}
		if want != "" {
			return
		}
		for _, w := range workers {
			if err := w.Decode(source.Frame{Data: data}, nil, outputs); err != nil {
				t.Fatal(err)
			}
		}
		for _, o := range outputs {
			tensor := fuzzTensor(t, workers[0], o)
			for _, w := range workers[1:] {
				other := fuzzTensor(t, w, o)
				if !bytes.Equal(tensor.Data, other.Data) {
					t.Errorf("%s: the tensors differ", o.Name)
				}
				other.Release()
			}
			tensor.Release()
		}
		if n := OpenMats(); n != 0 {
			t.Errorf("%d Mats are open", n)
		}
	})
}

// fuzzTensor makes a tensor of what was decoded, which has to be possible.
func fuzzTensor(t *testing.T, w *Worker, o *transform.Output) *transform.Tensor {
	t.Helper()
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
	return tensor
}

// eachSeed calls add with the files with the extension, each also cut off at every mark, and
// with a flipped bit in each of the first bytes after every mark.
func eachSeed(f *testing.F, extension string, marks func([]byte) []int, add func([]byte)) {
	f.Helper()
	files, err := os.ReadDir("testdata/pictures")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), extension) {
			continue
		}
		data := readPicture(f, file.Name())
		add(data)
		for _, at := range marks(data) {
			add(slices.Clone(data[:at]))
			for i := at; i < min(at+8, len(data)); i++ {
				flipped := slices.Clone(data)
				flipped[i] ^= 1 << (i % 8)
				add(flipped)
			}
		}
	}
}

// fuzzOutputs returns outputs that together use all of the code that works on pixels.
func fuzzOutputs(f *testing.F) []*transform.Output {
	var outputs []*transform.Output
	for i, resize := range transform.Resizes() {
		for j, fit := range transform.Fits() {
			o := newOutput(f, "none", func(s *transform.Spec) {
				s.Width, s.Height = 33, 20
				s.Resize, s.Fit = resize, fit
				computed(s)
				s.Color = transform.Colors()[(i+j)%3]
				setDType(s, transform.DTypes()[(i+j/2)%len(transform.DTypes())])
				s.Layout = transform.Layouts()[(i/2+j)%2]
				setTorch(s, j)
			})
			o.Name = string(resize) + " " + string(fit)
			outputs = append(outputs, o)
		}
	}
	return outputs
}

// setDType sets the type of the elements, and for int8 the quantization that it needs.
func setDType(s *transform.Spec, d transform.DType) {
	s.DType, s.QuantScale = d, 0
	if d == transform.Int8 {
		s.QuantScale = 1.0 / 64
	}
}

// computed gives a spec whose size follows from the picture what its fit needs in its place.
func computed(s *transform.Spec) {
	switch s.Fit {
	case transform.LongSide:
		s.ResizeTo, s.Width, s.Height, s.MultipleOf = image.Pt(s.Width, s.Height), 0, 0, 14
	case transform.SmartResize:
		s.MinPixels, s.MaxPixels, s.Width, s.Height, s.MultipleOf = 50, max(s.Width*s.Height, 14*14), 0, 0, 14
	}
}

// FuzzCoefficients compares the ways from a JPEG of random coefficients to tensors: of any
// sampling and size, with restart markers, with numbers so large that libjpeg has to decide,
// and sometimes with a broken byte.
func FuzzCoefficients(f *testing.F) {
	for i := range uint64(40) {
		f.Add(i, uint16(0))
		f.Add(i, uint16(i*1973))
	}
	d := newDecoders(f, fuzzLimits)
	f.Fuzz(func(t *testing.T, seed uint64, broken uint16) {
		rng := rand.New(rand.NewPCG(seed, 31))
		data := randomCoded(rng, samplings[rng.IntN(len(samplings))], 1+rng.IntN(200))
		if broken > 0 {
			data[2+int(broken)%(len(data)-2)] ^= 1 << (broken % 8)
		} else {
			decodeBoth(t, d.rows, data, 1+rng.IntN(8))
		}
		d.compare(t, data, randomOutputs(rng, 150)...)
	})
}
