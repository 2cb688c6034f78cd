package poll

import "github.com/cvfeeder/cvfeeder/source"

// charge says in the window why each of its images is asked for, and takes note of what was
// asked for. Windows that have a cause of their own keep it.
func (p *Poller) charge(w Window) Window {
	if w.Cause == source.ForLive {
		w.Cause = p.opts.Cause
		first, some := p.ledger.Wanted(w.Start)
		if !some || first > w.End {
			first = w.End + 1
		}
		w.Overlap = slotsBefore(w, first)
		w.Again = max(slotsBefore(w, p.charged+1)-w.Overlap, 0)
	}
	p.charged = max(p.charged, w.End)
	return w
}

// slotsBefore returns how many slots of a window are before an instant.
func slotsBefore(w Window, s source.Slot) int {
	if s <= w.Start || w.Interval <= 0 {
		return 0
	}
	return min(int((s.Sub(w.Start)+w.Interval-1)/w.Interval), w.Slots())
}
