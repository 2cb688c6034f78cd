package transform

import (
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

// Tensor returns a tensor with Data of n bytes, whose content is arbitrary.
// [Tensor.Release] hands the memory back.
func (b *Buffers) Tensor(n int) *Tensor {
	class, size := sizeClass(n)
	memory, ok := b.classes[class].Get().(*[]byte)
	if !ok {
		fresh := make([]byte, size)
		memory = &fresh
	}
	return &Tensor{Data: (*memory)[:n], release: func() { b.classes[class].Put(memory) }}
}

// sizeClass returns the class of a buffer of n bytes and the size of its
// buffers.
func sizeClass(n int) (class, size int) {
	n = max(n, minBuffer)
	shift := bits.Len(uint(n-1)) - 4
	steps := (n-1)>>shift + 1 // 9 to 16
	return shift*8 + steps - 9, steps << shift
}
