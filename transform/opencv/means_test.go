package opencv

import (
	"bytes"
	"errors"
	"image"
	"path/filepath"
	"testing"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/quality"
)

// keptOutputs are lists of outputs that read all of a picture, a part of it, and pictures that are
// decoded at several scales.
func keptOutputs(t *testing.T) map[string][]*transform.Output {
	t.Helper()
	yolo, err := transform.Preset("yolo")
	if err != nil {
		t.Fatal(err)
	}
	part, fast, tiny, raw := yolo, yolo, yolo, yolo
	part.ROI = transform.ROI{X: 0.4, Y: 0.4, W: 0.2, H: 0.2, Fraction: true}
	fast.Decode, fast.Width, fast.Height = transform.DecodeFast, 32, 32
	tiny.Decode, tiny.Width, tiny.Height = transform.DecodeFast, 8, 8
	raw.Resize = transform.OpenCVCubic
	all := map[string][]*transform.Output{"none": nil}
	for name, s := range map[string]transform.Spec{"yolo": yolo, "part": part, "fast": fast, "tiny": tiny, "cubic": raw} {
		all[name] = []*transform.Output{{Name: name, Spec: s}}
	}
	return all
}

// TestKeptLuma: whatever is decoded of a picture, the brightness that is kept beside is that which
// Luma reads by itself; and nearly so where libjpeg decodes, and of a PNG.
func TestKeptLuma(t *testing.T) {
	files, err := filepath.Glob("testdata/pictures/*.*g")
	if err != nil || len(files) < 15 {
		t.Fatal(files, err)
	}
	exact, near := 0, 0
	for _, plain := range []bool{false, true} {
		w := NewWorker(Options{NoRowDecoder: plain})
		defer w.Close()
		for _, name := range files {
			f := source.Frame{Data: readPicture(t, filepath.Base(name))}
			for what, outs := range keptOutputs(t) {
				w.KeepLuma(true)
				if err := w.Decode(f, nil, outs); err != nil {
					if bad := new(transform.DecodeError); !errors.As(err, &bad) || w.kept != (image.Point{}) {
						t.Errorf("%s: %v", name, err)
					}
					continue
				}
				kept, _ := w.KeptLuma()
				if kept == nil {
					if filepath.Base(name) != "cmyk.jpg" {
						t.Errorf("%s, %s: nothing is kept", name, what)
					}
					continue
				}
				got := bytes.Clone(kept.Pix)
				want, _, err := w.Luma(f, nil)
				switch {
				case err != nil:
					continue // a PNG, or RGB
				case len(got) != len(quality.Sparse(want).Pix):
					t.Errorf("%s, %s: %v of %v", name, what, kept.Rect, want.Rect)
				case bytes.Equal(got, quality.Sparse(want).Pix):
					exact++
				case plain || !w.lumaOwn:
					near++
					if d := apart(got, quality.Sparse(want).Pix); d > 16 { // they are full of noise, of which a single row has more
						t.Errorf("%s, %s: %.1f levels apart in the mean", name, what, d)
					}
				default:
					t.Errorf("%s, %s: other means", name, what)
				}
				w.KeepLuma(false)
				if err := w.Decode(f, nil, outs); err != nil || w.kept != (image.Point{}) {
					t.Errorf("%s, %s: kept although it was not to be: %v", name, what, err)
				}
			}
		}
	}
	if near == 0 || exact == 0 && CheckRowDecoder() == nil {
		t.Errorf("%d pictures were compared exactly, %d nearly", exact, near)
	}
}

// apart returns by how much bytes differ in the mean.
func apart(a, b []byte) float64 {
	sum := 0
	for i, v := range a {
		d := int(v) - int(b[i])
		sum += max(d, -d)
	}
	return float64(sum) / float64(max(1, len(a)))
}

// TestKeptLumaOfPNG: it has the brightness of the pixels.
func TestKeptLumaOfPNG(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	w.KeepLuma(true)
	if err := w.Decode(source.Frame{Data: readPicture(t, "rgb.png")}, nil, nil); err != nil {
		t.Fatal(err)
	}
	v := w.picture.view
	kept, size := w.KeptLuma()
	if kept == nil || size != v.size || kept.Rect.Max != sparse(v.size) {
		t.Fatal(kept)
	}
	at := image.Pt(kept.Rect.Dx()/2, kept.Rect.Dy()/2)
	sum := 0.0
	for i := range 8 {
		p := v.pixel(at.X*16+i, min(v.size.Y-1, at.Y*16+4))
		sum += 0.114*float64(p[0]) + 0.587*float64(p[1]) + 0.299*float64(p[2])
	}
	if got, want := float64(kept.GrayAt(at.X, at.Y).Y), sum/8; got < want-1.5 || got > want+1.5 {
		t.Errorf("a block is %v, want %v", got, want)
	}
}
