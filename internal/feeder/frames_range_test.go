package feeder_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// Nobody reads the streams themselves.
const rangesConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: 127.0.0.1:0}
requests: {images_per_hour: 1500, images_per_hour_per_asker: %d}
streams:
  - {name: cam-1, interval: 1s, poll: request, outputs: [small, other]}
  - {name: cam-2, interval: 1s, poll: request, outputs: [small], limits: {images_per_day: 25, then: stop}}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
  other: {preset: yolo, size: 48x48, dtype: uint8}
`

// askForRanges runs a feeder for as long as f takes. asked is how many images the service was
// asked for.
func askForRanges(t *testing.T, perAsker int, f func(o dial.Options, r feeder.Running, asked *atomic.Int64)) {
	t.Helper()
	var asked atomic.Int64
	natsURL := feedertest.ServeNATS(t)
	_, fakeURL := feedertest.ServeFake(t, kinesistest.Options{
		Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(2),
		Observe: func(r kinesistest.Request) {
			if r.Operation == "GetImages" {
				asked.Add(int64(r.Asked))
			}
		},
	})
	o, log := options(t, rangesConfig, fakeURL, natsURL, perAsker)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Started = func(_ context.Context, r feeder.Running) {
		defer cancel()
		nc, err := nats.Connect(natsURL)
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		(&asking{t: t, nc: nc}).waitForService()
		f(dial.Options{URL: natsURL}, r, &asked)
	}
	if err := feeder.New(o).Run(ctx); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestRangesOfTwoFeeders: whichever of two feeders gets a request, the one that has the stream
// reads it, and sends it to the asker itself.
func TestRangesOfTwoFeeders(t *testing.T) {
	natsURL := feedertest.ServeNATS(t)
	_, fakeURL := feedertest.ServeFake(t, kinesistest.Options{Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(2)})
	var feeders sync.WaitGroup
	defer feeders.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pages := make(chan string, 2)
	for n := range 2 {
		o, log := options(t, `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: 127.0.0.1:0}
