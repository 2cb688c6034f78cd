package kinesis_test

import (
	"image"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

// plain is a scene of one small grey picture.
type plain struct{}

func (plain) Key(string, time.Time) string { return "" }

func (plain) Picture(string, time.Time) (image.Image, error) {
	return image.NewGray(image.Rect(0, 0, 16, 16)), nil
}

// TestPollTheService runs the poller over the SDK against the fake for minutes of fake time,
// and compares what arrived with what was there.
func TestPollTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const length, grace = 10 * time.Minute, 10 * time.Second
		begin := time.Now()
		outage := kinesistest.Interval{From: begin.Add(3 * time.Minute), To: begin.Add(3*time.Minute + 20*time.Second)}
		s := serve(t, kinesistest.Options{
			Streams: []kinesistest.Stream{{Name: "cam-1", Outages: []kinesistest.Interval{outage}}},
			Delay:   1200 * time.Millisecond,
		}, kinesis.Options{})
		grid, err := source.NewGrid(source.MinInterval)
		if err != nil {
			t.Fatal(err)
		}
		ledger := source.NewLedger(grid, source.SlotAt(begin))
		poller := poll.New(s.stream("cam-1"), ledger, poll.Options{
			Lag: poll.Auto, Overlap: poll.Auto, Grace: grace, To: source.SlotAt(begin.Add(length)),
		})
		next := source.SlotAt(begin)
		for f, err := range poller.Frames(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if f.Slot.Time().Equal(outage.From) {
				t.Errorf("a frame of the outage")
			}
			if f.Slot == next.Add(20*time.Second) && next.Time().Equal(outage.From) {
				next = f.Slot
			}
			if f.Slot != next {
				t.Fatalf("slot %v came, want %v", f.Slot, next)
			}
			next = grid.Step(f.Slot, 1)
			ledger.Resolve(f.Slot, source.Published)
		}
		st := ledger.Stats()
		if st.Ended[source.Published] != 2900 || st.Ended[source.NoMedia] != 100 || st.Pending != 0 {
			t.Errorf("%+v", st)
		}
		asked, published := s.Totals()["cam-1"].Asked, st.Ended[source.Published]
		t.Logf("asked for %.2f images a frame, lag %v", float64(asked)/float64(published), poller.State().Lag)
		if limit := 1.75; float64(asked) > limit*float64(published) {
			t.Errorf("asked for %d images to publish %d", asked, published)
		}
	})
}

// TestFeed runs the suite of feeds over the fake service and the SDK.
func TestFeed(t *testing.T) {
	sourcetest.TestFeed(t, func(t *testing.T, s sourcetest.Stream) source.OpenFeed {
		camera := kinesistest.Stream{Name: s.Name}
		if s.Outage.To != 0 {
			camera.Outages = []kinesistest.Interval{{From: s.Outage.From.Time(), To: s.Outage.To.Time()}}
		}
		srv := serve(t, kinesistest.Options{
			Streams: []kinesistest.Stream{camera},
			Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
				if r.Operation == "GetImages" && s.Failing() {
					return kinesistest.NotAuthorized("kinesisvideo:GetImages")
				}
				return nil
			},
		}, kinesis.Options{})
		return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
			return poll.New(srv.stream(s.Name), l, poll.Options{
				Stream: s.Name, Lag: poll.Auto, Overlap: poll.Auto, To: s.To, Fetched: fetched,
			})
		}
	})
}
