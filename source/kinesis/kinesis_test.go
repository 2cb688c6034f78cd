package kinesis_test

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

func TestMain(m *testing.M) {
	if os.Getenv(proxyProcess) != "" {
		os.Exit(m.Run()) // the SDK's own connections stay open
	}
	goleak.VerifyTestMain(m)
}

// A service is the fake, a client for it, and what the client has observed.
type service struct {
	*kinesistest.Server
	client *kinesis.Client

	mu    sync.Mutex
	codes map[string]int
	asked int
	// What was asked for, and what came, by cause.
	bill, came source.Bill
}

func (s *service) observe(code string, asked, came source.Bill) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code]++
	s.asked += int(asked.Sum())
	s.bill, s.came = s.bill.Plus(asked), s.came.Plus(came)
}

func (s *service) stream(name string) *kinesis.Stream {
	return s.client.Stream(kinesis.StreamOptions{Name: name, Observe: s.observe})
}

func (s *service) count(operation string) (n int) {
	for _, r := range s.Requests() {
		if r.Operation == operation {
			n++
		}
	}
	return n
}

// serve runs the fake on a pipe, through which the SDK reaches it.
func serve(t *testing.T, opts kinesistest.Options, client kinesis.Options) *service {
	t.Helper()
	if opts.Scene == nil {
		opts.Scene = plain{}
	}
	srv, err := kinesistest.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	pipe := kinesistest.NewPipe()
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(t.Context(), pipe) })
	client.HTTPClient = pipe.Client()
	if client.Secret == "" {
		client.Secret = kinesistest.SecretKey
	}
	client.Region, client.Endpoint, client.AccessKey = kinesistest.Region, "http://fake", kinesistest.AccessKey
	c, err := kinesis.New(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.HTTPClient.CloseIdleConnections()
		wg.Wait()
	})
	return &service{Server: srv, client: c, codes: map[string]int{}}
}

// past returns a window whose media is visible, including its last fragment.
func past(slots int) poll.Window {
	end := source.SlotAt(time.Now().Add(-time.Minute).Truncate(2 * time.Second))
	const interval = 200 * time.Millisecond
	return poll.Window{Start: end.Add(-time.Duration(slots-1) * interval), End: end, Interval: interval}
}

func collect(t *testing.T, s *kinesis.Stream, w poll.Window) (found, missing []source.Slot, err error) {
	t.Helper()
	for img, err := range s.Images(t.Context(), w) {
		switch {
		case err != nil:
			return found, missing, err
		case errors.Is(img.Err, source.ErrNoMedia):
			missing = append(missing, source.SlotAt(img.Time))
		case img.Err != nil:
			t.Errorf("image at %v: %v", img.Time, img.Err)
		case len(img.Data) == 0:
			t.Errorf("image at %v is empty", img.Time)
		default:
			found = append(found, source.SlotAt(img.Time))
		}
	}
	return found, missing, nil
}

func TestImagesFollowsPages(t *testing.T) {
	s := serve(t, kinesistest.Options{}, kinesis.Options{})
	w := past(61) // begins with a fragment
	found, missing, err := collect(t, s.stream("cam-1"), w)
	if err != nil || len(missing) != 0 || len(found) != 61 {
		t.Fatalf("%d found, %d missing, %v", len(found), len(missing), err)
	}
	for i, got := range found {
		if want := w.Start.Add(time.Duration(i) * w.Interval); got != want {
			t.Errorf("image %d is of %v, want %v", i, got, want)
		}
	}
	if n := s.count("GetImages"); n != 3 || s.codes["OK"] != 3 || s.asked != 61 {
		t.Errorf("%d requests, observed %v and %d images", n, s.codes, s.asked)
	}
}

