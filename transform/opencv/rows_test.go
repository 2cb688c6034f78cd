package opencv

import (
	"bytes"
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

// decoders are workers that decode JPEGs in different ways.
type decoders struct{ rows, whole, plain *Worker }

// newDecoders returns a worker with the row decoder, which has to work here, one that makes
// the whole picture first, and one without the row decoder.
func newDecoders(t testing.TB, o Options) decoders {
	t.Helper()
	if err := CheckRowDecoder(); err != nil {
		t.Fatal(err)
	}
	d := decoders{rows: NewWorker(o), whole: NewWorker(o)}
	d.whole.meter.rows = false
	o.NoRowDecoder = true
	d.plain = NewWorker(o)
	t.Cleanup(func() {
		d.rows.Close()
		d.whole.Close()
		d.plain.Close()
	})
	return d
}

// compare makes the outputs' tensors of the data in three ways: row by row; from the whole
// picture, but still with our Huffman decoder and inverse DCT; and with nothing but the
// public functions of libjpeg and OpenCV. It fails the test where tensors or errors differ,
// and returns whether they were made row by row.
func (d decoders) compare(t testing.TB, data []byte, outs ...*transform.Output) bool {
	t.Helper()
	rows := results(d.rows, data, outs)
	fromRows := len(d.rows.picture.resized) > 0
	whole, plain := results(d.whole, data, outs), results(d.plain, data, outs)
	if len(d.whole.picture.resized)+len(d.plain.picture.resized) > 0 {
		t.Fatal("a tensor was made from rows without the row decoder")
	}
	for i, want := range plain {
		if rows[i].err != want.err || whole[i].err != want.err {
			t.Fatalf("%+v: from rows: %q, from the whole picture: %q, by libjpeg alone: %q", outs[i].Spec, rows[i].err, whole[i].err, want.err)
		}
		if !bytes.Equal(rows[i].data, want.data) || !bytes.Equal(whole[i].data, want.data) {
			t.Fatalf("%+v: the tensors differ", outs[i].Spec)
		}
	}
	return fromRows
}

// A result is what became of an output: the tensor's data, or an error.
type result struct {
	data []byte
	err  string
}

// results makes the outputs' tensors of the data.
func results(w *Worker, data []byte, outs []*transform.Output) []result {
	return seen(w, data, nil, outs)
}

// seen makes the outputs' tensors of the data of a camera.
func seen(w *Worker, data []byte, c *transform.Camera, outs []*transform.Output) []result {
	all := make([]result, len(outs))
	err := w.Decode(source.Frame{Data: data}, c, outs)
	for i, o := range outs {
		var tensor *transform.Tensor
		if err == nil {
			tensor, err = w.Tensor(o)
		}
		if err != nil {
			all[i].err = err.Error()
			continue
		}
		all[i].data = bytes.Clone(tensor.Data)
		tensor.Release()
	}
	return all
}

// randomOutput returns an output of a random preset, of which anything may be changed: all ways
// to resize, colors, types, layouts, and parts of the picture. It is one that is valid.
func randomOutput(rng *rand.Rand, side int) *transform.Output {
	for {
		if s := randomSpec(rng, side); s.Validate() == nil {
			return &transform.Output{Name: "rows", Spec: s}
		}
	}
}

func randomSpec(rng *rand.Rand, side int) transform.Spec {
	s, err := transform.Preset(pick(rng, transform.PresetNames()))
	if err != nil {
		panic(err)
	}
	s.Width, s.Height, s.Pad = 1+rng.IntN(side), 1+rng.IntN(side), uint8(rng.Uint32())
	s.Decode = pick(rng, transform.DecodeModes())
	if rng.IntN(4) > 0 {
		s.Fit, s.Resize, s.Color = pick(rng, transform.Fits()), pick(rng, transform.Resizes()), pick(rng, transform.Colors())
	}
	if rng.IntN(2) == 0 {
		s.Layout = pick(rng, transform.Layouts())
		setDType(&s, pick(rng, transform.DTypes()))
	}
	setTorch(&s, rng.IntN(4))
	if rng.IntN(10) == 0 {
		s.Width, s.Height = 0, 0
	}
	if rng.IntN(3) == 0 {
		x, y := rng.Float64()*0.9, rng.Float64()*0.9
		s.ROI = transform.ROI{X: x, Y: y, W: (1 - x) * rng.Float64(), H: (1 - y) * rng.Float64(), Fraction: true}
	}
	switch rng.IntN(10) {
	case 0:
		s.Tiles = transform.Tiles{Grid: image.Pt(1+rng.IntN(3), 1+rng.IntN(3)), Overlap: rng.Float64() / 2}
	case 1:
		s.Tiles = transform.Tiles{Size: image.Pt(20+rng.IntN(side), 20+rng.IntN(side)), Overlap: rng.Float64() / 2}
	}
	if s.ResizeTo != (image.Point{}) {
		s.ResizeTo, s.MaxSide = image.Pt(1+rng.IntN(side), 1+rng.IntN(side)), 0
	}
	return s
}

// setTorch sets one of four ways in which PyTorch resizes, if that resizes at all.
func setTorch(s *transform.Spec, way int) {
	s.NoAntialias, s.ResizeDType = false, ""
	if s.Resize != transform.TorchBilinear && s.Resize != transform.TorchBicubic {
		return
	}
	s.NoAntialias = way%2 == 0
	if way > 1 && !s.Raw() {
		s.ResizeDType = transform.Float32
	}
}

// pick returns one of them.
func pick[T any](rng *rand.Rand, all []T) T { return all[rng.IntN(len(all))] }

// randomOutputs returns up to three.
func randomOutputs(rng *rand.Rand, side int) (outs []*transform.Output) {
	for range 1 + rng.IntN(3) {
		outs = append(outs, randomOutput(rng, side))
	}
	return outs
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

// TestRowsAreAsOpenCV compares the decoders for pictures and outputs of random sizes, some
// of which OpenCV resizes in special ways.
func TestRowsAreAsOpenCV(t *testing.T) {
	d := newDecoders(t, Options{MaxWidth: 8192, MaxHeight: 8192})
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
			o := randomOutput(rng, 700>>(i%4))
			if i < 2 {
				o.Spec.Width, o.Spec.Height, o.Spec.Fit, o.Spec.ROI = to.X, to.Y, transform.Stretch, transform.ROI{}
				o.Spec.ResizeTo = image.Point{}
			}
			if d.compare(t, data, append(randomOutputs(rng, 100), o)...) {
				made++
			}
		}
	}
	if made < 1800 {
		t.Errorf("only %d tensors were made from rows", made)
	}
}

