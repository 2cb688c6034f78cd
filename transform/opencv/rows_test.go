package opencv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

const (
	// badCode is what libjpeg's decoder lets pass where it is in a hurry.
	badCode = "bad Huffman code"
	// extraneous are bytes too many before a marker. Either decoder passes over those
	// that it has read ahead, which are not the same for both.
	extraneous = "extraneous bytes"
)

// compareWays makes the output's tensor of the data twice, resized from rows and
// from the whole picture, which the same output a second time asks for: by way of
// huffman.c, idct.c and linear.c, and by libjpeg and OpenCV alone. It fails the test where
// tensors or errors differ, and returns whether there was a tensor from rows.
func compareWays(t testing.TB, w *Worker, data []byte, o *transform.Output) bool {
	t.Helper()
	type result struct {
		data []byte
		err  string
	}
	way := func(outs ...*transform.Output) (r result) {
		w.jpeg.close() // it keeps the tables of the picture before for one that has none
		err := w.Decode(source.Frame{Data: data}, outs)
		if err == nil {
			var tensor *transform.Tensor
			if tensor, err = w.Tensor(o); err == nil {
				r.data = bytes.Clone(tensor.Data)
				tensor.Release()
			}
		}
		if err != nil {
			r.err = err.Error()
		}
		return r
	}
	rows := way(o)
	fromRows := w.picture.resizedFor != nil
	whole := way(o, o)
	if w.picture.resizedFor != nil {
		t.Fatal("two outputs were made from rows")
	}
	if strings.Contains(rows.err, badCode) || strings.Contains(rows.err+whole.err, extraneous) ||
		rows.err != "" && strings.Contains(whole.err, badCode) { // of two faults, another first
		return false
	}
	if rows.err != whole.err {
		t.Fatalf("%+v of rows: %q, of the picture: %q", o.Spec, rows.err, whole.err)
	}
	// Where a byte of 255 is not of a marker and not stuffed either, libjpeg begins an
	// MCU anew, with what it has made of it before left in it.
	if bytes.Contains(data, []byte{0xff, 0xff, 0}) {
		return false
	}
	if !bytes.Equal(rows.data, whole.data) {
		t.Fatalf("%+v: the tensors differ", o.Spec)
	}
	return fromRows
}

// linearOutput returns a random output that can be made from rows.
func linearOutput(rng *rand.Rand, side int) *transform.Output {
	s := transform.Spec{
		Width: 1 + rng.IntN(side), Height: 1 + rng.IntN(side), Fit: transform.Fits()[rng.IntN(4)],
		Resize: transform.OpenCVLinear, Color: transform.RGB, Scale: 1, Std: [3]float64{1, 1, 1},
		DType: transform.Uint8, Layout: transform.NHWC, Decode: transform.DecodeModes()[rng.IntN(2)],
	}
	if rng.IntN(3) == 0 {
		x, y := rng.Float64()*0.9, rng.Float64()*0.9
		s.ROI = transform.ROI{X: x, Y: y, W: (1 - x) * rng.Float64(), H: (1 - y) * rng.Float64(), Fraction: true}
	}
	return &transform.Output{Name: "rows", Spec: s}
}

// noise returns a JPEG of random pixels.
func noise(t testing.TB, rng *rand.Rand, size image.Point) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rectangle{Max: size})
	for i := range m.Pix {
		m.Pix[i] = uint8(rng.Uint32())
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 50 + rng.IntN(50)}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestRowsAreAsOpenCV resizes pictures of random sizes to random sizes, and some to
// those that OpenCV has ways of its own for, as rows come and by OpenCV.
func TestRowsAreAsOpenCV(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	rng := rand.New(rand.NewPCG(7, 7))
	made := 0
	for range 300 {
		to := image.Pt(1+rng.IntN(40), 1+rng.IntN(40))
		size := image.Pt(1+rng.IntN(150), 1+rng.IntN(150))
		switch n := rng.IntN(14); n {
		case 1, 2, 3, 4, 5:
			size = to.Mul(n)
		case 6:
			size = image.Pt(1+rng.IntN(8192), 1+rng.IntN(8))
		case 7:
			size = image.Pt(1+rng.IntN(8), 1+rng.IntN(8192))
		}
		data := noise(t, rng, size)
		for i := range 8 {
			o := linearOutput(rng, 700>>(i%4))
			if i < 2 {
				o.Spec.Width, o.Spec.Height, o.Spec.Fit, o.Spec.ROI = to.X, to.Y, transform.Stretch, transform.ROI{}
			}
			if compareWays(t, w, data, o) {
				made++
			}
		}
	}
	if made < 1800 {
		t.Errorf("only %d tensors were made from rows", made)
	}
}

