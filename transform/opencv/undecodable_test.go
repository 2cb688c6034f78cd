package opencv

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"slices"
	"testing"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// decodeReason decodes data and returns why it is undecodable, or "" where it is
// not. Every other error fails the test.
func decodeReason(t testing.TB, w *Worker, data []byte) transform.Reason {
	t.Helper()
	err := w.Decode(source.Frame{Data: data}, nil, nil)
	var d *transform.DecodeError
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &d):
		t.Fatalf("%v is not a DecodeError", err)
	case d.Err == nil || d.Err.Error() == "":
		t.Fatalf("%v does not say why", err)
	}
	return d.Reason
}

// withJPEGSize returns a JPEG that claims another size.
func withJPEGSize(t *testing.T, data []byte, width, height uint16) []byte {
	t.Helper()
	i := bytes.Index(data, []byte{0xff, 0xc0, 0, 17, 8})
	if i < 0 {
		t.Fatal("no frame header")
	}
	data = slices.Clone(data)
	binary.BigEndian.PutUint16(data[i+5:], height)
	binary.BigEndian.PutUint16(data[i+7:], width)
	return data
}

func TestUndecodable(t *testing.T) {
	whole := readPicture(t, "420.jpg")
	tests := []struct {
		name string
		data []byte
		want transform.Reason
	}{
		{"nil", nil, transform.ReasonEmpty},
		{"no bytes", []byte{}, transform.ReasonEmpty},
		{"text", []byte("<html>503</html>"), transform.ReasonFormat},
		{"one byte", []byte("x"), transform.ReasonFormat},
		{"zeros", make([]byte, 1000), transform.ReasonFormat},
		{"GIF", []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), transform.ReasonFormat},
		{"BMP", []byte("BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00"), transform.ReasonFormat},
		{"TIFF", []byte("II*\x00\x08\x00\x00\x00"), transform.ReasonFormat},
		{"EXR", []byte("\x76\x2f\x31\x01"), transform.ReasonFormat},
		{"JPEG 2000", []byte("\x00\x00\x00\x0cjP  \r\n\x87\n"), transform.ReasonFormat},
		{"start of JPEG", []byte("\xff\xd8"), transform.ReasonTruncated},
		{"start of PNG", []byte("\x89PN"), transform.ReasonTruncated},
		{"JPEG without anything", []byte("\xff\xd8\xff\xd9"), transform.ReasonTruncated},
		{"JPEG of zeros", append([]byte("\xff\xd8\xff"), make([]byte, 500)...), transform.ReasonTruncated},
		{"JPEG of 65500x65500", withJPEGSize(t, whole, 65500, 65500), transform.ReasonSize},
		{"JPEG of 3841x1", withJPEGSize(t, whole, 3841, 1), transform.ReasonSize},
		{"JPEG of 1x2161", withJPEGSize(t, whole, 1, 2161), transform.ReasonSize},
		{"JPEG of 0x0", withJPEGSize(t, whole, 0, 0), transform.ReasonCorrupt},
		{"PNG of 65500x65500", pngWith(65500, 65500, 8, 2, 0, nil), transform.ReasonSize},
		{"PNG of 4 billion", pngWith(1<<32-1, 1, 8, 2, 0, nil), transform.ReasonSize},
		{"PNG of 0x5", pngWith(0, 5, 8, 2, 0, nil), transform.ReasonSize},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWorker(Options{})
			defer w.Close()
			if size, work := w.meter.Measure(source.Frame{Data: tt.data}, nil, nil); size != (image.Point{}) || work != 0 {
				t.Errorf("measured as %v, with %d bytes", size, work)
			}
			if got := decodeReason(t, w, tt.data); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if w.pixels.cap > 0 {
				t.Errorf("%d bytes were allocated", w.pixels.cap)
			}
		})
	}
}

