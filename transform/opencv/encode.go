package opencv

/*
#cgo pkg-config: libwebp
#include "encode.h"
#include <stdlib.h>
#include <webp/encode.h>
*/
import "C"

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/transform"
)

// original returns the frame's own bytes as a picture.
func (w *Worker) original(o *transform.Output) *transform.Tensor {
	t := w.encoded(o, w.data, transform.Geometry{Source: w.picture.full, Size: w.picture.full, Affine: transform.Affine{1, 0, 0, 0, 1, 0}})
	if t.ContentType = transform.TypeJPEG; bytes.HasPrefix(w.data, pngMagic) {
		t.ContentType = transform.TypePNG
	}
	t.Shape[2] = 3
	return t
}

// encode resizes the picture as the output says, and encodes it.
func (w *Worker) encode(o *transform.Output, g transform.Geometry) (*transform.Tensor, error) {
	pixels := canvas(o.Spec)
	src, err := w.resize(of{spec: &o.Spec}, g)
	if err != nil {
		return nil, err
	}
	channels := pixels.Color.Channels()
	dst, err := w.canvas.picture(g.Size, channels)
	if err != nil {
		return nil, err
	}
	w.pack(&pixels, g, src, dst.bytes(), false)
	if o.Spec.Encode == transform.EncodePNG {
		var b bytes.Buffer
		encoder := png.Encoder{CompressionLevel: png.BestSpeed}
		if err := encoder.Encode(&b, dst.image()); err != nil {
			return nil, fmt.Errorf("png: %w", err)
		}
		return w.encoded(o, b.Bytes(), g), nil
	}
	return w.encodeInC(o, g, dst)
}

// canvas returns the spec of the pixels that are encoded.
func canvas(s transform.Spec) transform.Spec {
	s.DType, s.Layout = transform.Uint8, transform.NHWC
	if s.Color == transform.BGR { // a picture has no order but RGB
		s.Color = transform.RGB
		s.PadChannels[0], s.PadChannels[2] = s.PadChannels[2], s.PadChannels[0]
	}
	return s
}

// encodeInC encodes pixels as JPEG or WebP.
func (w *Worker) encodeInC(o *transform.Output, g transform.Geometry, src view) (*transform.Tensor, error) {
	e := C.cvf_encoding{
		pixels: (*C.uint8_t)(src.p), w: C.int(src.size.X), h: C.int(src.size.Y), channels: C.int(src.channels),
		quality: C.int(o.Spec.EncodeQuality()),
	}
	var out *C.uint8_t
	var size C.size_t
	var message jpegMessage
	if o.Spec.Encode == transform.EncodeWebP {
		if C.cvf_encode_webp(&e, &out, &size, &message[0]) != 0 {
			return nil, &transform.DecodeError{Reason: transform.ReasonUnfit, Err: fmt.Errorf("webp of %v: %s", src.size, C.GoString(&message[0]))}
		}
		defer C.WebPFree(unsafe.Pointer(out))
	} else {
		if C.cvf_encode_jpeg(&e, &out, &size, &message[0]) != 0 {
			return nil, &transform.DecodeError{Reason: transform.ReasonUnfit, Err: fmt.Errorf("jpeg of %v: %s", src.size, C.GoString(&message[0]))}
		}
		defer C.free(unsafe.Pointer(out))
	}
	return w.encoded(o, unsafe.Slice((*byte)(out), int(size)), g), nil
}

// encoded returns a copy of the bytes of a picture as what the output makes.
func (w *Worker) encoded(o *transform.Output, data []byte, g transform.Geometry) *transform.Tensor {
	t := w.buffers.Picture(len(data))
	copy(t.Data, data)
	w.label(t, o)
	t.ContentType = o.Spec.Encode.Type()
	t.Shape = []int{g.Size.Y, g.Size.X, o.Spec.Color.Channels()}
	t.Affines = []transform.Affine{g.Affine}
	return t
}

// image returns the view's pixels, which are RGB or gray and have no gaps, as Go has them.
func (v view) image() image.Image {
	bounds := image.Rectangle{Max: v.size}
	if v.channels == 1 {
		return &image.Gray{Pix: v.bytes(), Stride: v.stride, Rect: bounds}
	}
	m := image.NewNRGBA(bounds)
	pixels := v.bytes()
	for i := range v.size.X * v.size.Y {
		copy(m.Pix[4*i:4*i+3], pixels[3*i:3*i+3])
		m.Pix[4*i+3] = 0xff
	}
	return m
}
