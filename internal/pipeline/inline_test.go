package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

// saved returns the cursor that the next run finds, 0 where there is none.
func saved(c *sourcetest.Cursors, key string) source.Slot {
	cursor, _ := c.Restart().Load(key)
	return cursor
}

// TestInlineGaps: gaps come among the tensors, on every subject, and the cursor
// stays before those that could not be told.
func TestInlineGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := source.SlotAt(time.Now())
		number := func(s source.Slot) int { return int(s.Sub(begin) / source.MinInterval) }
		r := &rig{bad: func(s source.Slot) bool { n := number(s); return n >= 10 && n < 13 || n == 40 }}
		r.out.Gaps = publish.InlineGaps
		cursors := &sourcetest.Cursors{}
		r.build(t, 1, 10*time.Second, func(o *Options, streams []Stream) {
			o.Cursors = cursors
			streams[0].Key = "cam-1"
		})
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, subject := range []string{"cam-1.a", "cam-1.b"} {
			next := begin
			gaps := 0
			for _, m := range r.out.Received(subject) {
				pos, err := publish.ParsePosition(m.Header)
				if err != nil {
					t.Fatal(err)
				}
				if pos.First != next {
					t.Fatalf("%s: %v came where %v is next", subject, pos.First, next)
				}
				next = pos.Last.Add(source.MinInterval)
				if m.Header["Cvf-Gap"] != nil { // a gap that goes on may come in pieces
					gap, err := publish.ParseInlineGap(m.Header)
					if err != nil || gap.Reason != "undecodable" {
						t.Errorf("%+v, %v", gap, err)
					}
					gaps += gap.Slots
				}
			}
			if gaps != 4 || number(next) != 50 {
				t.Errorf("%s: %d slots in gaps, up to slot %d", subject, gaps, number(next))
			}
		}
		if saved(cursors, "cam-1") != begin.Add(10*time.Second) {
			t.Errorf("the cursor is %v", saved(cursors, "cam-1"))
		}
		if gaps := r.gaps(t, "cam-1"); len(gaps) != 0 {
			t.Errorf("announced as well: %v", gaps)
		}
	})
}
