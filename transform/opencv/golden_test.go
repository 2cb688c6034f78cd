package opencv

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A goldenCase is an entry of testdata/cases.json; testdata/golden.py writes it.
type goldenCase struct {
	Name    string
	Picture string
	Output  goldenOutput
	// Match is how far elements may differ (0: not at all), and for how many of
	// them (0: for all).
	Match struct{ Max, Share float64 }
}

// A goldenOutput holds the keys of an output as in the config file.
type goldenOutput struct {
	Preset, Size, Fit, Resize, Color, DType, Layout, ROI string
	Pad                                                  *uint8
	Antialias                                            *bool
	ResizeDType                                          string `json:"resize_dtype"`
}

// spec returns the output's spec.
func (o goldenOutput) spec(t *testing.T) transform.Spec {
	t.Helper()
	s, err := transform.Preset(o.Preset)
	if err != nil {
		t.Fatal(err)
	}
	if o.Size != "" {
		if s.Width, s.Height, err = transform.ParseSize(o.Size); err != nil {
			t.Fatal(err)
		}
	}
	if s.ROI, err = transform.ParseROI(o.ROI); err != nil {
		t.Fatal(err)
	}
	if o.Pad != nil {
		s.Pad = *o.Pad
	}
	override(&s.Fit, o.Fit)
	override(&s.Resize, o.Resize)
	override(&s.Color, o.Color)
	override(&s.DType, o.DType)
	override(&s.ResizeDType, o.ResizeDType)
	s.NoAntialias = s.NoAntialias || o.Antialias != nil && !*o.Antialias
	override(&s.Layout, o.Layout)
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s
}

func override[T ~string](field *T, value string) {
	if value != "" {
		*field = T(value)
	}
}

// TestGolden compares every tensor with the one that the reference libraries
// make: with the row decoder, and without, which has to make the same bytes.
func TestGolden(t *testing.T) {
	d := newDecoders(t, Options{})
	expected := readNPZ(t, "testdata/expected.npz")
	for _, c := range readCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			want, ok := expected[c.Name]
			if !ok {
				t.Fatal("expected.npz does not hold it")
			}
			got := makeTensor(t, d.rows, readPicture(t, c.Picture), c.Output.spec(t))
			if diff := cmp.Diff(want.shape, got.Shape); diff != "" {
				t.Fatalf("shape (-want +got):\n%s", diff)
			}
			compare(t, c, want, got)
			for _, fused := range []bool{true, d.rows.meter.fused} {
				d.plain.meter.fused = fused
				plain := makeTensor(t, d.plain, readPicture(t, c.Picture), c.Output.spec(t))
				if !bytes.Equal(got.Data, plain.Data) {
					t.Errorf("another tensor without the row decoder, with floats of OpenCV that are fused: %v", fused)
				}
			}
		})
	}
}

// TestFloat16 compares the conversion with NumPy's.
func TestFloat16(t *testing.T) {
	expected := readNPZ(t, "testdata/expected.npz")
	in, out := expected["halves/in"], expected["halves/out"]
	for i := range in.shape[0] {
		bits := binary.LittleEndian.Uint32(in.data[4*i:])
		want := binary.LittleEndian.Uint16(out.data[2*i:])
		got := uint16((&transform.Spec{DType: transform.Float16}).Element(float64(math.Float32frombits(bits))))
		nan := func(h uint16) bool { return h&0x7c00 == 0x7c00 && h&0x3ff != 0 }
		if got != want && (!nan(got) || !nan(want)) {
			t.Errorf("%#08x becomes %#04x, want %#04x", bits, got, want)
		}
	}
}

// compare reports how a tensor differs from the expected one, if by more than the
// case allows.
func compare(t *testing.T, c goldenCase, want array, got *transform.Tensor) {
	t.Helper()
	w, g := want.elements(t), array{descr: want.descr, data: got.Data}.elements(t)
	if len(w) != len(g) {
		t.Fatalf("%d elements, want %d", len(g), len(w))
	}
	var largest float64
	count, first := 0, -1
	for i := range w {
		d := math.Abs(w[i] - g[i])
		if d == 0 {
			continue
		}
		largest = max(largest, d)
		count++
		if first < 0 {
			first = i
		}
	}
	share := float64(count) / float64(len(w))
	if largest > c.Match.Max || (c.Match.Share > 0 && share > c.Match.Share) {
		t.Errorf("differs by up to %g (allowed %g) in %.4f%% of the elements (allowed %g%%, 0 for all), first in %d: %g, want %g",
			largest, c.Match.Max, 100*share, 100*c.Match.Share, first, g[first], w[first])
	}
}

// makeTensor makes one tensor of an encoded picture.
func makeTensor(t testing.TB, w *Worker, data []byte, s transform.Spec) *transform.Tensor {
	t.Helper()
	o := &transform.Output{Name: "test", Spec: s}
	if err := w.Decode(source.Frame{Data: data}, nil, []*transform.Output{o}); err != nil {
		t.Fatal(err)
	}
	tensor, err := w.Tensor(o)
	if err != nil {
		t.Fatal(err)
	}
	return tensor
}

// readPicture returns the bytes of a picture of the golden vectors.
func readPicture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "pictures", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// readBroken returns the bytes of a picture that was once decoded wrongly, or of the sound
// one that it was made of.
func readBroken(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "broken", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// readCases reads testdata/cases.json.
func readCases(t *testing.T) []goldenCase {
	t.Helper()
	text, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []goldenCase
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// An array is one of NumPy's.
type array struct {
	descr string // "|u1", "<f2", "<f4"
	shape []int
	data  []byte
}

// elements returns the array's elements.
func (a array) elements(t *testing.T) []float64 {
	t.Helper()
	var v []float64
	switch a.descr {
	case "|u1":
		for _, b := range a.data {
			v = append(v, float64(b))
		}
	case "<f2": // compared by their bits
		for i := 0; i < len(a.data); i += 2 {
			v = append(v, float64(binary.LittleEndian.Uint16(a.data[i:])))
		}
	case "<f4":
		return floats32(a.data)
	default:
		t.Fatalf("unknown type %q", a.descr)
	}
	return v
}

// floats32 returns the numbers of a float32 tensor's data.
func floats32(data []byte) []float64 {
	v := make([]float64, len(data)/4)
	for i := range v {
		v[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
	}
	return v
}

// readNPZ reads NumPy's archive of arrays.
func readNPZ(t *testing.T, name string) map[string]array {
	t.Helper()
	z, err := zip.OpenReader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	arrays := map[string]array{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseNPY(data)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		arrays[strings.ReplaceAll(strings.TrimSuffix(f.Name, ".npy"), ":", "/")] = a
	}
	return arrays
}

// parseNPY reads a .npy file of version 1.
func parseNPY(data []byte) (array, error) {
	if len(data) < 10 || string(data[:7]) != "\x93NUMPY\x01" {
		return array{}, fmt.Errorf("not a .npy file of version 1")
	}
	end := 10 + int(binary.LittleEndian.Uint16(data[8:]))
	header := string(data[10:end])
	_, rest, _ := strings.Cut(header, "'descr': '")
	descr, rest, _ := strings.Cut(rest, "'")
	_, rest, _ = strings.Cut(rest, "'shape': (")
	numbers, _, _ := strings.Cut(rest, ")")
	a := array{descr: descr, data: data[end:]}
	for n := range strings.SplitSeq(strings.TrimSuffix(numbers, ","), ",") {
		v, err := strconv.Atoi(strings.TrimSpace(n))
		if err != nil {
			return array{}, err
		}
		a.shape = append(a.shape, v)
	}
	return a, nil
}
