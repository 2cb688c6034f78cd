package scene

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/image/draw"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func newDrawn(t testing.TB, w, h int) *Drawn {
	t.Helper()
	d, err := NewDrawn(image.Pt(w, h))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func drawnJPEG(t testing.TB, d *Drawn, stream string, at time.Time, quality int) image.Image {
	t.Helper()
	data, err := d.encodeJPEG(stream, at, quality)
	if err != nil {
		t.Fatal(err)
	}
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// fitted draws the picture into an image of w x h, where the view says.
func fitted(img image.Image, w, h int, v View) image.Image {
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(out, out.Rect, image.NewUniform(ycc(114, 114, 114)), image.Point{}, draw.Src)
	round := func(f float64) int { return int(math.Round(f)) }
	r := image.Rect(round(v.X), round(v.Y), round(v.X+v.W), round(v.Y+v.H))
	draw.BiLinear.Scale(out, r, img, img.Bounds(), draw.Src, nil)
	return out
}

func TestTimeCodeSurvivesEveryFit(t *testing.T) {
	fits := []struct {
		name string
		w, h int
		view func(w, h float64) View
	}{
		{"letterbox 640", 640, 640, func(w, h float64) View {
			s := 640 / max(w, h)
			return View{(640 - w*s) / 2, (640 - h*s) / 2, w * s, h * s}
		}},
		{"stretch 320", 320, 320, func(float64, float64) View { return View{0, 0, 320, 320} }},
		{"short side 256, crop 224", 224, 224, func(w, h float64) View {
			s := 256 / min(w, h)
			return View{(224 - w*s) / 2, (224 - h*s) / 2, w * s, h * s}
		}},
		{"cover 224", 224, 224, func(w, h float64) View {
			s := 224 / min(w, h)
			return View{(224 - w*s) / 2, (224 - h*s) / 2, w * s, h * s}
		}},
	}
	for i, size := range []image.Point{{1280, 720}, {720, 1280}, {640, 480}, {321, 243}} {
		at := noon.Add(time.Duration(i) * 123_456_789 * time.Millisecond)
		stream := fmt.Sprintf("cam-%d", i)
		want := TimeCode{at, StreamHash(stream)}
		img := drawnJPEG(t, newDrawn(t, size.X, size.Y), stream, at, 80)
		for _, fit := range fits {
			view := fit.view(float64(size.X), float64(size.Y))
			if got, err := ReadTimeCode(fitted(img, fit.w, fit.h, view), view); err != nil || got != want {
				t.Errorf("%v, %s: read %v, %v, want %v", size, fit.name, got, err, want)
			}
		}
	}
}

func TestTimeCodeAtAnyTime(t *testing.T) {
	d := newDrawn(t, 320, 180)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 40 {
		at := time.UnixMilli(random.Int64N(1 << 42)).UTC() // until 2109
		stream := fmt.Sprintf("cam-%d", i)
		img := drawnJPEG(t, d, stream, at, 20)
		if got, err := ReadTimeCode(img, WholeView(img)); err != nil || got != (TimeCode{at, StreamHash(stream)}) {
			t.Errorf("%s at %v: read %v, %v", stream, at, got, err)
		}
	}
}

func TestAffineView(t *testing.T) {
	// 1280x720 letterboxed into 640x640.
	got := AffineView([6]float64{2, 0, 0, 0, 2, -280}, image.Pt(1280, 720))
	if want := (View{0, 140, 640, 360}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReadTimeCodeRefuses(t *testing.T) {
	d := newDrawn(t, 640, 360)
	picture := drawnJPEG(t, d, "cam-1", noon, 80)
	damaged := d.paint("cam-1", noon)
	damaged.fill(d.area(codeLeft, codeTop, blockWidth, blockHeight), ycc(255, 255, 255))
	grey := image.NewGray(image.Rect(0, 0, 640, 360))
	for name, c := range map[string]struct {
		img  image.Image
		view View
	}{
		"nothing there":     {grey, WholeView(grey)},
		"one block flipped": {damaged, WholeView(damaged)},
		"elsewhere":         {picture, View{3000, 0, 640, 360}},
		"wrong view":        {picture, View{0, 0, 600, 360}},
		"no numbers":        {picture, View{math.NaN(), 0, 640, 360}},
		"infinite":          {picture, View{0, 0, math.Inf(1), 360}},
		"empty image":       {image.NewGray(image.Rectangle{}), View{}},
	} {
		if code, err := ReadTimeCode(c.img, c.view); err == nil {
			t.Errorf("%s: read %v, want an error", name, code)
		}
	}
}

// A picture encoded in tiles equals one that image/jpeg encodes in one piece: also if tiles
// come from the cache, and at sizes that are not a whole number of tiles.
func TestTilesEqualWholeJPEG(t *testing.T) {
	for _, size := range []image.Point{{640, 360}, {322, 242}, {321, 181}, {752, 500}} {
		d := newDrawn(t, size.X, size.Y)
		for _, at := range []time.Time{noon, noon.Add(200 * time.Millisecond), noon} {
			got := drawnJPEG(t, d, "cam-1", at, 80).(*image.YCbCr)
			var buf bytes.Buffer
			picture, _ := d.Picture("cam-1", at)
			if err := jpeg.Encode(&buf, picture, &jpeg.Options{Quality: 80}); err != nil {
				t.Fatal(err)
			}
			whole, err := jpeg.Decode(&buf)
			if err != nil {
				t.Fatal(err)
			}
			want := whole.(*image.YCbCr)
			if got.Rect != want.Rect || !bytes.Equal(got.Y, want.Y) || !bytes.Equal(got.Cb, want.Cb) || !bytes.Equal(got.Cr, want.Cr) {
				t.Errorf("%v at %v: the pixels differ", size, at)
			}
		}
	}
}

func TestNewDrawnRefusesSizes(t *testing.T) {
	for _, size := range []image.Point{{}, {-1, -1}, {319, 180}, {3841, 2160}, {2000, 400}, {400, 1900}} {
		if _, err := NewDrawn(size); err == nil {
			t.Errorf("%v: no error", size)
		}
	}
}

func BenchmarkDrawn(b *testing.B) {
	for _, size := range []image.Point{{960, 540}, {1280, 720}, {1920, 1080}} {
		b.Run(fmt.Sprintf("%dx%d", size.X, size.Y), func(b *testing.B) {
			d := newDrawn(b, size.X, size.Y)
			at, bytes := noon, 0
			for b.Loop() {
				at = at.Add(200 * time.Millisecond)
				data, err := d.encodeJPEG("cam-1", at, 80)
				if err != nil {
					b.Fatal(err)
				}
				bytes = len(data)
			}
			b.ReportMetric(float64(bytes)/1024, "KiB/frame")
		})
	}
}
