package pipeline

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// TestNobodyListens: outputs that nobody listens to are not made, and a frame of
// which none is wanted is not even decoded; its slot is unwatched.
func TestNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var decoded atomic.Int64
		r := &rig{decode: func(source.Slot) time.Duration { decoded.Add(1); return 0 }}
		r.unheard = func(subject string) bool { return !strings.HasPrefix(subject, "cam-1.") || subject == "cam-1.b" }
		r.build(t, 2, 20*time.Second, nil)
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for subject, want := range map[string]int{"cam-1.a": 100, "cam-1.b": 0, "cam-2.a": 0, "cam-2.b": 0} {
			if n := len(r.slots(t, subject)); n != want {
				t.Errorf("%s: %d tensors, want %d", subject, n, want)
			}
		}
		if n := decoded.Load(); n != 100 {
			t.Errorf("%d frames were decoded", n)
		}
		for i, want := range []source.Outcome{source.Published, source.Unwatched} {
			if st := r.Streams()[i].Stats; st.Ended[want] != 100 || st.Gaps != [len(st.Gaps)]uint64{} || st.Newest == 0 {
				t.Errorf("%+v", st)
			}
		}
	})
}
