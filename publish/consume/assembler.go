package consume

import (
	"fmt"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/publish/tensor"
	"github.com/cvfeeder/cvfeeder/transform"
)

const (
	maxFilling    = 8       // batches that may be incomplete at a time
	maxBatchBytes = 1 << 30 // of a block, unless a single tensor is larger
	idleBlocks    = 64 << 20
	blockAlign    = 64 // bytes: a cache line, and the widest vector register
)

// An assembler puts deliveries into batches.
type assembler struct {
	size    int
	filling []*filling // the one that began first comes first
	ready   []readyBatch
	blocks  *blocks
}

type readyBatch struct {
	Batch
	err error
}

// A filling is a batch that is not complete.
type filling struct {
	kind  batchKind
	size  int
	block []byte // for all rows
	rows  []Delivery
	timer *time.Timer
}

// A batchKind is what the rows of a batch have in common. The spec stands for most of it, if
// whoever sends it is honest.
type batchKind struct {
	output, spec string
	dtype        transform.DType
	layout       transform.Layout
	color        transform.Color
	rank         int
	shape        [5]int
	normalized   bool
	scale        float64
	mean, std    [3]float64
	quant        [2]float64
}

func kindOf(t tensor.Tensor) batchKind {
	k := batchKind{
		output: t.Output, spec: t.Spec, dtype: t.DType, layout: t.Layout, color: t.Color,
		rank: len(t.Shape), normalized: t.Normalized, scale: t.Scale,
	}
	k.quant = [2]float64{t.QuantScale, float64(t.QuantZeroPoint)}
	copy(k.shape[:], t.Shape)
	copy(k.mean[:], t.Mean)
	copy(k.std[:], t.Std)
	return k
}

func newAssembler(size int) *assembler {
	return &assembler{size: size, blocks: &blocks{limit: idleBlocks}}
}

// due returns what says that the first batch is to be ended, or nil if none has begun.
func (a *assembler) due() <-chan time.Time {
	if len(a.filling) == 0 {
		return nil
	}
	return a.filling[0].timer.C
}

func (a *assembler) add(d delivered, within time.Duration) {
	if d.err == nil && d.ContentType != "" {
		d.err = &MessageError{d.Subject, fmt.Errorf("a picture encoded as %s cannot be in a batch: read it with a loop of its own", d.ContentType)}
		d.Release()
	}
	switch {
	case d.err != nil:
		if !isMessageError(d.err) {
			a.endAll()
		}
		a.ready = append(a.ready, readyBatch{err: d.err})
	case d.Gap != nil || d.End != nil:
		a.endThose(func(f *filling) bool { return f.has(func(row Delivery) bool { return row.Stream == d.Stream }) })
		a.ready = append(a.ready, readyBatch{Batch: Batch{Other: &d.Delivery}})
	default:
		a.addTensor(d.Delivery, within)
	}
}

func (a *assembler) addTensor(d Delivery, within time.Duration) {
	kind := kindOf(d.Tensor)
	// What a camera sends after a change of its size stays behind what it sent before.
	a.endThose(func(f *filling) bool {
		return f.kind != kind && f.has(func(row Delivery) bool { return row.Subject == d.Subject })
	})
	i := slices.IndexFunc(a.filling, func(f *filling) bool { return f.kind == kind })
	if i < 0 {
		if len(a.filling) == maxFilling {
			a.end(a.filling[0])
		}
		i = len(a.filling)
		size := max(1, min(a.size, maxBatchBytes/len(d.Data)))
		a.filling = append(a.filling, &filling{
			kind: kind, size: size, block: a.blocks.take(size * len(d.Data)), timer: time.NewTimer(within),
		})
	}
	f := a.filling[i]
	if f.add(d); len(f.rows) == f.size {
		a.end(f)
	}
}

func (f *filling) has(which func(Delivery) bool) bool { return slices.ContainsFunc(f.rows, which) }

// add copies a tensor into the block, and releases its own memory.
func (f *filling) add(d Delivery) {
	n := len(d.Data)
	at := n * len(f.rows)
	row := f.block[at : at+n : at+n]
	copy(row, d.Data)
	d.Release()
	d.Data, d.release = row, nil
	f.rows = append(f.rows, d)
}

// end makes a batch of what has come for it.
func (a *assembler) end(f *filling) {
	f.timer.Stop()
	a.filling = slices.DeleteFunc(a.filling, func(other *filling) bool { return other == f })
	whole := f.rows[0].Tensor
	whole.Shape = slices.Clone(whole.Shape)
	whole.Shape[0] *= len(f.rows)
	whole.Data = f.block[:len(f.rows)*len(f.rows[0].Data)]
	b := Batch{Rows: f.rows, whole: whole, release: sync.OnceFunc(func() { a.blocks.put(f.block) })}
	a.ready = append(a.ready, readyBatch{Batch: b})
}

func (a *assembler) endThose(which func(*filling) bool) {
	for _, f := range slices.Clone(a.filling) {
		if which(f) {
			a.end(f)
		}
	}
}

func (a *assembler) endAll() { a.endThose(func(*filling) bool { return true }) }

// giveBack has JetStream deliver again what nobody has taken.
func (a *assembler) giveBack() {
	a.endAll()
	for _, b := range a.ready {
		_ = b.Nak() // at worst it is delivered again after AckWait
	}
	a.ready = nil
}

// blocks is memory for batches that is used again.
type blocks struct {
	mu    sync.Mutex
	free  [][]byte // the longest unused first
	idle  int      // bytes of those
	limit int      // of idle
}

// take returns memory for n bytes. Those that wait for their next use are bounded, but three of
// the largest have room: one is filled while another is read.
func (b *blocks) take(n int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = max(b.limit, 3*n)
	for i, block := range slices.Backward(b.free) { // the warmest first
		if len(block) == n {
			b.free = slices.Delete(b.free, i, i+1)
			b.idle -= n
			return block
		}
	}
	memory := make([]byte, n+blockAlign-1)
	address := uintptr(unsafe.Pointer(unsafe.SliceData(memory))) //nolint:gosec // only to count from it
	at := int(-address % blockAlign)
	return memory[at : at+n : at+n]
}

func (b *blocks) put(block []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, block)
	for b.idle += len(block); b.idle > b.limit; {
		b.idle -= len(b.free[0])
		b.free = slices.Delete(b.free, 0, 1)
	}
}
