package kinesistest

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

const (
	formatJPEG = "JPEG"
	formatPNG  = "PNG"
)

// A pictureFormat is how a picture is to be encoded.
type pictureFormat struct {
	encoding      string
	quality       int
	width, height int // both 0 for the picture's own
}

// key identifies the format among the cached pictures.
func (f pictureFormat) key() string {
	b := append(make([]byte, 0, 32), f.encoding...)
	for _, n := range []int{f.quality, f.width, f.height} {
		b = strconv.AppendInt(append(b, ' '), int64(n), 10)
	}
	return string(append(b, ' '))
}

// pictures encodes the scene's pictures, each once however many ask for it, and
// at most as many at a time as there are processors.
type pictures struct {
	scene  Scene
	cache  *cache
	flight singleflight.Group
	slots  chan struct{}
}

func newPictures(scene Scene, bytes int) *pictures {
	return &pictures{scene: scene, cache: newCache(bytes), slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// get returns the stream's picture at t. The bytes are shared: not to be changed.
func (p *pictures) get(stream string, t time.Time, f pictureFormat) ([]byte, error) {
	key := f.key() + p.scene.Key(stream, t)
	if data := p.cache.get(key); data != nil {
		return data, nil
	}
	data, err, _ := p.flight.Do(key, func() (any, error) {
		p.slots <- struct{}{}
		defer func() { <-p.slots }()
		data, err := p.encode(stream, t, f)
		if err == nil {
			p.cache.add(key, data)
		}
		return data, err
	})
	if err != nil {
		return nil, err
	}
	return data.([]byte), nil
}

func (p *pictures) encode(stream string, t time.Time, f pictureFormat) ([]byte, error) {
	if own, ok := p.scene.(jpegScene); ok && f.encoding == formatJPEG && f.width == 0 {
		return own.encodeJPEG(stream, t, f.quality)
	}
	img, err := p.scene.Picture(stream, t)
	if err != nil {
		return nil, err
	}
	if f.width != 0 {
		img = stretched(img, f.width, f.height)
	}
	var buf bytes.Buffer
	if f.encoding == formatPNG {
		err = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&buf, toRGBA(img))
	} else {
		err = jpeg.Encode(&buf, img, &jpeg.Options{Quality: f.quality})
	}
	return buf.Bytes(), err
}

// stretched resizes as the service does: to exactly that size, whatever becomes
// of the aspect ratio.
func stretched(img image.Image, width, height int) image.Image {
	out := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.ApproxBiLinear.Scale(out, out.Rect, img, img.Bounds(), draw.Src, nil)
	return out
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