streams: [{name: cam-%d, interval: 1s, poll: request, outputs: [small]}]
outputs: {small: {preset: yolo, size: 32x32, dtype: uint8}}
`, fakeURL, natsURL, n+1)
		o.Started = func(_ context.Context, r feeder.Running) { pages <- r.HTTP }
		feeders.Go(func() {
			if err := feeder.New(o).Run(ctx); err != nil {
				t.Errorf("%v\n%s", err, log.String())
			}
		})
	}
	one, two := <-pages, <-pages
	nc, err := nats.Connect(natsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	natstest.Eventually(t, "both serve", func() bool {
		_, a := nc.Request("cvf.svc.frame.cam-1", nil, time.Second)
		_, b := nc.Request("cvf.svc.frame.cam-2", nil, time.Second)
		return a == nil && b == nil
	})
	for i := range 24 {
		r := past(10, time.Second)
		r.Stream = fmt.Sprintf("cam-%d", i%2+1)
		n := 0
		for d, err := range consume.Frames(t.Context(), dial.Options{URL: natsURL}, r) {
			if err != nil || d.Stream != r.Stream || d.Gap != nil {
				t.Fatalf("%+v, %v", d.Gap, err)
			}
			n++
		}
		if n != 10 {
			t.Errorf("%s: %d tensors", r.Stream, n)
		}
	}
	counts := feedertest.Get(t, one+"/metrics") + feedertest.Get(t, two+"/metrics")
	if strings.Count(counts, `cvfeeder_range_requests_total{outcome="done"} 12`) != 2 || strings.Count(counts, `cvfeeder_range_requests_total{outcome="forwarded"} 0`) == 2 {
		t.Error("the ranges were not read by the feeders that have the streams")
	}
	http.DefaultClient.CloseIdleConnections()
}

// past returns a range that ended a minute ago.
func past(slots int, interval time.Duration) consume.Range {
	to := time.Now().Add(-time.Minute).UTC().Truncate(interval)
	return consume.Range{Stream: "cam-1", Output: "small", From: to.Add(-time.Duration(slots) * interval), To: to, Interval: interval}
}

// TestRange: each slot comes once, in order, from the interval that is asked for, and looks like
// what is published; the images that were spent are those that the service was asked for.
func TestRange(t *testing.T) {
	askForRanges(t, 1500, func(o dial.Options, running feeder.Running, asked *atomic.Int64) {
		r := past(300, 200*time.Millisecond)
		var begun, ended consume.RangeSummary
		r.Begun, r.Ended = func(s consume.RangeSummary) { begun = s }, func(s consume.RangeSummary) { ended = s }
		at := r.From
		for d, err := range consume.Frames(t.Context(), o, r) {
			if err != nil {
				t.Error(err)
				return
			}
			if d.Gap != nil || !d.Time.Equal(at) || d.Stream != "cam-1" || d.Output != "small" || len(d.Data) != 3*32*32 || d.Late {
				t.Errorf("%v comes where %v is expected; gap %v, %d bytes", d.Time, at, d.Gap, len(d.Data))
				return
			}
			at = at.Add(r.Interval)
		}
		if !at.Equal(r.To) {
			t.Errorf("the last is before %v, not %v", at, r.To)
		}
		n := int(asked.Load())
		if begun.Slots != 300 || ended.Slots != 300 || ended.Tensors != 300 || ended.Images != n || begun.Images < n || n > 2*300 {
			t.Errorf("begun %+v, ended %+v; the service was asked for %d images", begun, ended, n)
		}
		scraped := feedertest.Get(t, running.HTTP+"/metrics")
		for _, want := range []string{
			`cvfeeder_range_requests_total{outcome="done"} 1`, `cvfeeder_images_asked_total{cause="request",stream="cam-1"} 300`,
			`cvfeeder_slots_expected_total{stream="cam-1"}`,
		} {
			if !strings.Contains(scraped, want) {
				t.Errorf("the metrics lack %s", want)
			}
		}
	})
}

// TestRangeWithoutMedia: slots that have no picture are told in their place.
func TestRangeWithoutMedia(t *testing.T) {
	askForRanges(t, 1500, func(o dial.Options, _ feeder.Running, _ *atomic.Int64) {
		r := past(10, time.Second)
		r.From, r.To = r.From.Add(-100*24*time.Hour), r.To.Add(-100*24*time.Hour) // before the first
		slots := 0
		for d, err := range consume.Frames(t.Context(), o, r) {
			if err != nil {
				t.Error(err)
				return
			}
			if d.Gap == nil || !d.Gap.From.Time().Equal(r.From.Add(time.Duration(slots)*time.Second)) {
				t.Errorf("%+v", d)
				return
			}
			slots += d.Gap.Slots
		}
		if slots != 10 {
			t.Errorf("%d slots", slots)
		}
	})
}

// TestRangeThatEndsSoon ends when its time has come.
func TestRangeThatEndsSoon(t *testing.T) {
	askForRanges(t, 1500, func(o dial.Options, _ feeder.Running, _ *atomic.Int64) {
		r := past(0, time.Second)
		r.To = time.Now().Add(2 * time.Second).Truncate(time.Second)
		r.From = r.To.Add(-10 * time.Second)
		n := 0
		for d, err := range consume.Frames(t.Context(), o, r) {
			if err != nil || d.Gap != nil {
				t.Errorf("%v, %v", err, d.Gap)
				return
			}
			n++
		}
		if n != 10 || time.Now().Before(r.To) {
			t.Errorf("%d tensors at %v of a range to %v", n, time.Now(), r.To)
		}
	})
}

// TestRangeBeyondTheBudget: what the limits of a stream do not allow is refused until these
// begin anew.
func TestRangeBeyondTheBudget(t *testing.T) {
	askForRanges(t, 1500, func(o dial.Options, _ feeder.Running, asked *atomic.Int64) {
		read := func() error {
			r := past(30, time.Second)
			r.Stream = "cam-2"
			for _, err := range consume.Frames(t.Context(), o, r) {
				if err != nil {
					return err
				}
			}
			return nil
		}
		if err := read(); err != nil {
			t.Error(err)
		}
		before := asked.Load()
		var answer *consume.RangeError
		if err := read(); !errors.As(err, &answer) || answer.Code != frames.CodeBusy || !strings.Contains(answer.Text, "images_per_day") || answer.Wait <= 0 || answer.Wait > 24*time.Hour {
			t.Errorf("beyond the budget: %v", err)
		}
		if asked.Load() != before {
			t.Error("something was asked for")
		}
	})
}

// TestRangeAtTheEnd: who reads a range when the feeder stops is told so.
func TestRangeAtTheEnd(t *testing.T) {
	natsURL := feedertest.ServeNATS(t)
	_, fakeURL := feedertest.ServeFake(t, kinesistest.Options{Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(2)})
	o, log := options(t, rangesConfig, fakeURL, natsURL, 1500)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reading := make(chan error, 1)
	o.Started = func(context.Context, feeder.Running) {
		nc, err := nats.Connect(natsURL)
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		(&asking{t: t, nc: nc}).waitForService()
		go func() {
			for _, err := range consume.Frames(t.Context(), dial.Options{URL: natsURL}, past(1000, time.Second)) {
				if err != nil {
					reading <- err
					return
				}
				cancel()
			}
			reading <- nil
		}()
	}
	if err := feeder.New(o).Run(ctx); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	var answer *consume.RangeError
	if err := <-reading; !errors.As(err, &answer) || answer.Code != frames.CodeStopping || !strings.Contains(answer.Text, "cvfeeder is stopping") {
		t.Errorf("the reader is told: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestRangeOfASlowReader: what is not read is not asked for, and when the reader leaves nothing
// is asked for any more, and what was not spent can be spent by others.
func TestRangeOfASlowReader(t *testing.T) {
	askForRanges(t, 1500, func(o dial.Options, _ feeder.Running, asked *atomic.Int64) {
		r := past(1000, time.Second)
		r.Credit = 4
		n := 0
		for _, err := range consume.Frames(t.Context(), o, r) {
			if err != nil {
				t.Error(err)
				return
			}
			if n++; n == 10 {
				break
			}
			still(asked)
		}
		if images := still(asked); images > 250 {
			t.Errorf("%d images were asked for, for 10 that were read", images)
		}
		before := asked.Load()
		natstest.Eventually(t, "the images are given back", func() bool {
			again := past(900, time.Second)
			for _, err := range consume.Frames(t.Context(), o, again) {
				var answer *consume.RangeError
				if err != nil && !errors.As(err, &answer) {
					t.Error(err)
				}
				return err == nil
			}
			return false
		})
		if still(asked) == before {
			t.Error("nothing was asked for")
		}
	})
}

// still waits until nothing was asked for in 100 ms, and returns how much there was.
func still(asked *atomic.Int64) int64 {
	for before := int64(-1); ; {
		n := asked.Load()
		if n == before {
			return n
		}
		before = n
		timer := time.NewTimer(100 * time.Millisecond)
		<-timer.C
	}
}

// TestRangeOfAReaderThatIsKilled: what it has not read is not asked for any more, within seconds.
func TestRangeOfAReaderThatIsKilled(t *testing.T) {
	askForRanges(t, 1500, func(o dial.Options, running feeder.Running, asked *atomic.Int64) {
		nc, err := nats.Connect(o.URL)
		if err != nil {
			t.Error(err)
			return
		}
		r := past(1000, time.Second)
		inbox := nc.NewInbox()
		read := make(chan struct{})
		n := 0
		_, err = nc.Subscribe(inbox, func(m *nats.Msg) {
			if m.Header.Get(publish.HeaderTime) == "" {
				return
			}
			if n++; n == 200 {
				close(read)
			}
			_ = m.Respond(fmt.Appendf(nil, `{"read": %d}`, n))
		})
		if err == nil {
			err = nc.PublishRequest(frames.RangeSubject, inbox, fmt.Appendf(nil, `{"stream": "cam-1", "output": "small", "from": %q, "to": %q}`,
				r.From.Format(time.RFC3339), r.To.Format(time.RFC3339)))
		}
		if err != nil {
			t.Error(err)
			return
		}
		<-read
		begin := time.Now()
		nc.Close()
		natstest.Eventually(t, "the range has ended", func() bool {
			return strings.Contains(feedertest.Get(t, running.HTTP+"/metrics"), `cvfeeder_range_requests_total{outcome="gone"} 1`)
		})
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it was noticed after %v", took)
		}
		if images := still(asked); images > 600 {
			t.Errorf("%d images were asked for, for 200 that were read", images)
		}
	})
}

// TestRangeIsBounded: who wants more images than an hour has, or than are left of it, is
// refused before anything is asked for.
func TestRangeIsBounded(t *testing.T) {
	askForRanges(t, 400, func(o dial.Options, running feeder.Running, asked *atomic.Int64) {
		o.Name = "me"
		refused := func(r consume.Range, code, text string, wait time.Duration) {
			t.Helper()
			before := asked.Load()
			for _, err := range consume.Frames(t.Context(), o, r) {
				var answer *consume.RangeError
				if !errors.As(err, &answer) || answer.Code != code || !strings.Contains(answer.Text, text) || (answer.Wait > 0) != (wait > 0) || answer.Wait > wait {
					t.Errorf("%+v, want %s %q", err, code, text)
				}
			}
			if n := asked.Load(); n != before {
				t.Errorf("%d images were asked for", n-before)
			}
		}
		refused(past(1000, time.Second), frames.CodeTooLarge, "1261 of 400 an hour for each asker (requests.images_per_hour_per_asker)", 0)
		future := past(10, time.Second)
		future.To = time.Now().Add(time.Hour)
		refused(future, frames.CodeBadRequest, "ends in the future", time.Hour)
		unknown := past(10, time.Second)
		unknown.Output = "large"
		refused(unknown, frames.CodeNotFound, `unknown output "large" of stream cam-1: there is [small other]`, 0)
		unknown.Stream = "cam-3"
		refused(unknown, frames.CodeNotFound, `unknown stream "cam-3"`, 0)
		unknown = past(10, time.Second)
		unknown.From = unknown.To.Add(-500 * time.Millisecond)
		refused(unknown, frames.CodeBadRequest, "has no slot of the interval 1s", 0)
		if scraped := feedertest.Get(t, running.HTTP+"/metrics"); !strings.Contains(scraped, `cvfeeder_range_requests_total{outcome="refused_images"} 1`) {
			t.Error("the metrics do not count what was refused")
		}
		// One asker has one prefix of inboxes.
		nc, err := nats.Connect(o.URL, nats.CustomInboxPrefix("_INBOX.me"))
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		ask := func(slots int) nats.Header {
			r := past(slots, time.Second)
			m, err := nc.Request(frames.RangeSubject, fmt.Appendf(nil, `{"stream": "cam-2", "output": "small", "from": %q, "to": %q}`,
				r.From.Format(time.RFC3339), r.To.Format(time.RFC3339)), 10*time.Second)
			if err != nil {
				t.Error(err)
				return nats.Header{}
			}
			return m.Header
		}
		if h := ask(250); h.Get(publish.HeaderRangeImages) != "323" {
			t.Errorf("within the bound: %v", h)
		}
		if h := ask(100); h.Get("Nats-Service-Error-Code") != "429" || !strings.Contains(h.Get("Nats-Service-Error"), "400 an hour for each asker") || h.Get(publish.HeaderRetryAfter) == "" {
			t.Errorf("while the first is being read: %v", h)
		}
	})
}
