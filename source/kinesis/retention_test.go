package kinesis_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestRetentionIsLearnedAgain: a retention that is changed is known some minutes later, and
// is not asked for more often than that.
func TestRetentionIsLearnedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hours atomic.Int64
		hours.Store(24)
		s := serve(t, kinesistest.Options{Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
			if r.Operation != "DescribeStream" {
				return nil
			}
			return &kinesistest.ErrorResponse{Status: http.StatusOK, Body: fmt.Sprintf(
				`{"StreamInfo":{"StreamName":"cam-1","Status":"ACTIVE","DataRetentionInHours":%d}}`, hours.Load())}
		}}, kinesis.Options{})
		stream := s.stream("cam-1")
		if err := stream.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, changed := range []int64{1, 48} {
			hours.Store(changed)
			for range 60 {
				time.Sleep(10 * time.Second)
				if _, _, err := collect(t, stream, past(11)); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := stream.Retention(), time.Duration(changed)*time.Hour; got != want {
				t.Errorf("the retention is %v, want %v", got, want)
			}
		}
		if n := s.count("DescribeStream"); n > 6 {
			t.Errorf("it was asked for %d times in 20 minutes", n)
		}
	})
}

// TestRetentionIsLoweredDuringABackfill: what is gone is given up at once, and the rest
// goes on.
func TestRetentionIsLoweredDuringABackfill(t *testing.T) {
	sample(t)
	for _, producer := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const length = 3 * time.Hour
			opts := kinesistest.Options{
				Streams: []kinesistest.Stream{{Name: "cam-1", Retention: 4 * time.Hour}},
				Faults:  kinesistest.Faults{Halve: 20 * time.Hour},
			}
			waitHalved(t, opts)
			time.Sleep(20*time.Hour - 6*time.Minute) // it is halved again in 5 to 6 minutes
			begin := time.Now().Add(-length - 30*time.Minute)
			w := &watched{}
			w.stream = func(o *kinesis.StreamOptions) { o.Producer = producer }
			last, longest := time.Time{}, time.Duration(0)
			w.each = func(source.Frame, error) {
				if !last.IsZero() { // what was before has been deleted already
					longest = max(longest, time.Since(last))
				}
				time.Sleep(50 * time.Millisecond) // so that the retention changes meanwhile
				last = time.Now()
			}
			w.run(t, opts, begin, length)
			st := w.ledger.Stats()
			if st.Pending != 0 || st.Ended[source.Published]+st.Ended[source.NoMedia] != 54_000 || st.Ended[source.Published] < 10_000 || st.Ended[source.NoMedia] < 1000 {
				t.Errorf("%+v", st)
			}
			if longest > 15*time.Second || w.failed > 10 {
				t.Errorf("nothing came for %v, %d polls failed", longest, w.failed)
			}
			if !strings.Contains(w.log.String(), "the retention of the stream has changed") {
				t.Errorf("logged:\n%s", w.log.String())
			}
			truth, err := w.Media("cam-1", begin, begin.Add(length), source.MinInterval)
			if err != nil {
				t.Fatal(err)
			}
			missing := 0
			for _, at := range truth {
				if _, here := w.arrived[source.SlotAt(at.Time)]; !here && at.Gone.After(time.Now().Add(time.Minute)) {
					missing++
				}
			}
			if missing > 0 {
				t.Errorf("%d slots are missing that the service still has", missing)
			}
		})
	}
}

// waitHalved waits until the retention of cam-1 is halved, to the minute.
func waitHalved(t *testing.T, opts kinesistest.Options) {
	t.Helper()
	stream := serve(t, opts, kinesis.Options{}).stream("cam-1")
	for before := time.Duration(0); ; time.Sleep(time.Minute) {
		if err := stream.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		now := stream.Retention()
		if now < before {
			return
		}
		before = now
	}
}

// TestRetentionIsRaisedDuringAPause: slots that the service keeps since then are not given
// up by the retention of before.
func TestRetentionIsRaisedDuringAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(10 * time.Hour)
		begin := time.Now()
		var hours atomic.Int64
		hours.Store(1)
		w := &watched{}
		w.each = func(f source.Frame, _ error) {
			if at := f.Slot.Time().Sub(begin); at > time.Minute && hours.CompareAndSwap(1, 24) {
				time.Sleep(2 * time.Hour) // the broker is away
			}
		}
		w.run(t, kinesistest.Options{Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
			if r.Operation != "DescribeStream" {
				return nil
			}
			return &kinesistest.ErrorResponse{Status: http.StatusOK, Body: fmt.Sprintf(
				`{"StreamInfo":{"StreamName":"cam-1","Status":"ACTIVE","DataRetentionInHours":%d}}`, hours.Load())}
		}}, begin, 10*time.Minute)
		if st := w.ledger.Stats(); st.Ended[source.Published] != 3000 {
			t.Errorf("%+v", st)
		}
	})
}