func TestEndpointIsKept(t *testing.T) {
	s := serve(t, kinesistest.Options{}, kinesis.Options{})
	stream := s.stream("cam-2")
	for range 5 {
		if _, _, err := collect(t, stream, past(11)); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.count("GetDataEndpoint"); n != 1 {
		t.Errorf("GetDataEndpoint was asked %d times", n)
	}
}

// faults answers the first GetImages requests with the given faults.
func faults(f ...*kinesistest.ErrorResponse) func(kinesistest.Request) *kinesistest.ErrorResponse {
	var mu sync.Mutex
	return func(r kinesistest.Request) *kinesistest.ErrorResponse {
		mu.Lock()
		defer mu.Unlock()
		if r.Operation != "GetImages" || len(f) == 0 {
			return nil
		}
		next := f[0]
		f = f[1:]
		return next
	}
}

func TestRetries(t *testing.T) {
	s := serve(t, kinesistest.Options{
		Intercept: faults(kinesistest.Throttled(), kinesistest.Broken(), kinesistest.Throttled()),
	}, kinesis.Options{})
	found, _, err := collect(t, s.stream("cam-1"), past(11))
	if err != nil || len(found) != 11 {
		t.Fatalf("%d images, %v", len(found), err)
	}
	want := map[string]int{"ClientLimitExceededException": 2, "InternalFailure": 1, "OK": 1}
	if !maps.Equal(s.codes, want) {
		t.Errorf("observed %v, want %v", s.codes, want)
	}
}

// TestRetriesKeepWithinTheAccount looks up the endpoints of a thousand streams at once while
// every second request is throttled, and counts the requests of each second.
func TestRetriesKeepWithinTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cameras := kinesistest.Cameras(1000)
		s := serve(t, kinesistest.Options{Streams: cameras, Faults: kinesistest.Faults{ThrottleEndpoint: 0.5}}, kinesis.Options{})
		w := past(1)
		var wg sync.WaitGroup
		for _, camera := range cameras {
			wg.Go(func() {
				for _, err := range s.stream(camera.Name).Images(t.Context(), w) {
					if err != nil {
						return // a few are unlucky for a minute
					}
				}
			})
		}
		wg.Wait()
		seconds := map[int64]int{}
		for _, r := range s.Requests() {
			if r.Operation == "GetDataEndpoint" {
				seconds[r.Time.Unix()]++
			}
		}
		for second, n := range seconds {
			if n > 300 {
				t.Errorf("%d requests in second %d", n, second)
			}
		}
		if n := s.count("GetDataEndpoint"); n <= len(cameras) {
			t.Errorf("%d requests in all: nothing was tried again", n)
		}
	})
}

