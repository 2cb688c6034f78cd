package opencv

import (
	"bytes"
	"image"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// TestRowDecoderIsOn fails where the row decoder turns itself off: because libjpeg or OpenCV
// make other pixels than those that our code was written after, most likely.
func TestRowDecoderIsOn(t *testing.T) {
	if err := CheckRowDecoder(); err != nil {
		t.Error(err)
	}
	on, off := NewWorker(Options{}), NewWorker(Options{NoRowDecoder: true})
	defer on.Close()
	defer off.Close()
	if !on.meter.rows || on.own == nil {
		t.Error("off by default")
	}
	if off.meter.rows || off.own != nil {
		t.Error("on although it is turned off")
	}
}

// TestUnknownPictures: where our own decoder cannot decode a known picture, it is not used.
func TestUnknownPictures(t *testing.T) {
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"progressive":  {readPicture(t, "progressive.jpg"), "not decoded by our own decoder at 1/8"},
		"CMYK":         {readPicture(t, "cmyk.jpg"), "not decoded by our own decoder at 1/8"},
		"broken":       {known420[:200], "Premature end"},
		"broken later": {known420[:2000], "Premature end"},
	} {
		w := new(Worker)
		err := w.findDecoder(&kernels()[0], known444, tt.data)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "libjpeg-turbo ") {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if w.own != nil {
			t.Errorf("%s: it is used", name)
		}
		w.Close()
	}
}

// decodeBoth decodes a JPEG at n/8 with libjpeg and with our own decoder, by each table of
// kernels, and tells whether our own has made the pixels.
func decodeBoth(t testing.TB, w *Worker, data []byte, n int) (own bool) {
	t.Helper()
	h, err := readJPEGHeader(data)
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.pixels.picture(scaled(h.size, n), h.channels)
	if err != nil {
		t.Fatal(err)
	}
	job := w.wholeJPEG(h, n, v)
	job.own = nil
	if err := w.runJPEG(&job, data); err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(v.bytes())
	for i := range kernels() {
		clear(v.bytes())
		job.own = &kernels()[i]
		if err := w.runJPEG(&job, data); err != nil {
			t.Fatal(err)
		}
		if got := v.bytes(); !bytes.Equal(got, want) {
			at := 0
			for got[at] == want[at] {
				at++
			}
			t.Fatalf("%v at %d/8 with kernel %d: byte %d of row %d is %d, and by libjpeg %d", h.size, n, i, at%v.stride, at/v.stride, got[at], want[at])
		}
		own = job.used != 0
	}
	return own
}

// TestOwnDecoder compares our own decoder with libjpeg, for pictures of random sizes,
// sampling and coefficients, at every scale.
func TestOwnDecoder(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	rng := rand.New(rand.NewPCG(21, 22))
	refused := 0
	for i, s := range samplings {
		own, all := 0, 0
		for range 60 {
			data := randomCoded(rng, s, 8<<rng.IntN(6))
			for n := 1; n <= 8; n++ {
				if decodeBoth(t, w, data, n) {
					own++
				}
				all++
			}
		}
		if known := i < len(samplings)-1; known && own < all*3/4 || !known && own > 0 {
			t.Errorf("%v: %d of %d pictures were made by our own decoder", s, own, all)
		} else if known {
			refused += all - own
		}
	}
	if refused == 0 {
		t.Error("no coefficients were too large")
	}
}

// TestUsesOwn: pictures of known kinds are decoded by our own decoder, and no others.
func TestUsesOwn(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	for name, want := range map[string]bool{
		"420.jpg": true, "restart.jpg": true, "422.jpg": true, "440.jpg": true, "444.jpg": true, "gray.jpg": true, "pixel.jpg": true,
		"cmyk.jpg": false, "progressive.jpg": false,
	} {
		if got := decodeBoth(t, w, readPicture(t, name), 8); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, name := range []string{"420.jpg", "gray.jpg", "large.jpg"} { // as in MJPEG
		if !decodeBoth(t, w, without(t, readPicture(t, name), defineHuffman, 0), 8) {
			t.Errorf("%s without Huffman tables is not decoded by our own decoder", name)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		if !decodeBoth(t, w, noise(t, rng, image.Pt(1+rng.IntN(99), 1+rng.IntN(99))), 1+rng.IntN(8)) {
			t.Error("noise is not decoded by our own decoder")
		}
	}
}

// TestTablesAreKept: Huffman tables are made again only for a picture that has others, and one
// worker decodes pictures of several tables in turns.
func TestTablesAreKept(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	same := readPicture(t, "420.jpg")
	other, err := os.ReadFile("testdata/footage.jpg") // with tables of its own
	if err != nil {
		t.Fatal(err)
	}
	decode := func(data []byte) {
		t.Helper()
		if !decodeBoth(t, w, data, 8) {
			t.Fatal("it is not decoded by our own decoder")
		}
	}
	decode(same)
	// No code is all ones, so this entry of the first look-up for DC is of no use.
	unused := &unsafe.Slice((*uint64)(w.huffman.p), 1<<11)[1<<11-1]
	*unused = 1
	decode(same)
	if *unused != 1 {
		t.Error("the same tables were made again")
	}
	decode(other)
	if *unused != 0 {
		t.Error("other tables were not made")
	}
	for range 3 {
		decode(same)
		decode(other)
	}
}
