// Package tensor is for programs that consume tensors. It gives the numbers in a
// message, and maps coordinates in the tensor to coordinates in the camera's picture.
//
//	t, err := tensor.Parse(message)
//	if err != nil {
//		return err // a bad message: the next one may be fine
//	}
//	pixels, err := t.Float32s() // 1·C·H·W elements as t.Shape and t.Layout say
//	x, y := t.ToSource(box.X, box.Y)
//
// [Parse] checks everything that a sender could get wrong, so that no method can
// panic because of a bad message. Programs that read over NATS do not call it: the
// deliveries of publish/consume are tensors already.
//
// All of this package is for importers, who can rely on it: it changes only with the
// major version. It imports the standard library, publish and transform only.
package tensor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/transform"
)

// ErrSpec says that a tensor was not made in the expected way.
var ErrSpec = errors.New("tensor of another spec")

// A Tensor is one picture in the form that a model takes, or an encoded picture, and where it
// came from. It is a value; its copies share Data.
type Tensor struct {
	publish.Envelope
	// Subject is the subject of the message.
	Subject string
	// Data holds the elements: contiguous, little-endian, in C order; or an encoded picture, of
	// the type ContentType.
	Data []byte
}

// Parse reads the message of a whole tensor. It keeps m.Data. The error says what is
// wrong with the headers, or that the payload is not as long as they say. If messages
// may be parts or gaps, look at [publish.Message.Kind] first.
func Parse(m publish.Message) (Tensor, error) {
	envelope, err := publish.ParseEnvelope(m.Header)
	if err != nil {
		return Tensor{}, err
	}
	if err := envelope.Check(len(m.Data)); err != nil {
		return Tensor{}, err
	}
	return Tensor{Envelope: envelope, Subject: m.Subject, Data: m.Data}, nil
}

// Float32s returns the elements of a float32 tensor. The slice may share the memory of
// t.Data, so do not write to it; it is a copy only on a big-endian machine, or if t.Data
// is not aligned to four bytes. The error says that the tensor has another type.
func (t Tensor) Float32s() ([]float32, error) {
	if err := t.need(transform.Float32); err != nil {
		return nil, err
	}
	return view[float32](t.Data), nil
}

// Float16s returns the elements of a float16 tensor as IEEE 754 binary16 bits,
// which [Float16] converts. As with [Tensor.Float32s], they may be t.Data itself.
func (t Tensor) Float16s() ([]uint16, error) {
	if err := t.need(transform.Float16); err != nil {
		return nil, err
	}
	return view[uint16](t.Data), nil
}

// BFloat16s returns the elements of a bfloat16 tensor as bits, which [BFloat16] converts. As
// with [Tensor.Float32s], they may be t.Data itself.
func (t Tensor) BFloat16s() ([]uint16, error) {
	if err := t.need(transform.BFloat16); err != nil {
		return nil, err
	}
	return view[uint16](t.Data), nil
}

// Int8s returns the elements of an int8 tensor, which are t.Data itself: do not write to it.
func (t Tensor) Int8s() ([]int8, error) {
	if err := t.need(transform.Int8); err != nil {
		return nil, err
	}
	return view[int8](t.Data), nil
}

// Uint8s returns the elements of a uint8 tensor, which are t.Data itself.
func (t Tensor) Uint8s() ([]byte, error) {
	if err := t.need(transform.Uint8); err != nil {
		return nil, err
	}
	return t.Data, nil
}

func (t Tensor) need(d transform.DType) error {
	if t.ContentType != "" {
		return fmt.Errorf("this is a picture, %s, and has no elements: decode Data", t.ContentType)
	}
	if t.DType != d {
		return fmt.Errorf("the elements are %s, not %s", t.DType, d)
	}
	return nil
}

// AppendFloat32s appends the elements to dst, ready for the model, whatever their type
// in the message. It converts float16 and bfloat16, computes the values of quantized elements,
// and normalizes pixels that are not normalized yet, with Scale, Mean and Std. Pass dst[:0] to
// reuse its memory. A picture has no elements.
func (t Tensor) AppendFloat32s(dst []float32) []float32 {
	if t.ContentType != "" {
		return dst
	}
	start := len(dst)
	switch t.DType {
	case transform.Float32:
		dst = append(dst, view[float32](t.Data)...)
	case transform.Float16:
		dst = slices.Grow(dst, len(t.Data)/2)
		for i := 0; i < len(t.Data); i += 2 {
			dst = append(dst, Float16(binary.LittleEndian.Uint16(t.Data[i:])))
		}
	case transform.BFloat16:
		dst = slices.Grow(dst, len(t.Data)/2)
		for i := 0; i < len(t.Data); i += 2 {
			dst = append(dst, BFloat16(binary.LittleEndian.Uint16(t.Data[i:])))
		}
	case transform.Int8:
		dst = slices.Grow(dst, len(t.Data))
		for _, v := range view[int8](t.Data) {
			dst = append(dst, float32(v))
		}
	default:
		dst = slices.Grow(dst, len(t.Data))
		for _, v := range t.Data {
			dst = append(dst, float32(v))
		}
	}
	if t.QuantScale != 0 {
		for i, v := range dst[start:] {
			dst[start+i] = (v - float32(t.QuantZeroPoint)) * float32(t.QuantScale)
		}
	}
	if !t.Normalized {
		t.normalize(dst[start:])
	}
	return dst
}

// normalize computes value = (pixel*Scale - Mean) / Std for each channel.
func (t Tensor) normalize(values []float32) {
	channels, pixels := t.Color.Channels(), t.Width()*t.Height()
	frames := t.Pictures()
	for n := range frames {
		for c := range channels {
			first, stride := (n*channels+c)*pixels, 1
			switch {
			case !t.Layout.Planar():
				first, stride = n*channels*pixels+c, channels
			case t.Layout == transform.NCTHW:
				first = (c*frames + n) * pixels
			}
			for i := range pixels {
				v := &values[first+i*stride]
				*v = float32((float64(float64(*v)*t.Scale) - t.Mean[c]) / t.Std[c])
			}
		}
	}
}

// Age returns how long before now the tensor's slot was.
func (t Tensor) Age(now time.Time) time.Duration { return now.Sub(t.Time) }

// CheckSpec returns an error that wraps [ErrSpec] unless want is the fingerprint of how
// the tensor was made. With another size, normalization or decoder, a model may see
// other numbers than it was tested with.
func (t Tensor) CheckSpec(want string) error {
	if t.Spec != want {
		return fmt.Errorf("%w: its fingerprint is %.40q, not %.40q as expected", ErrSpec, t.Spec, want)
	}
	return nil
}

// view returns the little-endian elements in data, which must not be empty. The result
// shares data's memory if the machine can read the elements there.
func view[T int8 | uint16 | float32](data []byte) []T {
	var element T
	size := int(unsafe.Sizeof(element))
	first := unsafe.Pointer(unsafe.SliceData(data)) //nolint:gosec // only to read within data, if it is aligned
	littleEndian := binary.NativeEndian.Uint16([]byte{1, 0}) == 1
	if littleEndian && uintptr(first)%unsafe.Alignof(element) == 0 {
		return unsafe.Slice((*T)(first), len(data)/size) //nolint:gosec // no longer than data
	}
	values := make([]T, len(data)/size)
	// Decode fails only for types without a fixed size, or for too few bytes.
	_, _ = binary.Decode(data, binary.LittleEndian, values)
	return values
}
