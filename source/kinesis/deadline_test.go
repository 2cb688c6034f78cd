package kinesis_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// TestEachCallHasADeadline: a request that is accepted and never answered is tried again,
// and the error and the log name it.
func TestEachCallHasADeadline(t *testing.T) {
	images := func(t *testing.T, s *service) error {
		_, _, err := collect(t, s.stream("cam-1"), past(11))
		return err
	}
	for operation, tc := range map[string]struct {
		faults kinesistest.Faults
		call   func(*testing.T, *service) error
		tries  int
		text   string
	}{
		"DescribeStream": {
			kinesistest.Faults{HangDescribe: 1},
			func(t *testing.T, s *service) error { return s.stream("cam-1").Check(t.Context()) },
			2, "DescribeStream has not answered within 10s",
		},
		"GetDataEndpoint": {kinesistest.Faults{HangEndpoint: 1}, images, 2, "GetDataEndpoint has not answered within 10s"},
		"ListStreams": {
			kinesistest.Faults{HangList: 1},
			func(t *testing.T, s *service) error { _, err := s.client.List(t.Context(), "cam"); return err },
			2, "ListStreams has not answered within 10s",
		},
		"ListFragments": {
			kinesistest.Faults{HangFragments: 1},
			func(t *testing.T, s *service) error {
				_, err := s.stream("cam-1").Fragments(t.Context(), past(11).Start, past(11).End)
				return err
			},
			2, "ListFragments has not answered within",
		},
		"GetImages":            {kinesistest.Faults{HangImages: 1}, images, 2, "GetImages has not answered within 10s"},
		"an answer that stops": {kinesistest.Faults{Stalls: 1}, images, 0, "has not"},
	} {
		t.Run(operation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				s := serve(t, kinesistest.Options{Faults: tc.faults}, kinesis.Options{
					Attempts: 2, Logger: slog.New(slog.NewTextHandler(&log, nil)),
				})
				begin := time.Now()
				err := tc.call(t, s)
				if err == nil || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("error %v, want %q", err, tc.text)
				}
				if took := time.Since(begin); took > 25*time.Second {
					t.Errorf("it took %v", took)
				}
				if n := s.count(operation); n != tc.tries {
					t.Errorf("%d requests, want %d", n, tc.tries)
				}
				if n := strings.Count(log.String(), "does not answer"); n != 1 || !strings.Contains(log.String(), tc.text) {
					t.Errorf("logged %d times:\n%s", n, log.String())
				}
			})
		})
	}
}

// TestAnAnswerThatStops: an answer whose images stop arriving is given up.
func TestAnAnswerThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, kinesistest.Options{Faults: kinesistest.Faults{Stalls: 0.5}}, kinesis.Options{})
		stream := s.stream("cam-1")
		for range 20 {
			begin := time.Now()
			_, _, err := collect(t, stream, past(11))
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("it took %v", took)
			}
			if err != nil && strings.Contains(err.Error(), "GetImages has not sent the rest of its answer within 10s") {
				return
			}
		}
		t.Error("no error says that GetImages stopped")
	})
}

// TestTheServiceComesBack has one operation after the other hang for three minutes. The
// stream goes on when the service does, and nothing is lost.
func TestTheServiceComesBack(t *testing.T) {
	for _, operation := range []string{"DescribeStream", "GetDataEndpoint", "ListFragments", "GetImages"} {
		t.Run(operation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				well := begin.Add(3 * time.Minute)
				s := serve(t, kinesistest.Options{Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
					if r.Operation == operation {
						time.Sleep(time.Until(well))
					}
					return nil
				}}, kinesis.Options{})
				l, last := pollToEnd(t, s, begin, 10*time.Minute)
				if st := l.Stats(); st.Ended[source.Published] != 3000 {
					t.Errorf("%+v", st)
				}
				if late := last.Sub(begin.Add(10 * time.Minute)); late > 10*time.Second {
					t.Errorf("the last frame came %v after its instant", late)
				}
			})
		})
	}
}

// TestHangsHereAndThere: nothing is lost while many requests of each operation hang, and
// answers stop in the middle.
func TestHangsHereAndThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		s := serve(t, kinesistest.Options{Faults: kinesistest.Faults{
			HangDescribe: 0.3, HangEndpoint: 0.3, HangFragments: 0.3, HangImages: 0.1, Stalls: 0.1, Rotate: 2 * time.Minute,
		}}, kinesis.Options{})
		l, _ := pollToEnd(t, s, begin, 20*time.Minute)
		if st := l.Stats(); st.Ended[source.Published] != 6000 {
			t.Errorf("%+v", st)
		}
	})
}

// pollToEnd polls cam-1 from begin for a time, and returns when the last frame came.
func pollToEnd(t *testing.T, s *service, begin time.Time, length time.Duration) (l *source.Ledger, last time.Time) {
	t.Helper()
	grid, err := source.NewGrid(source.MinInterval)
	if err != nil {
		t.Fatal(err)
	}
	stream := s.stream("cam-1")
	l = source.NewLedger(grid, source.SlotAt(begin))
	for f, err := range poll.New(stream, l, poll.Options{
		Stream: "cam-1", Lag: poll.Auto, Overlap: poll.Auto, To: source.SlotAt(begin.Add(length)),
		Check: stream.Check, Retention: stream.Retention,
	}).Frames(t.Context()) {
		if err != nil {
			continue
		}
		last = time.Now()
		l.Resolve(f.Slot, source.Published)
	}
	return l, last
}
