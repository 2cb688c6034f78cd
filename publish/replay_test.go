package publish_test

import (
	"testing"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// TestReplayMessages: messages of a job have identities of their own, which another job or the
// live stream does not own, and an end is told from a tensor.
func TestReplayMessages(t *testing.T) {
	const at = source.Slot(1_767_322_445_000)
	out := &transform.Output{Name: "detector", Fingerprint: "f1"}
	gap := publish.NewInlineGap("cvf.r.j1.cam-1.detector", publish.Gap{Stream: "cam-1", From: at, To: at, Slots: 1, Reason: "no_media"}, out)
	m := publish.ForReplay(gap, "j1")
	if len(gap.Header[publish.HeaderReplay]) > 0 {
		t.Error("the message that was given has changed")
	}
	pos, err := publish.ParsePosition(m.Header)
	if err != nil {
		t.Fatal(err)
	}
	own := publish.Origin{Stream: "cam-1", Output: "detector", Spec: "f1", Job: "j1"}
	if publish.OriginOf(m.Header) != own || !own.Owns(m.Header, pos) {
		t.Errorf("%+v does not own %v", own, m.Header)
	}
	for _, job := range []string{"", "j2"} {
		other := own
		other.Job = job
		if other.Owns(m.Header, pos) {
			t.Errorf("job %q owns what is of another", job)
		}
	}
	if live := (publish.Origin{Stream: "cam-1", Output: "detector", Spec: "f1"}); !live.Owns(gap.Header, pos) {
		t.Error("the live stream no longer owns its messages")
	}

	want := publish.End{Stream: "cam-1", Output: "detector", Job: "j1", To: at + 1000, Streams: 3}
	end := publish.NewEnd("cvf.r.j1.cam-1.detector", want, out)
	if got, err := publish.ParseEnd(end.Header); err != nil || got != want || end.Kind() != publish.KindEnd || len(end.Data) > 0 {
		t.Errorf("%+v, %v, kind %v", got, err, end.Kind())
	}
	after, err := publish.ParsePosition(end.Header)
	if err != nil || !own.Owns(end.Header, after) || !after.AtOrAfter(pos) || pos.AtOrAfter(after) {
		t.Errorf("the end is at %+v, %v", after, err)
	}
}
