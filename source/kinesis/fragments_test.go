package kinesis_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// TestFragments lists pages of fragments, which come in any order, from endpoints that die.
func TestFragments(t *testing.T) {
	for _, producer := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, kinesistest.Options{
				Fragment: 2 * time.Second, FragmentMax: 7 * time.Second,
				Faults: kinesistest.Faults{Unordered: 1, Rotate: time.Minute, Clock: 2 * time.Second, ClockEvery: time.Hour},
			}, kinesis.Options{})
			stream := s.client.Stream(kinesis.StreamOptions{Name: "cam-1", Producer: producer})
			truth := s.Media
			if producer {
				truth = s.ProducerMedia
			}
			for range 20 { // a minute each: the endpoint is another one
				time.Sleep(time.Minute)
				to := source.SlotAt(time.Now().Add(-20 * time.Second))
				from := to.Add(-20 * time.Minute)
				begin := from.Add(-poll.MaxFragment)
				spans, err := stream.Fragments(t.Context(), begin, to)
				if errors.Is(err, source.ErrRefused) {
					t.Fatal(err)
				}
				if err != nil { // of a dead endpoint; the next is alive
					spans, err = stream.Fragments(t.Context(), begin, to)
				}
				if err != nil {
					t.Fatal(err)
				}
				if !slices.IsSortedFunc(spans, func(a, b poll.Span) int { return int(a.Start - b.Start) }) {
					t.Error("the fragments are not in order")
				}
				instants, err := truth("cam-1", from.Time(), to.Time(), time.Second)
				if err != nil {
					t.Fatal(err)
				}
				for _, at := range instants {
					held := slices.ContainsFunc(spans, func(span poll.Span) bool {
						s := source.SlotAt(at.Time)
						return span.Start <= s && s < span.End && span.End.Sub(span.Start) == at.End.Sub(at.Start)
					})
					if held != at.Exists {
						t.Fatalf("%v: listed %v, exists %v", at.Time, held, at.Exists)
					}
				}
			}
		})
	}
}

func TestFragmentsDenied(t *testing.T) {
	s := serve(t, kinesistest.Options{Faults: kinesistest.Faults{DenyListFragments: true}}, kinesis.Options{})
	stream := s.stream("cam-1")
	now := source.SlotAt(time.Now())
	if _, err := stream.Fragments(t.Context(), now.Add(-time.Minute), now); !errors.Is(err, source.ErrRefused) ||
		!strings.Contains(err.Error(), "kinesisvideo:ListFragments") {
		t.Errorf("error %v", err)
	}
	if n := s.count("ListFragments"); n != 1 {
		t.Errorf("%d requests", n)
	}
	if found, _, err := collect(t, stream, past(11)); err != nil || len(found) != 11 {
		t.Errorf("%d images, %v", len(found), err)
	}
}

// TestFragmentsOfOddAnswers has answers with less, or more, than they should have.
func TestFragmentsOfOddAnswers(t *testing.T) {
	ok := func(body string) func(int) (int, string) {
		return func(int) (int, string) { return http.StatusOK, body }
	}
	const good = `{"ServerTimestamp":1000.2,"FragmentLengthInMilliseconds":2000}`
	span := []poll.Span{{Start: 1000_200, End: 1002_200}}
	for _, tc := range []struct {
		name           string
		denied         bool                    // GetDataEndpoint
		answer         func(int) (int, string) // to the n-th request
		want           []poll.Span
		fails, refused bool
	}{
		{name: "no permission for the endpoint", denied: true, fails: true, refused: true},
		{name: "no fragments", answer: ok(`{"Fragments":[]}`)},
		{name: "without Fragments", answer: ok(`{}`), fails: true},
		{name: "without end", fails: true, answer: func(n int) (int, string) {
			return http.StatusOK, fmt.Sprintf(`{"Fragments":[],"NextToken":"%d"}`, n)
		}},
		{name: "throttled once", want: span, answer: func(n int) (int, string) {
			if n == 1 {
				return http.StatusBadRequest, `{"__type":"ClientLimitExceededException"}`
			}
			return http.StatusOK, `{"Fragments":[` + good + `]}`
		}},
		{name: "nonsense is left out", want: span, answer: ok(`{"Fragments":[{},{"FragmentLengthInMilliseconds":2000},
			{"ServerTimestamp":1003,"FragmentLengthInMilliseconds":-1},
			{"ServerTimestamp":1003,"FragmentLengthInMilliseconds":9223372036854775807},
			{"ServerTimestamp":900,"FragmentLengthInMilliseconds":2000},` + good + `]}`)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				status, body := http.StatusOK, fmt.Sprintf(`{"DataEndpoint":"http://%s"}`, r.Host)
				switch {
				case r.URL.Path == "/listFragments":
					n++
					status, body = tc.answer(n)
				case tc.denied:
					status, body = http.StatusForbidden, `{"__type":"AccessDeniedException"}`
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			}))
			defer srv.Close()
			spans, err := connect(t, srv.URL, srv.Client(), nil).Fragments(t.Context(), 1000_000, 1010_000)
			if !slices.Equal(spans, tc.want) || (err != nil) != tc.fails || errors.Is(err, source.ErrRefused) != tc.refused {
				t.Errorf("%v, %v", spans, err)
			}
		})
	}
}
