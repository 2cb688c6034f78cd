package kinesis_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// ask makes a request of each operation, and returns their errors.
func ask(ctx context.Context, c *kinesis.Client, s *kinesis.Stream) map[string]error {
	now := source.SlotAt(time.Now())
	_, endpoint := s.DataEndpoint(ctx)
	_, fragments := s.Fragments(ctx, now.Add(-time.Minute), now)
	_, list := c.List(ctx, "cam-")
	var images error
	for _, images = range s.Images(ctx, past(11)) {
		break
	}
	return map[string]error{
		"DescribeStream": s.Check(ctx), "GetDataEndpoint": endpoint, "ListFragments": fragments, "ListStreams": list, "GetImages": images,
	}
}

// TestRefusals: an unknown key, a bad signature and expired credentials are told as such, a
// missing permission is told with its name, and each begins with its cause, whatever the
// operation.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		code, begins string
		status       int
		refused      bool
	}{
		{"UnrecognizedClientException", "refused: AWS does not know the access key", http.StatusForbidden, true},
		{"InvalidClientTokenId", "refused: AWS does not know the access key", http.StatusForbidden, true},
		{"InvalidSignatureException", "refused: AWS does not accept the signature", http.StatusForbidden, true},
		{"IncompleteSignatureException", "refused: AWS does not accept the signature", http.StatusBadRequest, true},
		{"ExpiredTokenException", "the AWS credentials have expired", http.StatusForbidden, false},
		{"AccessDeniedException", "refused: the permission kinesisvideo:OPERATION is missing", http.StatusForbidden, true},
		{"NotAuthorizedException", "refused: the permission kinesisvideo:OPERATION is missing", http.StatusUnauthorized, true},
		{"InvalidArgumentException", "InvalidArgumentException: not this one (OPERATION, HTTP 400", http.StatusBadRequest, false},
	} {
		t.Run(tc.code, func(t *testing.T) {
			var refuse sync.Map // operation → true
			s := serve(t, kinesistest.Options{Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
				if _, ok := refuse.Load(r.Operation); !ok {
					return nil
				}
				return &kinesistest.ErrorResponse{Status: tc.status, Code: tc.code, Message: "not this one"}
			}}, kinesis.Options{Attempts: 1})
			for operation := range ask(t.Context(), s.client, s.stream("cam-1")) {
				refuse.Clear()
				refuse.Store(operation, true)
				err := ask(t.Context(), s.client, s.stream("cam-1"))[operation]
				if err == nil {
					t.Fatalf("%s succeeds", operation)
				}
				text := err.Error()
				if begins := strings.ReplaceAll(tc.begins, "OPERATION", operation); !strings.HasPrefix(text, begins) {
					t.Errorf("%s: %q does not begin with %q", operation, text, begins)
				}
				if !strings.Contains(text, tc.code+": not this one") || strings.Contains(text, "cam-1") || strings.Contains(text, "operation error") {
					t.Errorf("%s: %q", operation, text)
				}
				want := tc.refused
				if operation == "ListFragments" { // it says that lists are never to be asked for again
					want = strings.Contains(tc.begins, "permission")
				}
				if errors.Is(err, source.ErrRefused) != want {
					t.Errorf("%s: refused for good: %v", operation, !want)
				}
			}
		})
	}
}

// TestRequestsAreCounted: each attempt of a request other than GetImages is counted by its
// operation and its outcome, also one that is not answered in time.
func TestRequestsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		counts, state := map[string]int{}, ""
		fake := kinesistest.Options{Intercept: func(_ kinesistest.Request) *kinesistest.ErrorResponse {
			mu.Lock()
			now := state
			mu.Unlock()
			switch now {
			case "throttled":
				return kinesistest.Throttled()
			case "silent":
				time.Sleep(time.Minute)
			}
			return nil
		}}
		s := serve(t, fake, kinesis.Options{Attempts: 2, Observe: func(operation, code string) {
			mu.Lock()
			defer mu.Unlock()
			counts[operation+" "+code]++
		}})
		known := s.stream("cam-1") // where its fragments are listed
		for _, next := range []string{"", "throttled", "silent"} {
			mu.Lock()
			state = next
			mu.Unlock()
			ask(t.Context(), s.client, s.stream("cam-1"))
			now := source.SlotAt(time.Now())
			_, _ = known.Fragments(t.Context(), now.Add(-time.Minute), now)
		}
		time.Sleep(2 * time.Minute) // the service wakes up
		mu.Lock()
		defer mu.Unlock()
		for _, operation := range []string{"DescribeStream", "GetDataEndpoint", "ListFragments", "ListStreams"} {
			for _, code := range []string{"OK", "ClientLimitExceededException", "deadline"} {
				if counts[operation+" "+code] == 0 {
					t.Errorf("%s: %s is missing in %v", operation, code, counts)
				}
			}
		}
		for what := range maps.Keys(counts) {
			if strings.HasPrefix(what, "GetImages") {
				t.Errorf("%s is counted, although it is counted by stream", what)
			}
		}
	})
}

// TestEmptyWindowIsNoError: a window without media is counted apart from a stream that does
// not exist, although the service answers both in the same way.
func TestEmptyWindowIsNoError(t *testing.T) {
	s := serve(t, kinesistest.Options{Streams: []kinesistest.Stream{{Name: "cam-1", Since: time.Now()}}}, kinesis.Options{})
	for _, want := range []string{"empty", "ResourceNotFoundException"} {
		stream := s.stream("cam-1")
		if _, err := stream.DataEndpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want != "empty" {
			s.RemoveStream("cam-1")
		}
		clear(s.codes)
		_, _, err := collect(t, stream, past(11))
		if err == nil || !maps.Equal(s.codes, map[string]int{want: 1}) {
			t.Errorf("%v, observed %v, want one %s", err, s.codes, want)
		}
	}
}
