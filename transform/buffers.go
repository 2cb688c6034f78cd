package transform

import (
	"image"
	"runtime"

	"github.com/cvfeeder/cvfeeder/source"
)

// Buffers recycles the memory of tensors, as [source.Buffers] does. The zero value is
// ready; it may be used by many goroutines.
type Buffers struct {
	// Shared, where set, is asked first for the memory of each tensor.
	Shared Shared

	memory source.Buffers[Padding] // the note is that of the last tensor
}

// Shared is memory that other processes can read: see publish/memory.
type Shared interface {
	// Slot returns n bytes of it, aligned to 64, and false where there is no room.
	Slot(n int) (Slot, bool)
}

// A Slot is shared memory for one tensor.
type Slot interface {
	Data() []byte
	// Keep notes the padding that the tensor will have, and tells whether the last tensor
	// has left it in the memory.
	Keep(Padding) (padded bool)
	// Share lets others read the data, which must not change any more, and returns where they
	// find it: those who are told so on a subject. It returns "" if they cannot any more.
	Share(subject string) string
	// Release gives the memory back. It is called once.
	Release()
}

// A Padding describes the elements around the picture in a tensor: tensors with equal
// Paddings have the same ones.
type Padding struct {
	Spec Spec
	// Picture is where each picture of the tensor lies in its part of it, in pixels.
	Picture image.Rectangle
	// Pictures is how many there are.
	Pictures int
}

// Tensor returns a tensor with n bytes of Data. If padded is true, an earlier tensor has
// left the same padding there, and only the picture has to be written. Otherwise Data
// may hold anything. [Tensor.Release] hands the memory back; by then the padding must be
// complete.
func (b *Buffers) Tensor(n int, padding Padding) (t *Tensor, padded bool) {
	if b.Shared != nil {
		if slot, ok := b.Shared.Slot(n); ok {
			return inSlot(slot), slot.Keep(padding)
		}
	}
	memory := b.memory.Get(n)
	padded = memory.Note == padding
	memory.Note = padding
	return &Tensor{Data: memory.Data, release: func() { b.memory.Put(memory) }}, padded
}

// Picture returns a tensor with n bytes of Data for an encoded picture, which may hold anything.
// It is never in shared memory, whose slots have the size of tensors.
func (b *Buffers) Picture(n int) *Tensor {
	memory := b.memory.Get(n)
	memory.Note = Padding{}
	return &Tensor{Data: memory.Data, release: func() { b.memory.Put(memory) }}
}

// inSlot returns a tensor in a slot, which is given back also if nobody calls Release.
func inSlot(slot Slot) *Tensor {
	t := &Tensor{Data: slot.Data(), share: slot.Share}
	forgotten := runtime.AddCleanup(t, Slot.Release, slot)
	t.release = func() {
		forgotten.Stop()
		slot.Release()
	}
	return t
}
