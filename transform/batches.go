package transform

import (
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Batch says which streams have a row in one tensor, for models that need several cameras at
// one instant.
type Batch struct {
	// Name takes the place of the stream's.
	Name string
	// Streams are the names of the streams, in the order of the rows.
	Streams []string
	// Wait is how long after the first row of a slot the others may come.
	Wait time.Duration
}

// Slots returns how many slots of an interval a stream comes to while a batch waits, the first
// one included.
func (b Batch) Slots(interval time.Duration) int {
	return int((b.Wait+interval-1)/interval) + 1
}

// A Row says what a row of a batch is.
type Row struct {
	Stream string
	// Missing is true if the stream had no picture. The row is padding then, and its map is zero.
	Missing bool
	// Source is the size of the decoded picture in pixels, 0x0 if it is missing.
	Source image.Point
}

// ErrBatchGone says that a row came when the batch of its slot had been made.
var ErrBatchGone = errors.New("its batch had gone without it")

// Batches makes the batches of one output. Each stream comes to its slots in their order, with a
// row or without one. A batch is made once all of its streams have come to its slot, and after
// its wait at the latest, without the rows that are missing; those of earlier slots are made
// before it, so that batches are in the order of their slots. It has no clock and starts nothing:
// the time is passed in. Only one goroutine may use it at a time.
type Batches struct {
	output  *Output
	batch   Batch
	buffers *Buffers

	filling []*filling    // by slot
	reached []source.Slot // by stream: the newest slot that it has come to
	last    source.Slot   // of the last batch
	padding []byte        // the row of a missing picture
}

// A filling is a batch that is not made yet.
type filling struct {
	slot source.Slot
	due  time.Time
	rows []*Tensor // by stream, nil where there is none
}

// NewBatches returns the batches of an output. The buffers give them their memory.
func NewBatches(o *Output, b Batch, buffers *Buffers) *Batches {
	return &Batches{output: o, batch: b, buffers: buffers, reached: make([]source.Slot, len(b.Streams))}
}

// Join says that the stream with an index begins: batches wait for it.
func (b *Batches) Join(stream int) { b.reached[stream] = 0 }

// Leave says that a stream has ended: no batch waits for it any more.
func (b *Batches) Leave(stream int) { b.reached[stream] = math.MaxInt64 }

// Pass says that a stream has come to a slot without a row.
func (b *Batches) Pass(stream int, s source.Slot) {
	b.reached[stream] = max(b.reached[stream], s)
}

// Add adds a row, a tensor of one picture, which came at a time. Batches own it then, unless there
// is an error: [ErrBatchGone], or that it has not the size of the other rows.
func (b *Batches) Add(stream int, row *Tensor, came time.Time) error {
	if row.Slot <= b.reached[stream] { // a clock was wrong, and the stream was taken back
		b.last = min(b.last, row.Slot-1)
	}
	b.reached[stream] = row.Slot
	if row.Slot <= b.last {
		return ErrBatchGone
	}
	at, found := slices.BinarySearchFunc(b.filling, row.Slot, func(f *filling, s source.Slot) int { return int(f.slot - s) })
	if !found {
		b.filling = slices.Insert(b.filling, at, &filling{slot: row.Slot, due: came.Add(b.batch.Wait), rows: make([]*Tensor, len(b.reached))})
	}
	f := b.filling[at]
	if first := f.first(); first != nil && !slices.Equal(first.Shape, row.Shape) {
		return fmt.Errorf("the row has the shape %v, and others %v", row.Shape, first.Shape)
	}
	f.rows[stream] = row
	return nil
}

// first returns the first row that is there.
func (f *filling) first() *Tensor {
	for _, row := range f.rows {
		if row != nil {
			return row
		}
	}
	return nil
}

// settled tells whether nothing more can come for a batch.
func (b *Batches) settled(f *filling) bool {
	return !slices.ContainsFunc(b.reached, func(s source.Slot) bool { return s < f.slot })
}

// Due returns when the next batch is made at the latest, and false if none waits.
func (b *Batches) Due() (at time.Time, some bool) {
	for _, f := range b.filling {
		if !some || f.due.Before(at) {
			at, some = f.due, true
		}
	}
	return at, some
}

// Take makes the next batch, nil if none is ready at the time now.
func (b *Batches) Take(now time.Time) *Tensor {
	due, some := b.Due()
	if !some || due.After(now) && !b.settled(b.filling[0]) {
		return nil
	}
	f := b.filling[0]
	b.filling = slices.Delete(b.filling, 0, 1)
	b.last = f.slot
	return b.make(f)
}

// Bytes returns how many bytes the rows that wait take.
func (b *Batches) Bytes() (n int64) {
	for _, f := range b.filling {
		for _, row := range f.rows {
			if row != nil {
				n += int64(len(row.Data))
			}
		}
	}
	return n
}

// make returns a batch, and releases its rows.
func (b *Batches) make(f *filling) *Tensor {
	first := f.first()
	size := len(first.Data)
	t, _ := b.buffers.Tensor(size*len(f.rows), Padding{})
	t.Stream, t.Slot, t.Capture, t.Output = b.batch.Name, f.slot, first.Capture, b.output
	t.Shape = append([]int{len(f.rows)}, first.Shape[1:]...)
	t.Affines, t.Batch = make([]Affine, len(f.rows)), make([]Row, len(f.rows))
	for i, row := range f.rows {
		t.Batch[i].Stream = b.batch.Streams[i]
		dst := t.Data[i*size:][:size]
		if row == nil {
			t.Batch[i].Missing = true
			copy(dst, b.padded(first))
			continue
		}
		copy(dst, row.Data)
		t.Batch[i].Source = row.Source
		if len(row.Affines) > 0 {
			t.Affines[i] = row.Affines[0]
		}
	}
	for _, row := range f.rows {
		if row != nil {
			row.Release()
		}
	}
	return t
}

// padded returns the row of a picture that is missing, as long as another one.
func (b *Batches) padded(row *Tensor) []byte {
	if len(b.padding) != len(row.Data) {
		b.padding = b.output.Spec.plain(row, b.output.Spec.Padding)
	}
	return b.padding
}