// TestTruncated cuts pictures of each kind after every byte.
func TestTruncated(t *testing.T) {
	names := []string{
		"exif-1.jpg", "gray.jpg", "progressive.jpg", "restart.jpg", "cmyk.jpg", "422.jpg",
		"rgb.png", "palette.png", "bits.png", "gray16.png", "interlaced.png",
	}
	w := NewWorker(Options{})
	defer w.Close()
	for _, name := range names {
		data := readPicture(t, name)
		for n := 1; n < len(data); n++ {
			// The slice is a copy, so that a sanitizer sees a read beyond its end. Whole
			// pictures in between show that a broken one leaves nothing behind.
			err := w.Decode(source.Frame{Data: slices.Clone(data[:n])}, nil, nil)
			var d *transform.DecodeError
			if !errors.As(err, &d) || d.Reason != transform.ReasonTruncated {
				t.Fatalf("%s: the first %d of %d bytes: %v", name, n, len(data), err)
			}
			if n%8 != 0 {
				continue
			}
			if got := decodeReason(t, w, data); got != "" {
				t.Fatalf("%s: the whole of it, after its first %d bytes: %q", name, n, got)
			}
		}
	}
}

// The markers of tables.
const (
	defineHuffman      = 0xc4
	defineQuantization = 0xdb
)

// without returns a JPEG without the segments of a kind before its first scan, except for
// the first few.
func without(t *testing.T, data []byte, marker byte, but int) []byte {
	t.Helper()
	kept := slices.Clone(data[:2])
	for rest := data[2:]; ; {
		n := 2 + int(binary.BigEndian.Uint16(rest[2:]))
		switch {
		case rest[1] == startOfScan:
			if kept = append(kept, rest...); len(kept) == len(data) {
				t.Fatalf("no segment %x", marker)
			}
			return kept
		case rest[1] != marker || but > 0:
			if rest[1] == marker {
				but--
			}
			kept = append(kept, rest[:n]...)
		}
		rest = rest[n:]
	}
}

// TestMissingTables: a JPEG without quantization is refused, and one without Huffman tables
// has those of the standard, whatever picture came before it, and however it is decoded.
func TestMissingTables(t *testing.T) {
	outs := map[string]*transform.Output{
		"rows": newOutput(t, "yolo", nil),
		"fast": newOutput(t, "imagenet", func(s *transform.Spec) { s.Decode = transform.DecodeFast }),
		"gray": newOutput(t, "yolo", func(s *transform.Spec) { s.Color = transform.Gray }),
	}
	for _, name := range []string{"large.jpg", "420.jpg", "444.jpg", "gray.jpg", "cmyk.jpg", "progressive.jpg"} {
		full, other := readPicture(t, name), flatJPEG(64, 3, true)
		stripped := map[string][]byte{
			"quantization": without(t, full, defineQuantization, 0),
			"Huffman":      without(t, full, defineHuffman, 0),
		}
		if name != "gray.jpg" && name != "cmyk.jpg" {
			stripped["the second quantization"] = without(t, full, defineQuantization, 1)
		}
		for table, stripped := range stripped {
			for way, o := range outs {
				for _, before := range [][]byte{nil, full, other} {
					checkMissing(t, name+" without "+table+", "+way, stripped, before, full, o, table == "Huffman" && name != "progressive.jpg")
				}
			}
		}
	}
}

// checkMissing decodes a picture that lacks tables, after another one. If it is accepted it
// has to have the pixels of the full one.
func checkMissing(t *testing.T, name string, stripped, before, full []byte, o *transform.Output, accepted bool) {
	t.Helper()
	w := NewWorker(Options{})
	defer w.Close()
	outs := []*transform.Output{o}
	if before != nil {
		if err := w.Decode(source.Frame{Data: before}, nil, outs); err != nil {
			t.Fatal(err)
		}
	}
	if accepted {
		got, want := makeTensor(t, w, stripped, o.Spec), makeTensor(t, w, full, o.Spec)
		if !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%s: other pixels", name)
		}
		return
	}
	var d *transform.DecodeError
	if err := w.Decode(source.Frame{Data: stripped}, nil, outs); !errors.As(err, &d) || d.Reason != transform.ReasonCorrupt {
		t.Errorf("%s: %v", name, err)
	}
}

