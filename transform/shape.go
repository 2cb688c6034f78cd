package transform

import (
	"image"
	"math"
)

// Value returns the element that a pixel of a channel becomes in a tensor of a
// float type: (pixel*Scale - Mean[channel]) / Std[channel], in float64.
func (s *Spec) Value(channel int, pixel uint8) float64 {
	return (float64(float64(pixel)*s.Scale) - s.Mean[channel]) / s.Std[channel]
}

// Raw tells whether the tensor holds the pixels as they are, which the consumer normalizes.
func (s *Spec) Raw() bool { return s.DType == Uint8 && s.QuantScale == 0 }

// Quantize returns the element that a normalized value becomes in a tensor with QuantScale:
//
//	clamp(round(value/QuantScale) + QuantZeroPoint)
//
// to the range of the type. The division is of float32, and halves are rounded to the even
// number, as by ONNX's QuantizeLinear.
func (s *Spec) Quantize(value float32) int {
	r := s.DType.row()
	q := math.RoundToEven(float64(value/float32(s.QuantScale))) + float64(s.QuantZeroPoint)
	return int(min(max(q, r.least), r.most))
}

// Padding returns the value that a channel of the tensor is padded with, before it is
// quantized; of a raw tensor, the pixel.
func (s *Spec) Padding(channel int) float64 {
	v := s.PadChannels[channel]
	if s.PadChannels == [3]float64{} {
		v = float64(s.Pad)
	}
	if s.PadNormalized || s.Raw() {
		return v
	}
	return s.Value(channel, uint8(v))
}

// Shape returns the shape of a tensor of the geometry's size: [1 C H W] for NCHW,
// [1 H W C] for NHWC.
func (s *Spec) Shape(g Geometry) []int {
	if s.Layout == NHWC {
		return []int{1, g.Size.Y, g.Size.X, s.Color.Channels()}
	}
	return []int{1, s.Color.Channels(), g.Size.Y, g.Size.X}
}

// Bytes returns the size of the tensor's data. It is known before there is a
// picture unless the tensor has the picture's own size (Width and Height 0).
func (s *Spec) Bytes() (n int, known bool) {
	n = s.Width * s.Height * s.Color.Channels() * s.DType.Size()
	return n, n > 0
}

// BytesOf returns the size of the data of the tensor of a picture of the given size. The
// error is that of [Spec.Geometry].
func (s *Spec) BytesOf(picture image.Point) (int, error) {
	if n, known := s.Bytes(); known {
		return n, nil
	}
	g, err := s.Geometry(picture)
	if err != nil {
		return 0, err
	}
	return g.Size.X * g.Size.Y * s.Color.Channels() * s.DType.Size(), nil
}
