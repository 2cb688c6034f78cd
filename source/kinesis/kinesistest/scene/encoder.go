package scene

import (
	"bytes"
	"image"
	"image/jpeg"
	"image/png"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/image/draw"
	"golang.org/x/sync/singleflight"
)

// The encodings of a [Format], as the service names them.
const (
	JPEG = "JPEG"
	PNG  = "PNG"
)

// A Format is how a picture is to be encoded.
type Format struct {
	Encoding string // JPEG or PNG
	Quality  int    // of JPEG: 1 to 100
	// Width and Height are the size in pixels to which the picture is stretched; both 0
	// keep its own. With KeepAspect it is made as large as fits into that size.
	Width, Height int
	KeepAspect    bool
}

// key identifies the format among the cached pictures.
func (f Format) key() string {
	b := append(make([]byte, 0, 32), f.Encoding...)
	for _, n := range []int{f.Quality, f.Width, f.Height} {
		b = strconv.AppendInt(append(b, ' '), int64(n), 10)
	}
	return string(strconv.AppendBool(append(b, ' '), f.KeepAspect)) + " "
}

// An Encoder encodes a scene's pictures: each once, however many ask for it at the same
// time, and at most as many at a time as there are processors. It is safe for concurrent
// use.
type Encoder struct {
	scene  Scene
	cache  *cache
	flight singleflight.Group
	slots  chan struct{}
}

// NewEncoder returns an encoder that keeps encoded pictures of the given total size.
func NewEncoder(scene Scene, cacheBytes int) *Encoder {
	return &Encoder{scene: scene, cache: newCache(cacheBytes), slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// Encode returns the stream's picture at t. The bytes are shared: they must not be
// changed.
func (e *Encoder) Encode(stream string, t time.Time, f Format) ([]byte, error) {
	key := f.key() + e.scene.Key(stream, t)
	if data := e.cache.get(key); data != nil {
		return data, nil
	}
	data, err, _ := e.flight.Do(key, func() (any, error) {
		e.slots <- struct{}{}
		defer func() { <-e.slots }()
		data, err := e.encode(stream, t, f)
		if err == nil {
			e.cache.add(key, data)
		}
		return data, err
	})
	if err != nil {
		return nil, err
	}
	return data.([]byte), nil
}

func (e *Encoder) encode(stream string, t time.Time, f Format) ([]byte, error) {
	if own, ok := e.scene.(jpegEncoder); ok && f.Encoding == JPEG && f.Width == 0 {
		return own.encodeJPEG(stream, t, f.Quality)
	}
	img, err := e.scene.Picture(stream, t)
	if err != nil {
		return nil, err
	}
	if f.Width != 0 {
		size := image.Pt(f.Width, f.Height)
		if f.KeepAspect {
			size = fitting(img.Bounds().Size(), size)
		}
		img = stretched(img, size.X, size.Y)
	}
	var buf bytes.Buffer
	if f.Encoding == PNG {
		err = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&buf, toRGBA(img))
	} else {
		err = jpeg.Encode(&buf, img, &jpeg.Options{Quality: f.Quality})
	}
	return buf.Bytes(), err
}

// stretched resizes as the service does: to exactly that size, whatever the aspect ratio.
func stretched(img image.Image, width, height int) image.Image {
	out := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.ApproxBiLinear.Scale(out, out.Rect, img, img.Bounds(), draw.Src, nil)
	return out
}

// fitting returns the largest size of a picture's aspect that is no larger than most.
func fitting(picture, most image.Point) image.Point {
	if picture.X*most.Y > picture.Y*most.X {
		return image.Pt(most.X, max(picture.Y*most.X/picture.X, 1))
	}
	return image.Pt(max(picture.X*most.Y/picture.Y, 1), most.Y)
}

// toRGBA returns the picture in the form that image/png encodes fast.
func toRGBA(img image.Image) *image.RGBA {
	if rgba, ok := img.(*image.RGBA); ok {
		return rgba
	}
	out := image.NewRGBA(image.Rectangle{Max: img.Bounds().Size()})
	draw.Draw(out, out.Rect, img, img.Bounds().Min, draw.Src)
	return out
}
