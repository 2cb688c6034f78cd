package opencv

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"testing"

	"gocv.io/x/gocv"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// pictureOutput returns an output that encodes the whole picture.
func pictureOutput(t testing.TB, encode transform.Encoding, change func(*transform.Spec)) *transform.Output {
	t.Helper()
	return newOutput(t, "raw", func(s *transform.Spec) {
		s.Encode, s.Color = encode, transform.RGB
		if change != nil {
			change(s)
		}
	})
}

// TestOriginal: the bytes of the frame are passed on, and only its header is read.
func TestOriginal(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	o := pictureOutput(t, transform.EncodeOriginal, nil)
	for name, want := range map[string]string{"large.jpg": transform.TypeJPEG, "bits.png": transform.TypePNG} {
		data := readPicture(t, name)
		damaged := bytes.Clone(data)
		damaged[len(damaged)/2] ^= 0xff // which only a decoder would see
		for _, data := range [][]byte{data, damaged} {
			if err := w.Decode(source.Frame{Data: data}, nil, []*transform.Output{o}); err != nil {
				t.Fatal(err)
			}
			got, err := w.Tensor(o)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Data, data) || got.ContentType != want {
				t.Errorf("%s: %d bytes of %s, want %d of %s", name, len(got.Data), got.ContentType, len(data), want)
			}
			if got.Shape[0] != got.Source.Y || got.Shape[1] != got.Source.X || got.Affines[0] != (transform.Affine{1, 0, 0, 0, 1, 0}) {
				t.Errorf("%s: shape %v of a picture of %v, map %v", name, got.Shape, got.Source, got.Affines)
			}
			w.Rest()
		}
	}
	var undecodable *transform.DecodeError
	if err := w.Decode(source.Frame{Data: []byte("no picture")}, nil, []*transform.Output{o}); !errors.As(err, &undecodable) {
		t.Errorf("what is no picture is passed on: %v", err)
	}
	masked := &transform.Camera{Masks: []transform.Mask{{Polygon: []transform.Fraction{{X: 0, Y: 0}, {X: 1, Y: 0}, {X: 1, Y: 1}}}}}
	if err := w.Decode(source.Frame{Data: readPicture(t, "large.jpg")}, masked, []*transform.Output{o}); err == nil {
		t.Error("the original shows what is masked")
	}
}

// TestOriginalBesideATensor: the frame is decoded for the tensor, and passed on as it is.
func TestOriginalBesideATensor(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	outs := []*transform.Output{pictureOutput(t, transform.EncodeOriginal, nil), newOutput(t, "yolo", nil)}
	data := readPicture(t, "large.jpg")
	if err := w.Decode(source.Frame{Data: data}, nil, outs); err != nil {
		t.Fatal(err)
	}
	original, err := w.Tensor(outs[0])
	if err != nil || !bytes.Equal(original.Data, data) {
		t.Errorf("not the original, %v", err)
	}
	made, err := w.Tensor(outs[1])
	if err != nil || !bytes.Equal(made.Data, makeTensor(t, NewWorker(Options{}), data, outs[1].Spec).Data) {
		t.Errorf("not the tensor that it is alone, %v", err)
	}
}

