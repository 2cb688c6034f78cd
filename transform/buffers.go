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

// A Padding is what surrounds the picture in a tensor: it is that of another tensor
// with an equal Padding.
type Padding struct {
	Spec Spec
	// Picture is where the picture's pixels are in the tensor.
	Picture image.Rectangle
}

// Tensor returns a tensor with Data of n bytes, whose content is arbitrary: all of
// it where padded is false, that of the picture where it is true, because a tensor
// with the same padding was there before. [Tensor.Release] hands the memory back,
// and may be called only once the padding is there.
func (b *Buffers) Tensor(n int, padding Padding) (t *Tensor, padded bool) {
	memory := b.memory.Get(n)
	padded = memory.Note == padding
	memory.Note = padding
	return &Tensor{Data: memory.Data, release: func() { b.memory.Put(memory) }}, padded
}