// TestFlippedPNG flips a bit of every byte, which the checksums show.
func TestFlippedPNG(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	for _, name := range []string{"rgb.png", "palette.png", "interlaced.png"} {
		data := readPicture(t, name)
		for i := range data {
			data[i] ^= 1 << (i % 8)
			if decodeReason(t, w, data) == "" {
				t.Fatalf("%s with a flipped bit in byte %d is accepted", name, i)
			}
			data[i] ^= 1 << (i % 8)
		}
	}
}

// TestFlippedJPEG flips bits, which a JPEG often cannot show: if it is accepted, a tensor
// can be made of it.
func TestFlippedJPEG(t *testing.T) {
	w := NewWorker(Options{MaxWidth: 512, MaxHeight: 512})
	defer w.Close()
	s, err := transform.Preset("yolo")
	if err != nil {
		t.Fatal(err)
	}
	s.Width, s.Height = 64, 64
	accepted := 0
	for _, name := range []string{"exif-1.jpg", "progressive.jpg", "restart.jpg", "cmyk.jpg"} {
		data := readPicture(t, name)
		for i := range data {
			data[i] ^= 1 << (i % 8)
			if decodeReason(t, w, data) == "" {
				accepted++
				if _, err := w.Tensor(&transform.Output{Spec: s}); err != nil {
					t.Fatalf("%s with a flipped bit in byte %d: %v", name, i, err)
				}
			}
			data[i] ^= 1 << (i % 8)
		}
	}
	if accepted == 0 {
		t.Error("no flip was accepted: the test tests nothing")
	}
}

// pngWith returns a PNG of a header and compressed rows.
func pngWith(width, height uint32, depth, color, interlace byte, rows []byte) []byte {
	header := binary.BigEndian.AppendUint32(nil, width)
	header = binary.BigEndian.AppendUint32(header, height)
	header = append(header, depth, color, 0, 0, interlace)
	return pngOf(pngChunk("IHDR", header), pngChunk("IDAT", deflate(rows)), pngChunk("IEND", nil))
}

func pngOf(chunks ...[]byte) []byte { return slices.Concat(pngMagic, slices.Concat(chunks...)) }

