// Package tensorimage shows the payload of a tensor message to people: its statistics,
// the picture that a model sees in it, and a file for NumPy.
//
//	tensor, err := tensorimage.New(envelope, message.Data)
//	if err != nil {
//		return err // the payload is not what the headers announce
//	}
//	err = tensorimage.EncodePNG(file, tensor)
//
// It is made to look at single tensors, and not for speed.
package tensorimage

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
	"github.com/cvfeeder/cvfeeder/transform"
)

// Extension returns the end of the names of files of a media type of pictures: ".jpg".
func Extension(contentType string) string {
	switch contentType {
	case transform.TypePNG:
		return ".png"
	case transform.TypeWebP:
		return ".webp"
	}
	return ".jpg"
}

// A Tensor is a payload with the envelope that describes it.
type Tensor struct {
	envelope publish.Envelope
	data     []byte
}

// New returns the tensor of a message's envelope, as returned by [publish.ParseEnvelope],
// and payload, which it keeps. An error means that the payload does not have the size that
// the envelope says.
func New(envelope publish.Envelope, data []byte) (Tensor, error) {
	if envelope.ContentType != "" {
		return Tensor{}, fmt.Errorf("it is a picture already: %s", envelope.ContentType)
	}
	if err := envelope.Check(len(data)); err != nil {
		return Tensor{}, err
	}
	return Tensor{envelope, data}, nil
}

// Dims returns the tensor's shape as text: 1x3x640x640.
func (t Tensor) Dims() string { return t.dims("x") }

func (t Tensor) dims(separator string) string {
	parts := make([]string, len(t.envelope.Shape))
	for i, n := range t.envelope.Shape {
		parts[i] = strconv.Itoa(n)
	}
	return strings.Join(parts, separator)
}

// at returns the element with index i in C order.
func (t Tensor) at(i int) float32 {
	switch t.envelope.DType {
	case transform.Float32:
		return math.Float32frombits(binary.LittleEndian.Uint32(t.data[4*i:]))
	case transform.Float16:
		return tensor.Float16(binary.LittleEndian.Uint16(t.data[2*i:]))
	case transform.BFloat16:
		return tensor.BFloat16(binary.LittleEndian.Uint16(t.data[2*i:]))
	case transform.Int8:
		return float32(int8(t.data[i]))
	default:
		return float32(t.data[i])
	}
}

// value returns what the element stands for: the element itself unless it is quantized.
func (t Tensor) value(i int) float64 {
	e := t.envelope
	if e.QuantScale != 0 {
		return (float64(t.at(i)) - float64(e.QuantZeroPoint)) * e.QuantScale
	}
	return float64(t.at(i))
}

// Range returns the smallest and the largest element, and the mean of all. If one is NaN,
// the mean is NaN, too, while the other two ignore it.
func (t Tensor) Range() (low, high, mean float64) {
	n := len(t.data) / t.envelope.DType.Size()
	low, high = math.Inf(1), math.Inf(-1)
	sum := 0.0
	for i := range n {
		v := float64(t.at(i))
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
		sum += v
	}
	return low, high, sum / float64(n)
}

// ChannelMeans returns the mean of each channel's elements.
func (t Tensor) ChannelMeans() []float64 {
	channels, pictures := t.envelope.Color.Channels(), t.envelope.Pictures()
	pixels := t.envelope.Width() * t.envelope.Height()
	means := make([]float64, channels)
	for c := range means {
		for n := range pictures {
			first, stride := t.channel(n, c)
			for i := range pixels {
				means[c] += float64(t.at(first + i*stride))
			}
		}
		means[c] /= float64(pixels * pictures)
	}
	return means
}

// channel returns the index of the first element of channel c of picture n, and the distance
// from each to the next.
func (t Tensor) channel(n, c int) (first, stride int) {
	e := t.envelope
	channels, pixels := e.Color.Channels(), e.Width()*e.Height()
	switch {
	case !e.Layout.Planar():
		return n*channels*pixels + c, channels
	case e.Layout == transform.NCTHW:
		return (c*e.Pictures() + n) * pixels, 1
	}
	return (n*channels + c) * pixels, 1
}

// Columns returns how many of the tensor's pictures [Tensor.Image] shows side by side: as many
// as lie side by side in the source; of a clip, a square of frames.
func (t Tensor) Columns() int {
	if frames := len(t.envelope.Clip); frames > 0 {
		return int(math.Ceil(math.Sqrt(float64(frames))))
	}
	maps := t.envelope.Affines
	n := 1
	for n < len(maps) && maps[n][5] == maps[0][5] {
		n++
	}
	if len(maps)%n != 0 {
		return 1
	}
	return n
}