// TestRowsOfEveryPicture compares the decoders for all kinds of pictures.
func TestRowsOfEveryPicture(t *testing.T) {
	files, err := os.ReadDir("testdata/pictures")
	if err != nil {
		t.Fatal(err)
	}
	d := newDecoders(t, Options{})
	for _, file := range files {
		t.Run(file.Name(), func(t *testing.T) {
			data, rng, made := readPicture(t, file.Name()), rand.New(rand.NewPCG(1, 2)), 0
			for range 60 {
				if d.compare(t, data, randomOutputs(rng, 300)...) {
					made++
				}
			}
			if made < 40 {
				t.Errorf("only %d tensors were made from rows", made)
			}
		})
	}
}

// TestRowsOfBrokenPictures compares the decoders for pictures that are cut off, and for
// pictures with a flipped bit.
func TestRowsOfBrokenPictures(t *testing.T) {
	d := newDecoders(t, Options{MaxWidth: 512, MaxHeight: 512})
	rng := rand.New(rand.NewPCG(3, 4))
	for _, name := range []string{"exif-1.jpg", "gray.jpg", "progressive.jpg", "restart.jpg", "422.jpg", "444.jpg"} {
		data := readPicture(t, name)
		o := randomOutput(rng, 100)
		for i := 1; i < len(data); i++ {
			d.compare(t, bytes.Clone(data[:i]), o)
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << rng.IntN(8)
			d.compare(t, flipped, o)
		}
	}
}

// TestBadCode decodes a picture with bits in the middle that are no code of any table.
func TestBadCode(t *testing.T) {
	data := readPicture(t, "large.jpg")
	ones := bytes.Repeat([]byte{0xff, 0}, 6)
	data = slices.Concat(data[:len(data)/2], ones, data[len(data)/2:])
	d := newDecoders(t, Options{})
	yolo := newOutput(t, "yolo", nil)
	d.compare(t, data, yolo)
	var failure *transform.DecodeError
	err := d.rows.Decode(source.Frame{Data: data}, nil, []*transform.Output{yolo})
	if !errors.As(err, &failure) || failure.Reason != transform.ReasonCorrupt || !strings.Contains(err.Error(), "bad Huffman code") {
		t.Error(err)
	}
}

// TestRowsOfAnotherOutput asks for a tensor of another output than the picture was decoded
// for.
func TestRowsOfAnotherOutput(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	yolo := newOutput(t, "yolo", nil)
	if err := w.Decode(source.Frame{Data: readPicture(t, "420.jpg")}, nil, []*transform.Output{yolo}); err != nil {
		t.Fatal(err)
	}
	_, err := w.Tensor(newOutput(t, "imagenet", nil))
	if err == nil || !strings.Contains(fmt.Sprint(err), "other outputs") {
		t.Errorf("%v", err)
	}
	for range 2 {
		if _, err := w.Tensor(yolo); err != nil {
			t.Error(err)
		}
	}
}

// scan is a scan of a progressive JPEG without tables.
type scan struct {
	components  []byte
	first, last byte // coefficients
	high, low   byte // bits: the lowest that was there before, the lowest now
	data        []byte
}

