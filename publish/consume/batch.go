package consume

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish/tensor"
)

const (
	defaultBatchSize   = 8
	defaultBatchWithin = 50 * time.Millisecond
)

// BatchOptions are the options of [Batched].
type BatchOptions struct {
	// Size is how many tensors a batch has at most. It has fewer if they would take more
	// than 1 GiB. Default: 8.
	Size int
	// Within is how long after its first tensor was read a batch is given, full or not.
	// Default: 50ms.
	Within time.Duration
}

// A Batch is what [Batched] yields: tensors of one shape that were made in the same way, with
// their elements one after the other in one block of memory; or a delivery that is no tensor.
type Batch struct {
	// Rows are the tensors in the order in which they came, of any streams. All have the same
	// output, spec, shape and type. The Data of each is its part of the block. There is
	// at least one unless Other is set.
	Rows []Delivery
	// Other is a gap or the end of a replay, and nil if there are Rows.
	Other *Delivery

	whole   tensor.Tensor // the first row, with the shape and the elements of all
	release func()
}

// Shape returns the shape of the elements of all rows: that of one, with the sum of the rows
// in the first place. It is nil if there are no Rows.
func (b Batch) Shape() []int { return b.whole.Shape }

// Data returns the elements of all rows: contiguous, little-endian, in C order. They begin at
// a multiple of 64 bytes.
func (b Batch) Data() []byte { return b.whole.Data }

// Float32s is [tensor.Tensor.Float32s] for the elements of all rows.
func (b Batch) Float32s() ([]float32, error) { return b.whole.Float32s() }

// Float16s is [tensor.Tensor.Float16s] for the elements of all rows.
func (b Batch) Float16s() ([]uint16, error) { return b.whole.Float16s() }

// BFloat16s is [tensor.Tensor.BFloat16s] for the elements of all rows.
func (b Batch) BFloat16s() ([]uint16, error) { return b.whole.BFloat16s() }

// Int8s is [tensor.Tensor.Int8s] for the elements of all rows.
func (b Batch) Int8s() ([]int8, error) { return b.whole.Int8s() }

// Uint8s is [tensor.Tensor.Uint8s] for the elements of all rows.
func (b Batch) Uint8s() ([]byte, error) { return b.whole.Uint8s() }

// AppendFloat32s is [tensor.Tensor.AppendFloat32s] for the elements of all rows.
func (b Batch) AppendFloat32s(dst []float32) []float32 {
	for _, row := range b.Rows {
		dst = row.AppendFloat32s(dst)
	}
	return dst
}

// Release says that nothing of the batch is used any more: neither its elements nor those of
// its rows, nor what was made of them without a copy. Their block is then used again for
// another batch. The block of a batch that is not released is left to the garbage collector.
func (b Batch) Release() {
	if b.release != nil {
		b.release()
	}
}

// Ack acknowledges all that the batch holds: see [Delivery.Ack].
func (b Batch) Ack() error { return settle(b.parts(), jetstream.Msg.Ack) }

// Nak asks JetStream for a new delivery of all that the batch holds: see [Delivery.Nak].
func (b Batch) Nak() error { return settle(b.parts(), jetstream.Msg.Nak) }

func (b Batch) parts() []jetstream.Msg {
	var all []jetstream.Msg
	for _, row := range b.Rows {
		all = append(all, row.parts...)
	}
	if b.Other != nil {
		all = append(all, b.Other.parts...)
	}
	return all
}

// Batched returns deliveries in batches, which keep a model busy with fewer calls:
//
//	for b, err := range consume.Batched(ctx, sub.Tensors, consume.BatchOptions{Size: 8}) {
//		switch {
//		case err != nil:
//			log.Print(err)
//		case b.Other != nil:
//			log.Printf("%s: no frames from %v to %v", b.Other.Stream, b.Other.Gap.From, b.Other.Gap.To)
//		default:
//			found := detect(b.Shape(), b.Data())
//			for i, row := range b.Rows {
//				report(row.Stream, row.BoxToSource(found[i]))
//			}
//			b.Release()
//		}
//	}
//
// The deliveries are [Subscription.Tensors], [Consumer.Deliveries] or alike, which Batched
// calls once for each loop. They are read while the loop's body runs, one in advance.
//
// A batch is given when it has o.Size tensors, or o.Within after its first one; it is never
// empty. Tensors that were made otherwise, or are of another shape, go into batches of their
// own, of which 8 are filled at a time. The tensors of a subject stay in order, and so do a
// stream's gaps among them: a batch ends before the gap of a stream that it holds. A
// [*MessageError] comes at once, any other error after the batches that had begun, as does the
// end of ctx. If the loop is left, JetStream gets back what was read and not given.
//
// Each tensor is copied once, and its own memory is released at once: see [Delivery.Release].
func Batched(ctx context.Context, deliveries func(context.Context) iter.Seq2[Delivery, error], o BatchOptions) iter.Seq2[Batch, error] {
	if o.Size <= 0 {
		o.Size = defaultBatchSize
	}
	if o.Within <= 0 {
		o.Within = defaultBatchWithin
	}
	return func(yield func(Batch, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		read := make(chan delivered)
		var reader sync.WaitGroup
		reader.Go(func() { readTo(ctx, read, deliveries) })
		defer reader.Wait()
		defer cancel()
		a := newAssembler(o.Size)
		defer a.giveBack()
		for more := true; more; {
			select {
			case d, ok := <-read:
				if more = ok; ok {
					a.add(d, o.Within)
				} else {
					a.endAll()
				}
			case <-a.due():
				a.end(a.filling[0])
			}
			for len(a.ready) > 0 {
				next := a.ready[0]
				a.ready = a.ready[1:]
				if !yield(next.Batch, next.err) {
					return
				}
			}
		}
	}
}

// delivered is what a loop over deliveries yields.
type delivered struct {
	Delivery
	err error
}

// readTo sends deliveries until ctx ends or there are no more, and closes the channel.
func readTo(ctx context.Context, to chan<- delivered, deliveries func(context.Context) iter.Seq2[Delivery, error]) {
	defer close(to)
	for d, err := range deliveries(ctx) {
		select {
		case to <- delivered{d, err}:
		case <-ctx.Done():
			_ = d.Nak() // at worst it is delivered again after AckWait
			d.Release()
			return
		}
	}
}

// isMessageError tells whether an error is about one message only.
func isMessageError(err error) bool {
	var broken *MessageError
	return errors.As(err, &broken)
}