func pngChunk(name string, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, name...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

func deflate(data []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(data) // to memory
	_ = z.Close()
	return b.Bytes()
}

// TestLyingPNG makes PNGs whose checksums are right and whose content is not.
func TestLyingPNG(t *testing.T) {
	rows := make([]byte, 4*(1+3*5)) // 5x4 RGB
	header := func(fields string) []byte { return pngChunk("IHDR", []byte(fields)) }
	const good = "\x00\x00\x00\x05\x00\x00\x00\x04\x08\x02\x00\x00\x00"
	idat, iend := pngChunk("IDAT", deflate(rows)), pngChunk("IEND", nil)
	packed := deflate(rows)
	broken := slices.Clone(packed)
	broken[len(broken)-1] ^= 1
	filter := slices.Clone(rows)
	filter[16] = 5
	tests := []struct {
		name string
		data []byte
		want transform.Reason
	}{
		{"sound", pngOf(header(good), idat, iend), ""},
		{"sound, in two chunks", pngOf(header(good), pngChunk("IDAT", packed[:5]), pngChunk("IDAT", packed[5:]), iend), ""},
		{"sound, with a comment", pngOf(header(good), pngChunk("tEXt", []byte("a\x00b")), idat, pngChunk("tIME", nil), iend), ""},
		{"sound, more behind it", append(pngOf(header(good), idat, iend), "more"...), ""},
		{"a row too few", pngWith(5, 4, 8, 2, 0, rows[:48]), transform.ReasonTruncated},
		{"a byte too few", pngWith(5, 4, 8, 2, 0, rows[:63]), transform.ReasonTruncated},
		{"a byte too many", pngWith(5, 4, 8, 2, 0, append(rows, 0)), transform.ReasonCorrupt},
		{"interlaced, wrong length", pngWith(5, 4, 8, 2, 1, rows), transform.ReasonTruncated},
		{"unknown filter", pngWith(5, 4, 8, 2, 0, filter), transform.ReasonCorrupt},
		{"wrong sum of the rows", pngOf(header(good), pngChunk("IDAT", broken), iend), transform.ReasonCorrupt},
		{"no sum of the rows", pngOf(header(good), pngChunk("IDAT", packed[:len(packed)-4]), iend), transform.ReasonTruncated},
		{"bytes behind the rows", pngOf(header(good), pngChunk("IDAT", append(packed, 7)), iend), transform.ReasonCorrupt},
		{"no rows", pngOf(header(good), iend), transform.ReasonTruncated},
		{"empty rows", pngOf(header(good), pngChunk("IDAT", nil), iend), transform.ReasonTruncated},
		{"rows in two places", pngOf(header(good), idat, pngChunk("tEXt", nil), idat, iend), transform.ReasonCorrupt},
		{"no header", pngOf(idat, iend), transform.ReasonCorrupt},
		{"two headers", pngOf(header(good), header(good), idat, iend), transform.ReasonCorrupt},
		{"long header", pngOf(pngChunk("IHDR", []byte(good+"x")), idat, iend), transform.ReasonCorrupt},
		{"no end", pngOf(header(good), idat), transform.ReasonTruncated},
		{"unknown critical chunk", pngOf(header(good), pngChunk("CgBI", nil), idat, iend), transform.ReasonCorrupt},
		{"3 bits", pngWith(5, 4, 3, 2, 0, rows), transform.ReasonCorrupt},
		{"color 1", pngWith(5, 4, 8, 1, 0, rows), transform.ReasonCorrupt},
		{"interlacing 2", pngWith(5, 4, 8, 2, 2, rows), transform.ReasonCorrupt},
		{"no palette", pngWith(5, 4, 8, 3, 0, make([]byte, 24)), transform.ReasonCorrupt},
		{"bad palette", pngOf(header(good), pngChunk("PLTE", []byte("ab")), idat, iend), transform.ReasonCorrupt},
	}
	w := NewWorker(Options{})
	defer w.Close()
	for _, tt := range tests {
		if got := decodeReason(t, w, tt.data); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestUnnamedSubsampling decodes a JPEG with 3x1 subsampling, which few encoders use and
// for which TurboJPEG has no name.
func TestUnnamedSubsampling(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 24, 8))
	for i := range m.Pix {
		m.Pix[i] = 128
	}
	m.SetRGBA(0, 0, color.RGBA{128, 128, 128, 255})
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	data := b.Bytes()
	frame := bytes.Index(data, []byte{0xff, 0xc0, 0, 17})
	data[frame+11] = 0x31
	scan := bytes.Index(data, []byte{0xff, 0xda, 0, 12})
	data[scan+8], data[scan+10] = 0, 0 // all with the tables of the luma
	// Five blocks of "same mean (00), nothing else (1010)".
	data = append(data[:scan+14], 0x28, 0xa2, 0x8a, 0x2b, 0xff, 0xd9)

	s, err := transform.Preset("raw")
	if err != nil {
		t.Fatal(err)
	}
	w := NewWorker(Options{})
	defer w.Close()
	tensor := makeTensor(t, w, data, s)
	if want := bytes.Repeat([]byte{128}, 24*8*3); !bytes.Equal(tensor.Data, want) {
		t.Errorf("%v of %v", tensor.Data[:12], tensor.Shape)
	}
}

func TestUnfit(t *testing.T) {
	s, err := transform.Preset("yolo")
	if err != nil {
		t.Fatal(err)
	}
	s.ROI = transform.ROI{X: 5000, Y: 0, W: 10, H: 10}
	o := &transform.Output{Spec: s}
	w := NewWorker(Options{})
	defer w.Close()
	if err := w.Decode(source.Frame{Data: readPicture(t, "420.jpg")}, nil, []*transform.Output{o}); err != nil {
		t.Fatal(err)
	}
	_, err = w.Tensor(o)
	var d *transform.DecodeError
	if !errors.As(err, &d) || d.Reason != transform.ReasonUnfit {
		t.Errorf("%v", err)
	}
}