// TestEncodedPictures decodes pictures with Go's decoders and OpenCV, and compares them with the
// pixels that a uint8 tensor of the same output has. PNG is exact, the others lossy.
func TestEncodedPictures(t *testing.T) {
	w := NewWorker(Options{})
	defer w.Close()
	data := readPicture(t, "large.jpg") // 480x270
	for name, change := range map[string]func(*transform.Spec){
		"whole": nil,
		"roi":   func(s *transform.Spec) { s.ROI = transform.ROI{X: 33, Y: 21, W: 201, H: 111} },
		"letterbox": func(s *transform.Spec) {
			s.Width, s.Height, s.Fit, s.PadChannels = 160, 160, transform.Letterbox, [3]float64{10, 20, 30}
		},
		"bgr letterbox": func(s *transform.Spec) {
			s.Width, s.Height, s.Fit, s.Color, s.PadChannels = 160, 160, transform.Letterbox, transform.BGR, [3]float64{30, 20, 10}
		},
		"gray":    func(s *transform.Spec) { s.Color = transform.Gray },
		"quality": func(s *transform.Spec) { s.Quality = 30 },
	} {
		for _, encode := range []transform.Encoding{transform.EncodeJPEG, transform.EncodeWebP, transform.EncodePNG} {
			o := pictureOutput(t, encode, func(s *transform.Spec) {
				if change != nil {
					change(s)
				}
				if encode == transform.EncodePNG {
					s.Quality = 0
				}
			})
			pixels := o.Spec
			pixels.Encode, pixels.Quality = "", 0
			pixels.DType, pixels.Layout = transform.Uint8, transform.NHWC
			want := makeTensor(t, w, data, pixels)
			got := makeTensor(t, w, data, o.Spec)
			if got.ContentType != encode.Type() || got.Affines[0] != want.Affines[0] {
				t.Errorf("%s, %s: %s, map %v instead of %v", name, encode, got.ContentType, got.Affines, want.Affines)
			}
			// A loss of so much on average is a loss of quality, and not another picture.
			most := map[transform.Encoding]float64{transform.EncodeJPEG: 4, transform.EncodeWebP: 6}[encode]
			if o.Spec.Quality == 30 {
				most *= 2
			}
			m := decodePicture(t, encode, got.Data)
			if d := pictureDistance(t, m, want, pixels.Color); d > most {
				t.Errorf("%s, %s: differs by %.2f on average, more than %v", name, encode, d, most)
			}
		}
	}
	if a, b := len(makeTensor(t, w, data, pictureOutput(t, transform.EncodeJPEG, func(s *transform.Spec) { s.Quality = 20 }).Spec).Data),
		len(makeTensor(t, w, data, pictureOutput(t, transform.EncodeJPEG, nil).Spec).Data); a > b/2 {
		t.Errorf("%d bytes with quality 20, and %d with that of libjpeg", a, b)
	}
}

// TestTooLargeForWebP: a picture that no WebP can hold is an error of the picture.
func TestTooLargeForWebP(t *testing.T) {
	w := NewWorker(Options{MaxWidth: 20000, MaxHeight: 100})
	defer w.Close()
	var data bytes.Buffer
	if err := jpeg.Encode(&data, image.NewGray(image.Rect(0, 0, 17000, 8)), nil); err != nil {
		t.Fatal(err)
	}
	o := pictureOutput(t, transform.EncodeWebP, nil)
	if err := w.Decode(source.Frame{Data: data.Bytes()}, nil, []*transform.Output{o}); err != nil {
		t.Fatal(err)
	}
	var unfit *transform.DecodeError
	if _, err := w.Tensor(o); !errors.As(err, &unfit) || unfit.Reason != transform.ReasonUnfit {
		t.Errorf("got %v", err)
	}
}

// decodePicture decodes a picture with a library that has not encoded it, where there is one.
func decodePicture(t *testing.T, encode transform.Encoding, data []byte) image.Image {
	t.Helper()
	var m image.Image
	var err error
	switch encode {
	case transform.EncodeJPEG:
		m, err = jpeg.Decode(bytes.NewReader(data))
	case transform.EncodePNG:
		m, err = png.Decode(bytes.NewReader(data))
	default:
		mat, e := gocv.IMDecode(data, gocv.IMReadColor)
		if e != nil {
			t.Fatal(e)
		}
		defer func() { _ = mat.Close() }()
		m, err = mat.ToImage()
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pictureDistance returns how much the channels differ on average from those of a uint8 NHWC
// tensor.
func pictureDistance(t *testing.T, m image.Image, want *transform.Tensor, order transform.Color) float64 {
	t.Helper()
	height, width, channels := want.Shape[1], want.Shape[2], want.Shape[3]
	if m.Bounds() != image.Rect(0, 0, width, height) {
		t.Fatalf("a picture of %v, want %dx%d", m.Bounds(), width, height)
	}
	sum := 0
	for y := range height {
		for x := range width {
			c := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
			got := []uint8{c.R, c.G, c.B}
			if order == transform.BGR {
				got = []uint8{c.B, c.G, c.R}
			}
			for i := range channels {
				d := int(got[i]) - int(want.Data[(y*width+x)*channels+i])
				sum += max(d, -d)
			}
		}
	}
	return float64(sum) / float64(width*height*channels)
}
