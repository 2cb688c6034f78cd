package poll

import (
	"slices"

	"github.com/cvfeeder/cvfeeder/source"
)

// hold keeps a frame until all earlier slots are settled.
func (p *Poller) hold(f source.Frame) {
	i, _ := slices.BinarySearchFunc(p.held, f.Slot, func(h source.Frame, s source.Slot) int { return int(h.Slot - s) })
	p.held = slices.Insert(p.held, i, f)
	p.heldBytes.Add(int64(len(f.Data)))
}

// release yields the held frames that no longer wait for an earlier slot. It returns
// false when the caller wants no more.
func (p *Poller) release(yield func(source.Frame, error) bool) bool {
	p.ledger.skip()
	first, missing := p.ledger.Wanted(0)
	for len(p.held) > 0 && (!missing || p.held[0].Slot < first) {
		f := p.held[0]
		p.held = slices.Delete(p.held, 0, 1)
		p.heldBytes.Add(-int64(len(f.Data)))
		if !yield(f, nil) {
			return false
		}
	}
	return true
}

// discard drops the frames that are still held when the sequence ends.
func (p *Poller) discard() {
	for _, f := range p.held {
		p.heldBytes.Add(-int64(len(f.Data)))
		if f.Recycle != nil {
			f.Recycle()
		}
	}
	p.held = nil
}
