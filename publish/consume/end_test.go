package consume

import (
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// TestEndOfAReplay: a consumer is told of the end of a replay, which is no tensor.
func TestEndOfAReplay(t *testing.T) {
	want := publish.End{Stream: "cam-1", Output: "detector", Job: "j1", To: source.SlotAt(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)), Streams: 3}
	m := publish.NewEnd("cvf.r.j1.cam-1.detector", want, &transform.Output{Name: "detector", Fingerprint: "f1"})
	d, err := newDelivery(m)
	if err != nil || d.End == nil || *d.End != want || d.Gap != nil || d.Stream != "cam-1" || d.Subject != m.Subject {
		t.Errorf("%+v, %v", d, err)
	}
	delete(m.Header, publish.HeaderStream)
	if _, err := newDelivery(m); err == nil {
		t.Error("an end without a stream was accepted")
	}
}
