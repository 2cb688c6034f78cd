package transform

import (
	"encoding/binary"
	"math"
)

// Element returns the bits of the element that a normalized value becomes, in the lowest
// s.DType.Size() bytes; of a raw tensor, those of the pixel.
func (s *Spec) Element(value float64) uint32 {
	switch {
	case s.DType == Float32:
		return math.Float32bits(float32(value))
	case s.DType == Float16:
		return uint32(float16bits(float32(value)))
	case s.DType == BFloat16:
		return uint32(bfloat16bits(float32(value)))
	case s.Raw():
		return uint32(uint8(value))
	}
	return uint32(uint8(s.Quantize(float32(value)))) // of an int8 its bits
}

// black returns the elements of a frame of black pixels, as long as another frame.
func (s *Spec) black(frame *Tensor) []byte {
	size, channels := s.DType.Size(), s.Color.Channels()
	pixels := len(frame.Data) / size / channels
	data := make([]byte, 0, len(frame.Data))
	add := func(c int) {
		value := 0.0
		if !s.Raw() {
			value = s.Value(c, 0)
		}
		var bits [4]byte
		binary.LittleEndian.PutUint32(bits[:], s.Element(value))
		data = append(data, bits[:size]...)
	}
	for i := range channels * pixels {
		if s.Layout.Planar() {
			add(i / pixels)
		} else {
			add(i % channels)
		}
	}
	return data
}

// float16bits returns f as IEEE 754 binary16, rounded to nearest even.
func float16bits(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	exponent := int(bits>>23&0xff) - 127
	mantissa := bits & 0x7fffff
	switch {
	case exponent == 128 && mantissa != 0:
		return sign | 0x7e00 // NaN
	case exponent > 15:
		return sign | 0x7c00 // infinity
	case exponent >= -14:
		// A carry out of the mantissa correctly raises the exponent.
		return sign | uint16(roundEven(uint32(exponent+15)<<23|mantissa, 13))
	case exponent >= -25:
		return sign | uint16(roundEven(mantissa|0x800000, uint(-exponent-1)))
	}
	return sign
}

// bfloat16bits returns f, which is finite, as a bfloat16, rounded to nearest even.
func bfloat16bits(f float32) uint16 { return uint16(roundEven(math.Float32bits(f), 16)) }

// roundEven returns v / 2^shift, rounded to nearest even.
func roundEven(v uint32, shift uint) uint32 {
	return (v + 1<<(shift-1) - 1 + v>>shift&1) >> shift
}