// TestRowsOfEveryPicture compares the two ways for all kinds of JPEGs.
func TestRowsOfEveryPicture(t *testing.T) {
	files, err := os.ReadDir("testdata/pictures")
	if err != nil {
		t.Fatal(err)
	}
	w := NewWorker(Options{})
	defer w.Close()
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".jpg") {
			continue
		}
		t.Run(file.Name(), func(t *testing.T) {
			data, rng, made := readPicture(t, file.Name()), rand.New(rand.NewPCG(1, 2)), 0
			for range 60 {
				if compareWays(t, w, data, linearOutput(rng, 300)) {
					made++
				}
			}
			if cmyk := strings.HasPrefix(file.Name(), "cmyk"); cmyk != (made == 0) {
				t.Errorf("%d tensors were made from rows", made)
			}
		})
	}
}

// TestRowsOfBrokenPictures compares the two ways for pictures that are cut, and
// that have a bit flipped.
func TestRowsOfBrokenPictures(t *testing.T) {
	w := NewWorker(Options{MaxWidth: 512, MaxHeight: 512})
	defer w.Close()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, name := range []string{"exif-1.jpg", "gray.jpg", "progressive.jpg", "restart.jpg", "422.jpg", "444.jpg"} {
		data := readPicture(t, name)
		o := linearOutput(rng, 100)
		for i := 1; i < len(data); i++ {
			compareWays(t, w, bytes.Clone(data[:i]), o)
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << rng.IntN(8)
			compareWays(t, w, flipped, o)
		}
	}
}

// TestBadCode decodes a picture with bits in its midst that are no code of any table.
func TestBadCode(t *testing.T) {
	data := readPicture(t, "large.jpg")
	ones := bytes.Repeat([]byte{0xff, 0}, 6)
	data = slices.Concat(data[:len(data)/2], ones, data[len(data)/2:])
	w := NewWorker(Options{})
	defer w.Close()
	var failure *transform.DecodeError
	err := w.Decode(source.Frame{Data: data}, []*transform.Output{newOutput(t, "yolo", nil)})
	if !errors.As(err, &failure) || failure.Reason != transform.ReasonCorrupt || !strings.Contains(err.Error(), badCode) {
		t.Error(err)
	}
}

// TestRowsOfAnotherOutput asks for a tensor that the picture was not decoded for.
func TestRowsOfAnotherOutput(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	yolo := newOutput(t, "yolo", nil)
	if err := w.Decode(source.Frame{Data: readPicture(t, "420.jpg")}, []*transform.Output{yolo}); err != nil {
		t.Fatal(err)
	}
	_, err := w.Tensor(newOutput(t, "imagenet", nil))
	if err == nil || !strings.Contains(fmt.Sprint(err), "another output") {
		t.Errorf("%v", err)
	}
	for range 2 {
		if _, err := w.Tensor(yolo); err != nil {
			t.Error(err)
		}
	}
}

// TestManyScans decodes a JPEG that has its first scan over and over.
func TestManyScans(t *testing.T) {
	data := readPicture(t, "progressive.jpg")
	begin := bytes.Index(data, []byte{0xff, 0xda})
	header := 2 + int(binary.BigEndian.Uint16(data[begin+2:]))
	length := header
	for data[begin+length] != 0xff || data[begin+length+1] == 0 {
		length++
	}
	scan := bytes.Clone(data[begin : begin+length])
	scan[header-1] = 0 // the whole mean of each block, for which nothing need come after
	w := NewWorker(Options{})
	defer w.Close()
	o := newOutput(t, "yolo", nil)
	for n, want := range map[int]string{500: "", 501: "more than 500 scans"} {
		data := slices.Concat(data[:begin], bytes.Repeat(scan, n), []byte{0xff, 0xd9})
		if !compareWays(t, w, data, o) && want == "" {
			t.Errorf("%d scans: no tensor", n)
		}
		if err := w.Decode(source.Frame{Data: data}, []*transform.Output{o}); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%d scans: %v", n, err)
		}
	}
}
