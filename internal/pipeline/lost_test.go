package pipeline

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/logging"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

// TestTheBrokerLosesMessages: a stream of which the broker has lost slots goes back to the
// first of them, its saved cursor too, and publishes them again, in order. The other
// stream goes on.
func TestTheBrokerLosesMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := source.SlotAt(time.Now())
		at := func(n int) source.Slot { return begin.Add(time.Duration(n) * source.MinInterval) }
		told, back := false, source.Slot(0)
		cursors := &sourcetest.Cursors{}
		r := &rig{
			bad:    func(s source.Slot) bool { return s == at(22) },
			decode: func(source.Slot) time.Duration { return 300 * time.Millisecond }, // several are in flight
		}
		r.refuse = func(m publish.Message) error {
			if m.Subject != "cam-1.b" {
				return nil
			}
			pos, err := publish.ParsePosition(m.Header)
			switch {
			case err != nil:
				return err
			case pos.First == at(30) && !told:
				told = true
				return &publish.LostError{Subject: m.Subject, From: at(18)}
			case pos.First == at(18) && told:
				back = saved(cursors, "cam-1")
			}
			return nil
		}
		book := &logbook{}
		r.build(t, 2, 10*time.Second, func(o *Options, streams []Stream) {
			o.Cursors, o.Log = cursors, logging.New(book, logging.Options{JSON: true})
			for i := range streams {
				streams[i].Key = streams[i].Name
			}
		})
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		var want, other []source.Slot
		for _, span := range [][2]int{{0, 30}, {18, 50}} {
			for n := span[0]; n < span[1]; n++ {
				if n != 22 {
					want = append(want, at(n))
				}
			}
		}
		for n := range 50 {
			if n != 22 {
				other = append(other, at(n))
			}
		}
		if got := r.slots(t, "cam-1.b"); !slices.Equal(got, want) {
			t.Errorf("published %v, want %v", got, want)
		}
		if got := r.slots(t, "cam-2.b"); !slices.Equal(got, other) {
			t.Errorf("the other stream published %v", got)
		}
		st := r.Streams()[0].Stats
		if st.Withdrawn != 12 || st.Expected != 62 || st.Ended[source.Published] != 60 || st.Ended[source.Undecodable] != 2 || st.Pending != 0 {
			t.Errorf("the ledger says %+v", st)
		}
		if end := saved(cursors, "cam-1"); end != at(50) || back == 0 {
			t.Errorf("the cursor was %v when it went back, and ends at %v", back, end)
		}
		if n := strings.Count(book.text.String(), "messages that NATS had acknowledged are lost"); n != 1 {
			t.Errorf("the loss was logged %d times:\n%s", n, book.text.String())
		}
	})
}
