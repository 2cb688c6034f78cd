package kinesis_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A polled is what came of polling a stream of the fake.
type polled struct {
	ledger  source.Stats
	missing int           // slots whose pictures were there in time and did not arrive
	oldest  time.Duration // age of a frame when it arrived, at most, after the first minute
	failed  int           // polls
	asked   int           // images, for which the service may charge
}

// pollAll polls cam-1 for some minutes, with nothing but the given faults, and compares
// what arrived with what was there.
func pollAll(t *testing.T, opts kinesistest.Options, length, grace time.Duration) (got polled) {
	t.Helper()
	begin := time.Now()
	s := serve(t, opts, kinesis.Options{})
	grid, err := source.NewGrid(source.MinInterval)
	if err != nil {
		t.Fatal(err)
	}
	ledger := source.NewLedger(grid, source.SlotAt(begin))
	poller := poll.New(s.stream("cam-1"), ledger, poll.Options{
		Lag: poll.Auto, Overlap: poll.Auto, Grace: grace, To: source.SlotAt(begin.Add(length)),
	})
	arrived, last := map[source.Slot]bool{}, source.Slot(0)
	for f, err := range poller.Frames(t.Context()) {
		if err != nil {
			got.failed++
			continue
		}
		if f.Slot <= last {
			t.Errorf("slot %v came after %v", f.Slot, last)
		}
		last, arrived[f.Slot] = f.Slot, true
		if f.Slot.Time().Sub(begin) > time.Minute {
			got.oldest = max(got.oldest, time.Since(f.Slot.Time()))
		}
		ledger.Resolve(f.Slot, source.Published)
	}
	truth, err := s.Media("cam-1", begin, begin.Add(length), grid.Interval())
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range truth {
		kept := at.Gone.After(at.Pictures.Add(grace)) // long enough to be asked for
		inTime := !at.Visible.IsZero() && !at.Pictures.After(at.Time.Add(grace)) && !at.MediaError && kept
		if inTime && !arrived[source.SlotAt(at.Time)] {
			got.missing++
		}
	}
	got.ledger, got.asked = ledger.Stats(), s.Totals()["cam-1"].Answered
	t.Logf("%d missing, %d failed polls, at most %v old, %.2f images for each frame, %v",
		got.missing, got.failed, got.oldest, float64(got.asked)/float64(len(arrived)), got.ledger.Ended)
	return got
}

// TestPollPagesOfAnySize: nobody promised 25 images a page.
func TestPollPagesOfAnySize(t *testing.T) {
	for name, faults := range map[string]kinesistest.Faults{
		"one image a page":             {PageSize: 1},
		"four images a page":           {PageSize: 4},
		"twelve images a page":         {PageSize: 12},
		"six empty pages before each":  {EmptyPages: 1, EmptyRun: 6},
		"small, and some empty":        {PageSize: 4, EmptyPages: 0.2, EmptyRun: 6},
		"small, and their tokens fail": {PageSize: 4, BadTokens: 0.05},
		"one image, throttled":         {PageSize: 1, Throttle: true},
	} {
		t.Run(name, func(t *testing.T) {
			sample(t)
			synctest.Test(t, func(t *testing.T) {
				got := pollAll(t, kinesistest.Options{
					Streams: kinesistest.Cameras(1), Delay: 1200 * time.Millisecond, Faults: faults,
				}, 5*time.Minute, 10*time.Second)
				if got.missing > 0 || got.ledger.Ended[source.Published] != 1500 || got.ledger.Pending != 0 {
					t.Errorf("%+v", got)
				}
				if got.oldest > 8*time.Second {
					t.Errorf("falls behind: a frame was %v old", got.oldest)
				}
				if got.failed > 0 {
					t.Errorf("%d polls failed", got.failed)
				}
				if float64(got.asked) > 1.35*float64(got.ledger.Ended[source.Published]) {
					t.Errorf("asked for %d images", got.asked)
				}
			})
		})
	}
}

