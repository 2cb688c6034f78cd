package transform

import (
	"image"
	"math/bits"
	"sync"
)

// Buffers recycles the memory of tensors, so that a stream of frames does not
// allocate megabytes for each. The zero value is ready; it may be used by many
// goroutines. What is not in use is left to the garbage collector in time.
type Buffers struct {
	// Eight sizes for every doubling: at most an eighth of a buffer is waste.
	classes [8 * 64]sync.Pool
}

// minBuffer is the smallest buffer. It is large enough for the allocator to
// align it for every element type.
const minBuffer = 64

// A Padding is what surrounds the picture in a tensor: it is that of another tensor
// with an equal Padding.
type Padding struct {
	Spec Spec
	// Picture is where the picture's pixels are in the tensor.
	Picture image.Rectangle
}

// A buffer is the memory of one tensor after another.
type buffer struct {
	data    []byte
	padding Padding // of the last one
}

// Tensor returns a tensor with Data of n bytes, whose content is arbitrary: all of
// it where padded is false, that of the picture where it is true, because a tensor
// with the same padding was there before. [Tensor.Release] hands the memory back,
// and may be called only once the padding is there.
func (b *Buffers) Tensor(n int, padding Padding) (t *Tensor, padded bool) {
	class, size := sizeClass(n)
	memory, ok := b.classes[class].Get().(*buffer)
	if !ok {
		memory = &buffer{data: make([]byte, size)}
	}
	padded = memory.padding == padding
	memory.padding = padding
	return &Tensor{Data: memory.data[:n], release: func() { b.classes[class].Put(memory) }}, padded
}

// sizeClass returns the class of a buffer of n bytes and the size of its
// buffers.
func sizeClass(n int) (class, size int) {
	n = max(n, minBuffer)
	shift := bits.Len(uint(n-1)) - 4
	steps := (n-1)>>shift + 1 // 9 to 16
	return shift*8 + steps - 9, steps << shift
}
