package transform

import (
	"image"

	"github.com/cvfeeder/cvfeeder/source"
)

// Buffers recycles the memory of tensors, as [source.Buffers] does. The zero value is
// ready; it may be used by many goroutines.
type Buffers struct {
	memory source.Buffers[Padding] // the note is that of the last tensor
}

// A Padding describes the elements around the picture in a tensor: tensors with equal
// Paddings have the same ones.
type Padding struct {
	Spec Spec
	// Picture is where the picture lies in the tensor, in its pixels.
	Picture image.Rectangle
}

// Tensor returns a tensor with n bytes of Data. If padded is true, an earlier tensor has
// left the same padding there, and only the picture has to be written. Otherwise Data
// may hold anything. [Tensor.Release] hands the memory back; by then the padding must be
// complete.
func (b *Buffers) Tensor(n int, padding Padding) (t *Tensor, padded bool) {
	memory := b.memory.Get(n)
	padded = memory.Note == padding
	memory.Note = padding
	return &Tensor{Data: memory.Data, release: func() { b.memory.Put(memory) }}, padded
}
