package opencv

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cvfeeder/cvfeeder/source"
)

// lumas are a worker that reads DC coefficients itself, and one that has libjpeg do it.
type lumas struct{ own, plain *Worker }

func newLumas(t testing.TB) lumas {
	t.Helper()
	l := lumas{NewWorker(Options{MaxWidth: 8192, MaxHeight: 8192}), NewWorker(Options{MaxWidth: 8192, MaxHeight: 8192, NoRowDecoder: true})}
	t.Cleanup(l.own.Close)
	t.Cleanup(l.plain.Close)
	return l
}

// compare fails where the two see different pictures, and tells whether they see one, and
// whether the first has read it without libjpeg.
func (l lumas) compare(t testing.TB, data []byte) (own, ok bool) {
	t.Helper()
	f := source.Frame{Data: data}
	a, sizeA, errA := l.own.Luma(f, nil)
	b, sizeB, errB := l.plain.Luma(f, nil)
	if (errA == nil) != (errB == nil) || errA != nil && errA.Error() != errB.Error() || sizeA != sizeB {
		t.Fatalf("%v of %v, and by libjpeg alone %v of %v", errA, sizeA, errB, sizeB)
	}
	if errA != nil {
		return l.own.lumaOwn, false
	}
	if a.Rect != b.Rect || !bytes.Equal(a.Pix, b.Pix) {
		t.Fatalf("the means of a picture of %v differ from libjpeg's", sizeA)
	}
	return l.own.lumaOwn, true
}

// TestLumaIsLibjpegs: of all kinds of JPEGs, and of random sizes, the means are those that
// libjpeg decodes at an eighth.
func TestLumaIsLibjpegs(t *testing.T) {
	l := newLumas(t)
	files, err := filepath.Glob("testdata/pictures/*.jpg")
	if err != nil || len(files) < 15 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, ok := l.compare(t, data)
		if odd := filepath.Base(name) == "cmyk.jpg"; ok == odd {
			t.Errorf("%s: read: %v", name, ok)
		}
	}
	rng := rand.New(rand.NewPCG(3, 5))
	read := 0
	for range 200 {
		if own, ok := l.compare(t, noise(t, rng, image.Pt(1+rng.IntN(200), 1+rng.IntN(200)))); own && ok {
			read++
		}
	}
	if read != 200 && CheckRowDecoder() == nil {
		t.Errorf("%d of 200 pictures were read without libjpeg", read)
	}
}

// TestLumaIsTheMean: the means are those of the pixels that were encoded.
func TestLumaIsTheMean(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 37, 21))
	for y := range 21 {
		for x := range 37 {
			m.SetGray(x, y, color.Gray{Y: uint8(x/8*40 + y/8*20)})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	luma, size, err := newLumas(t).own.Luma(source.Frame{Data: b.Bytes()}, nil)
	if err != nil || size != image.Pt(37, 21) || luma.Rect != image.Rect(0, 0, 5, 3) {
		t.Fatal(luma, size, err)
	}
	for y := range 3 {
		for x := range 5 {
			if got, want := int(luma.GrayAt(x, y).Y), x*40+y*20; got < want-2 || got > want+2 {
				t.Errorf("block %d,%d has the mean %d, want %d", x, y, got, want)
			}
		}
	}
}

// TestLumaRefuses: of what is not a whole baseline JPEG with brightness there are no means, and
// the error says why.
func TestLumaRefuses(t *testing.T) {
	l := newLumas(t)
	whole := readPicture(t, "420.jpg")
	for name, data := range map[string][]byte{
		"nothing": nil, "a PNG": readPicture(t, "rgb.png"), "half": whole[:len(whole)/2], "no end": whole[:len(whole)-2], "a header": whole[:100],
	} {
		if _, ok := l.compare(t, data); ok {
			t.Errorf("%s has means", name)
		}
	}
	small := NewWorker(Options{MaxWidth: 8, MaxHeight: 8})
	defer small.Close()
	if _, _, err := small.Luma(source.Frame{Data: whole}, nil); err == nil {
		t.Error("a picture above the limit has means")
	}
}

// FuzzLuma: whatever the data, both ways agree, and what has means when it is read without
// libjpeg can be decoded.
func FuzzLuma(f *testing.F) {
	files, err := filepath.Glob("testdata/pictures/*.jpg")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 20_000 {
			f.Add(data)
		}
	}
	l := lumas{NewWorker(fuzzLimits), NewWorker(Options{MaxWidth: fuzzLimits.MaxWidth, MaxHeight: fuzzLimits.MaxHeight, NoRowDecoder: true})}
	f.Fuzz(func(t *testing.T, data []byte) {
		own, ok := l.compare(t, data)
		if err := l.own.Decode(source.Frame{Data: data}, nil, nil); own && ok && err != nil {
			t.Errorf("it has means, and cannot be decoded: %v", err)
		}
	})
}

func BenchmarkLuma(b *testing.B) {
	data := benchJPEG(b)
	w := NewWorker(Options{})
	defer w.Close()
	for b.Loop() {
		if _, _, err := w.Luma(source.Frame{Data: data}, nil); err != nil {
			b.Fatal(err)
		}
	}
}
