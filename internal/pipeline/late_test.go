package pipeline

import (
	"context"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

// lateFeed is a feed of which one slot has no picture, until another one has come. The clock
// of its slots is behind.
type lateFeed struct {
	*sourcetest.Feed
	lost, until source.Slot
}

func (f *lateFeed) Frames(ctx context.Context) iter.Seq2[source.Frame, error] {
	return func(yield func(source.Frame, error) bool) {
		for frame, err := range f.Feed.Frames(ctx) {
			if !yield(frame, err) {
				return
			}
			late := source.Frame{Stream: frame.Stream, Slot: f.lost, Data: []byte("late"), Late: true}
			if frame.Slot == f.until && f.Ledger.Amend(f.lost) && !yield(late, nil) {
				return
			}
		}
	}
}

// TestLateFrames: a frame that turned up after its slot had ended is published out of order,
// with a mark, however old it is; not by a delivery that promises order. Its slot's outcome
// stays.
func TestLateFrames(t *testing.T) {
	for _, inOrder := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			begin := source.SlotAt(time.Now())
			lost, until := begin.Add(2*time.Second), begin.Add(20*time.Second)
			r := &rig{}
			r.build(t, 1, 30*time.Second, func(o *Options, streams []Stream) {
				o.InOrder = inOrder
				streams[0].Freshness = 5 * time.Second
				streams[0].Open = func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
					l.Remember(time.Hour)
					return &lateFeed{lost: lost, until: until, Feed: &sourcetest.Feed{
						Ledger: l, Stream: "cam-1", To: streams[0].To, Fetched: fetched, Picture: func(s source.Slot) ([]byte, error) {
							if s == lost {
								return nil, source.ErrNoMedia
							}
							return []byte("picture"), nil
						},
					}}
				}
			})
			if err := r.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			var late, before []publish.Message
			for _, m := range r.out.Received("cam-1.a") {
				if len(m.Header[publish.HeaderLate]) > 0 {
					late = append(late, m)
				} else if late == nil {
					before = append(before, m)
				}
			}
			st := r.Streams()[0].Stats
			if st.Late != 1 || st.Ended[source.NoMedia] != 1 || st.Ended[source.Published] != 149 || st.Expected != 150 {
				t.Errorf("%+v", st)
			}
			switch {
			case inOrder && late != nil:
				t.Errorf("published out of order: %v", late)
			case !inOrder && (len(late) != 1 || late[0].Header[publish.HeaderTime][0] != lost.String() || string(late[0].Data) != "late" || !late[0].Expires.IsZero()):
				t.Errorf("late: %v", late)
			case !inOrder && len(before) != 100: // all but the lost one, up to the one after which it turned up
				t.Errorf("%d came before it", len(before))
			}
		})
	}
}
