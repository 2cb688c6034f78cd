package source

import (
	"math/bits"
	"sync"
)

// Buffers recycles memory for data of many sizes, such as pictures and tensors, so that a
// stream of frames does not allocate megabytes for each of them. Every buffer has a note,
// which it keeps from one use to the next. The zero value is ready to use, and safe for
// concurrent use. The garbage collector eventually frees buffers that are not in use.
type Buffers[Note any] struct {
	// Eight sizes for every doubling: at most an eighth of a buffer is wasted.
	classes [8 * 64]sync.Pool
}

// A Buffer is memory from [Buffers].
type Buffer[Note any] struct {
	// Data has the length that was asked for, and arbitrary content.
	Data []byte
	Note Note
}

// minBuffer is the size of the smallest buffers: large enough that the allocator aligns
// them for every element type.
const minBuffer = 64

// Get returns a buffer of n bytes: a new one, or one that was handed back.
func (b *Buffers[Note]) Get(n int) *Buffer[Note] {
	class, size := sizeClass(n)
	buffer, ok := b.classes[class].Get().(*Buffer[Note])
	if !ok {
		buffer = &Buffer[Note]{Data: make([]byte, size)}
	}
	buffer.Data = buffer.Data[:n]
	return buffer
}

// Put hands back a buffer from Get that nobody uses any more.
func (b *Buffers[Note]) Put(buffer *Buffer[Note]) {
	class, _ := sizeClass(cap(buffer.Data))
	b.classes[class].Put(buffer)
}

// sizeClass returns the size class for n bytes, and the size of its buffers.
func sizeClass(n int) (class, size int) {
	n = max(n, minBuffer)
	shift := bits.Len(uint(n-1)) - 4
	steps := (n-1)>>shift + 1 // 9 to 16
	return shift*8 + steps - 9, steps << shift
}