// bytes returns the scan with its header; all components use the tables 0.
func (s scan) bytes() []byte {
	b := []byte{0xff, startOfScan, 0, byte(6 + 2*len(s.components)), byte(len(s.components))}
	for _, c := range s.components {
		b = append(b, c, 0)
	}
	return append(append(b, s.first, s.last, s.high<<4|s.low), s.data...)
}

// progressive returns a JPEG of 16x16 gray pixels, 4:4:4, with the scans. Its only
// Huffman code for DC means "the same as before". Its only one for AC, with 14 bits after
// it, means "nothing in more blocks than there are".
func progressive(scans ...scan) []byte {
	const dc, ac = "\x00", "\xe0"
	oneCode := "\x01" + strings.Repeat("\x00", 15) // of one bit
	jpeg := "\xff\xd8\xff\xdb\x00\x43\x00" + strings.Repeat("\x01", 64) +
		"\xff\xc2\x00\x11\x08\x00\x10\x00\x10\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00" +
		"\xff\xc4\x00\x14\x00" + oneCode + dc + "\xff\xc4\x00\x14\x10" + oneCode + ac
	for _, s := range scans {
		jpeg += string(s.bytes())
	}
	return []byte(jpeg + "\xff\xd9")
}

// dcScan returns a scan for [progressive] of the means of all components: 12 bits for four
// blocks of each, and four that fill the last byte.
func dcScan(high, low byte) scan {
	return scan{components: []byte{1, 2, 3}, high: high, low: low, data: []byte{0, 0x0f}}
}

// acScan returns a scan for [progressive] of other coefficients of one component: a bit
// for the code, 14 for the number of blocks, and one that fills the last byte.
func acScan(component, first, last, high, low byte) scan {
	return scan{[]byte{component}, first, last, high, low, []byte{0, 0x01}}
}

// TestManyScans decodes a JPEG that repeats its first scan over and over.
func TestManyScans(t *testing.T) {
	d := newDecoders(t, Options{})
	o := newOutput(t, "yolo", nil)
	for n, want := range map[int]string{50: "", 51: "more than 50 scans"} {
		scans := slices.Repeat([]scan{dcScan(0, 0)}, n-3)
		for c := range byte(3) {
			scans = append(scans, acScan(c+1, 1, 63, 0, 0))
		}
		data := progressive(scans...)
		if !d.compare(t, data, o) && want == "" {
			t.Errorf("%d scans: no tensor", n)
		}
		if err := d.rows.Decode(source.Frame{Data: data}, nil, []*transform.Output{o}); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%d scans: %v", n, err)
		}
	}
}

// TestMissingScans: a JPEG whose end comes before all of its scans is undecodable.
func TestMissingScans(t *testing.T) {
	all := []scan{
		dcScan(0, 1), acScan(1, 1, 5, 0, 0), acScan(2, 1, 63, 0, 1), acScan(3, 1, 63, 0, 0),
		acScan(1, 6, 63, 0, 0), dcScan(1, 0), acScan(2, 1, 63, 1, 0),
	}
	d := newDecoders(t, Options{})
	o := newOutput(t, "yolo", nil)
	if !d.compare(t, progressive(all...), o) {
		t.Fatal("no tensor of all scans")
	}
	broken := map[string][]byte{"no luma": readBroken(t, "no-luma.jpg")}
	for i := range all {
		broken[fmt.Sprintf("the first %d", i)] = progressive(all[:i]...)
		broken[fmt.Sprintf("without %d", i)] = progressive(slices.Delete(slices.Clone(all), i, i+1)...)
	}
	for name, data := range broken {
		d.compare(t, data, o)
		if got := decodeReason(t, d.rows, data); got == "" {
			t.Errorf("%s: accepted", name)
		}
	}
	if got := decodeReason(t, d.rows, broken["no luma"]); got != transform.ReasonTruncated {
		t.Errorf("no luma: %q", got)
	}
}

// TestLostByte: where a byte is missing between two restart markers, all decoders refuse
// the picture, or all decode the same one.
func TestLostByte(t *testing.T) {
	d := newDecoders(t, Options{})
	o := newOutput(t, "yolo", nil)
	d.compare(t, readBroken(t, "worst.jpg"), o)
	if got := decodeReason(t, d.rows, readBroken(t, "worst.jpg")); got != transform.ReasonCorrupt {
		t.Errorf("worst.jpg: %q", got)
	}
	good := readBroken(t, "worst-good.jpg")
	if !d.compare(t, good, o) {
		t.Error("worst-good.jpg: no tensor")
	}
	rng := rand.New(rand.NewPCG(8, 9))
	for range 300 {
		i := rng.IntN(len(good))
		d.compare(t, slices.Delete(slices.Clone(good), i, i+1), o)
	}
}
