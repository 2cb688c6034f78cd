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

// Shape returns the shape of a tensor of pictures of the geometry's size: [N C H W] for NCHW,
// [N H W C] for NHWC, where N is 1 without tiles. Of a clip it is the shape of a frame.
func (s *Spec) Shape(pictures int, g Geometry) []int {
	if !s.Layout.Planar() {
		return []int{pictures, g.Size.Y, g.Size.X, s.Color.Channels()}
	}
	return []int{pictures, s.Color.Channels(), g.Size.Y, g.Size.X}
}

// MostPictures returns how many pictures a tensor of the spec has at most.
func (s *Spec) MostPictures() int {
	if n, known := s.Tiles.count(); known {
		return n
	}
	return maxTiles
}

// Bytes returns the size of the tensor's data. It is known before there is a picture unless
// the picture's size decides the tensor's (Width and Height 0), or how many tiles there are. The
// size of an encoded picture is never known. Of a clip it is the size of a frame: see ClipBytes.
func (s *Spec) Bytes() (n int, known bool) {
	if s.Pictures() {
		return 0, false
	}
	n = s.Width * s.Height * s.Color.Channels() * s.DType.Size()
	tiles, known := s.Tiles.count()
	return n * tiles, known && n > 0
}

// BytesOf returns the size of the data of the tensor of a picture of the given size, or what an
// encoded picture takes at most, as far as a budget is concerned. It is 0 for the original. The
// error is that of [Spec.Geometries].
func (s *Spec) BytesOf(picture image.Point) (int, error) {
	if n, known := s.Bytes(); known {
		return n, nil
	}
	if !s.Decodes() {
		return 0, nil
	}
	all, err := s.Geometries(picture)
	if err != nil {
		return 0, err
	}
	if s.Pictures() {
		return s.pictureBytes(all[0].Size), nil
	}
	n := s.DType.Size()
	for _, side := range s.Shape(len(all), all[0]) {
		n *= side
	}
	return n, nil
}

// ClipBytes returns the size of a clip's data, whose frames have a size as [Spec.Bytes] or
// [Spec.BytesOf] returns it; without clips that size.
func (s *Spec) ClipBytes(frame int) int { return frame * max(s.Clip.Frames, 1) }
