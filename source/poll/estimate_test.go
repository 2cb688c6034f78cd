package poll

import (
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// TestEstimateWithoutLength has media that begins after the newest slot, as listings have if
// slots are further apart than fragments are long: nothing can be learned about its length.
func TestEstimateWithoutLength(t *testing.T) {
	const interval = 10 * time.Second
	l := estimate{interval: interval}
	edge := source.Slot(1767323040000)
	for range sampleSize {
		edge = edge.Add(interval)
		l.advance(edge.Add(interval+time.Second), edge, edge.Add(3*time.Second))
		l.advance(edge.Add(interval), edge, edge.Add(3*time.Second))
	}
	if f, known := l.fragment(); known || l.steady() {
		t.Errorf("a fragment of %v", f)
	}
	if l.longest() != MaxFragment {
		t.Errorf("longest %v", l.longest())
	}
}