// TestASlowAccountIsNotOverrun looks up the endpoints of a thousand streams while each
// answer takes nine seconds, which is just in time.
func TestASlowAccountIsNotOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cameras := kinesistest.Cameras(1000)
		var now, most atomic.Int64
		s := serve(t, kinesistest.Options{Streams: cameras, Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
			if r.Operation == "GetDataEndpoint" {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(9 * time.Second)
				now.Add(-1)
			}
			return nil
		}}, kinesis.Options{})
		w := past(1)
		var wg sync.WaitGroup
		for _, camera := range cameras {
			wg.Go(func() {
				for _, err := range s.stream(camera.Name).Images(t.Context(), w) {
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := most.Load(); n > 60 {
			t.Errorf("%d requests were under way at once", n)
		}
	})
}

// TestCodesThatAreMadeUp: codes that an answer makes up do not become names by which requests
// are counted.
func TestCodesThatAreMadeUp(t *testing.T) {
	s := serve(t, kinesistest.Options{Intercept: faults(
		&kinesistest.ErrorResponse{Code: "Bad\xffCode"}, &kinesistest.ErrorResponse{Code: "Another", Status: 418},
	)}, kinesis.Options{})
	for range 2 {
		if _, _, err := collect(t, s.stream("cam-1"), past(11)); err == nil {
			t.Error("a refused request succeeded")
		}
	}
	if want := map[string]int{"HTTP 400": 1, "HTTP 418": 1}; !maps.Equal(s.codes, want) {
		t.Errorf("observed %v, want %v", s.codes, want)
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		name   string
		opts   kinesistest.Options
		client kinesis.Options
		stream string
		is     error
		text   []string // that the error must contain
		again  int      // GetDataEndpoint requests of two attempts
	}{
		{
			name: "an endpoint that answers without Images", stream: "cam-1",
			opts: kinesistest.Options{Intercept: faults(kinesistest.NoImages(), kinesistest.NoImages())},
			text: []string{"without Images", "http://fake"}, again: 2,
		},
		{
			name: "an unknown stream", stream: "nowhere",
			is: source.ErrNoStream, text: []string{"ResourceNotFoundException", "(GetDataEndpoint, HTTP 404"}, again: 2,
		},
		{
			name: "no retention", stream: "cam-1",
			opts: kinesistest.Options{Streams: []kinesistest.Stream{{Name: "cam-1", Retention: -1}}},
			is:   source.ErrNoStream, text: []string{"DataRetentionInHours"}, again: 1,
		},
		{
			name: "wrong secret", stream: "cam-1", client: kinesis.Options{Secret: "wrong"},
			is: source.ErrRefused, text: []string{"does not accept the signature", "InvalidSignatureException", "not a missing permission"}, again: 2,
		},
		{
			name: "a window without media", stream: "cam-1",
			opts: kinesistest.Options{Streams: []kinesistest.Stream{{Name: "cam-1", Since: time.Now()}}},
			is:   poll.ErrEmptyWindow, text: []string{"ResourceNotFoundException"}, again: 1,
		},
		{
			name: "throttled without end", stream: "cam-1", client: kinesis.Options{Attempts: 2},
			opts: kinesistest.Options{Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
				if r.Operation == "GetImages" {
					return kinesistest.Throttled()
				}
				return nil
			}},
			text: []string{"ClientLimitExceededException", "(GetImages, HTTP 400, tried 2 times"}, again: 1,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, tc.opts, tc.client)
			stream := s.stream(tc.stream)
			var err error
			for range 2 {
				_, _, err = collect(t, stream, past(11))
			}
			if err == nil || tc.is != nil && !errors.Is(err, tc.is) {
				t.Fatalf("error %v, want %v", err, tc.is)
			}
			for _, part := range tc.text {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %q", err, part)
				}
			}
			if text := err.Error(); strings.HasPrefix(text, "stream") || strings.Contains(text, ": stream") || strings.Contains(text, "operation error") {
				t.Errorf("%q: the stream is named by whoever has several, and the cause stands first", text)
			}
			if n := s.count("GetDataEndpoint"); n != tc.again {
				t.Errorf("GetDataEndpoint was asked %d times, want %d", n, tc.again)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	s := serve(t, kinesistest.Options{Streams: []kinesistest.Stream{{Name: "on"}, {Name: "off", Retention: -1}}}, kinesis.Options{})
	if err := s.stream("on").Check(t.Context()); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"off", "absent"} {
		if err := s.stream(name).Check(t.Context()); !errors.Is(err, source.ErrNoStream) {
			t.Errorf("stream %s: %v", name, err)
		}
	}
	bad := serve(t, kinesistest.Options{}, kinesis.Options{Secret: "wrong"})
	if err := bad.stream("cam-1").Check(t.Context()); !errors.Is(err, source.ErrRefused) {
		t.Errorf("wrong secret: %v", err)
	}
}

func TestAbandonedAnswer(t *testing.T) {
	s := serve(t, kinesistest.Options{}, kinesis.Options{})
	for _, err := range s.stream("cam-1").Images(t.Context(), past(61)) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if n := s.count("GetImages"); n != 1 {
		t.Errorf("%d pages were asked for, after the first image was enough", n)
	}
	found, _, err := collect(t, s.stream("cam-1"), past(11))
	if err != nil || !slices.IsSorted(found) {
		t.Errorf("after an abandoned answer: %v, %v", found, err)
	}
}
