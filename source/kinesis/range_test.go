package kinesis

import (
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// TestRangeHasTheWindowsSlots: what is asked for has as many images as the window has slots,
// wherever it ends between two of them, and includes the last.
func TestRangeHasTheWindowsSlots(t *testing.T) {
	s := &Stream{opts: StreamOptions{Name: "cam-1"}}
	const start, interval = source.Slot(1767355200000), 200 * time.Millisecond
	for length := range 601 {
		w := poll.Window{Start: start, End: start + 2000 + source.Slot(length), Interval: interval}
		in := s.input(w)
		asked := int(in.EndTimestamp.Sub(*in.StartTimestamp)/interval) + 1
		last := w.Start.Add(time.Duration(w.Slots()-1) * interval)
		if asked != w.Slots() || !in.EndTimestamp.After(last.Time()) {
			t.Fatalf("%v long: %d slots, %d asked for, to %v", w.End.Sub(w.Start), w.Slots(), asked, in.EndTimestamp)
		}
	}
}