// TestPageSizeIsLearned: the poller plans by the pages that were seen, and only what a page
// holds is counted as asked for.
func TestPageSizeIsLearned(t *testing.T) {
	s := serve(t, kinesistest.Options{Faults: kinesistest.Faults{PageSize: 4, EmptyPages: 0.3, EmptyRun: 2}}, kinesis.Options{})
	stream := s.stream("cam-1")
	if n := stream.PageSlots(); n != poll.PageSlots {
		t.Errorf("%d images a page before the first", n)
	}
	if found, _, err := collect(t, stream, past(21)); err != nil || len(found) != 21 {
		t.Errorf("%d images, %v", len(found), err)
	}
	if n := stream.PageSlots(); n != 4 || s.asked != 21 {
		t.Errorf("%d images a page, %d asked for", n, s.asked)
	}
}

// TestSlowSmallPages: as long as pages come, a window comes to its end.
func TestSlowSmallPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, kinesistest.Options{Faults: kinesistest.Faults{PageSize: 1, Slow: 1, SlowBy: 8 * time.Second}}, kinesis.Options{})
		begin := time.Now()
		found, _, err := collect(t, s.stream("cam-1"), past(50))
		if err != nil || len(found) < 40 || time.Since(begin) < 2*time.Minute {
			t.Errorf("%d images in %v: %v", len(found), time.Since(begin), err)
		}
	})
}

// TestPagesThatDoNotEnd: neither the same token again nor pages without end keep a request
// from ending.
func TestPagesThatDoNotEnd(t *testing.T) {
	entry := `{"TimeStamp":1.5,"Error":"NO_MEDIA"}`
	for name, tc := range map[string]struct {
		body func(n int) string
		text string
	}{
		"the same token again": {func(int) string { return `{"Images":[],"NextToken":"a"}` }, "the token that it was asked by"},
		"images without end": {func(n int) string {
			return fmt.Sprintf(`{"Images":[%s],"NextToken":"%d"}`, strings.Repeat(entry+",", 99)+entry, n)
		}, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(&raw{answer: func(w http.ResponseWriter, n int) { _, _ = io.WriteString(w, tc.body(n)) }})
			defer srv.Close()
			_, _, err := collect(t, connect(t, srv.URL, srv.Client(), nil), past(1))
			if err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Error(err)
			}
		})
	}
	t.Run("empty pages without end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, kinesistest.Options{Faults: kinesistest.Faults{EmptyPages: 1, EmptyRun: 100_000}}, kinesis.Options{})
			begin := time.Now()
			_, _, err := collect(t, s.stream("cam-1"), past(25))
			if took := time.Since(begin); err == nil || took > 2*time.Minute {
				t.Errorf("%v after %v", err, took)
			}
		})
	})
}

// TestPollEarlyAnswers: until the grace is over, an entry with neither content nor error
// says no more than that there is no picture yet, and an error does not keep a picture in
// the same answer from arriving.
func TestPollEarlyAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		faults kinesistest.Faults
		ended  source.Outcome // of slots that never get a picture
	}{
		"neither content nor error at first":     {faults: kinesistest.Faults{EarlyBare: 0.1}},
		"empty contents at first":                {faults: kinesistest.Faults{EarlyEmpty: 0.1}},
		"an error before the picture":            {faults: kinesistest.Faults{ErrorFirst: 0.2}},
		"an error before or after the picture":   {faults: kinesistest.Faults{ErrorFirst: 0.2, Unordered: 0.5}},
		"media errors that stay":                 {kinesistest.Faults{MediaErrors: 0.2}, source.MediaError},
		"media errors that stay beyond the time": {kinesistest.Faults{EarlyErrors: 0.05, EarlyFor: time.Hour}, source.MediaError},
		"neither, beyond the time":               {kinesistest.Faults{EarlyBare: 0.05, EarlyFor: time.Hour}, source.NoMedia},
		"empty, beyond the time":                 {kinesistest.Faults{EarlyEmpty: 0.05, EarlyFor: time.Hour}, source.NoMedia},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := pollAll(t, kinesistest.Options{
					Streams: kinesistest.Cameras(1), Delay: 1200 * time.Millisecond, Faults: tc.faults,
				}, 5*time.Minute, 10*time.Second)
				published := got.ledger.Ended[source.Published]
				if got.missing > 0 || got.ledger.Pending != 0 || tc.ended == source.Pending && published != 1500 {
					t.Errorf("%+v", got)
				}
				if tc.ended != source.Pending && (published == 1500 || published+got.ledger.Ended[tc.ended] != 1500) {
					t.Errorf("%v, want the rest to be %v", got.ledger.Ended, tc.ended)
				}
			})
		})
	}
}
