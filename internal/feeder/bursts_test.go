package feeder_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const burstConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
delivery: {mode: %s, stream: {keep: %d}}
http: {listen: "127.0.0.1:0"}
streams:
  - {name: cam-1, interval: 1s, outputs: [small, tiny]}
  - {name: cam-2, interval: 1s, outputs: [small, tiny], poll: request}
  - {name: cam-3, interval: 1s, outputs: [small, tiny], burst: {most: 0s}}
outputs:
  small: {preset: none, size: 16x16}
  tiny: {preset: none, size: 8x8}
`

// A listener has all messages of all subjects.
type listener struct {
	mu  sync.Mutex
	got map[string][]*nats.Msg // by subject
}

func listen(t *testing.T, nc *nats.Conn) *listener {
	t.Helper()
	l := &listener{got: map[string][]*nats.Msg{}}
	_, err := nc.Subscribe("cvf.t.>", func(m *nats.Msg) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.got[m.Subject] = append(l.got[m.Subject], m)
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// of returns how often each slot of a range came on a subject, and how often in a burst.
func (l *listener) of(subject string, from, to source.Slot) (times, burst map[source.Slot]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	times, burst = map[source.Slot]int{}, map[source.Slot]int{}
	for _, m := range l.got[subject] {
		s, err := source.ParseSlot(m.Header.Get("Cvf-Time"))
		if err != nil || s < from || s >= to {
			continue
		}
		times[s]++
		if m.Header.Get("Cvf-Burst") != "" {
			burst[s]++
		}
	}
	return times, burst
}

// disorder counts the messages of a subject that are older than one before them, and do not say so.
func (l *listener) disorder(subject string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := source.Slot(0)
	for _, m := range l.got[subject] {
		s, _ := source.ParseSlot(m.Header.Get("Cvf-Time"))
		if s < newest && m.Header.Get("Cvf-Late") == "" {
			n++
		}
		newest = max(newest, s)
	}
	return n
}

func askBurst(t *testing.T, nc *nats.Conn, request string, args ...any) (a frames.BurstAnswer, refused string) {
	t.Helper()
	m, err := nc.Request(frames.BurstSubject, fmt.Appendf(nil, request, args...), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if text := m.Header.Get(micro.ErrorHeader); text != "" {
		return a, m.Header.Get(micro.ErrorCodeHeader) + " " + text
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		t.Fatalf("%s: %v", m.Data, err)
	}
	return a, ""
}

// checkBurst waits until a burst has ended, and checks that its slots came once each.
func checkBurst(t *testing.T, l *listener, a frames.BurstAnswer) {
	t.Helper()
	from, err := source.ParseSlot(a.From)
	to, err2 := source.ParseSlot(a.To)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	interval, err := time.ParseDuration(a.Interval)
	if err != nil || a.Slots != int(to.Sub(from)/interval) {
		t.Errorf("%+v: %v", a, err)
	}
	for _, output := range []string{"small", "tiny"} {
		subject := "cvf.t." + a.Stream + "." + output
		natstest.Eventually(t, subject+" has all slots of the burst", func() bool {
			times, _ := l.of(subject, from, to)
			return len(times) >= a.Slots
		})
		times, _ := l.of(subject, from, to)
		for s := from; s < to; s = s.Add(interval) {
			if times[s] != 1 {
				t.Errorf("%s: %v came %d times", subject, s, times[s])
			}
		}
		if len(times) != a.Slots {
			t.Errorf("%s: %d slots, want %d", subject, len(times), a.Slots)
		}
		if n := l.disorder(subject); n > 0 {
			t.Errorf("%s: %d messages are older than those before them, and do not say so", subject, n)
		}
	}
}

// sums checks every 50 ms that the ledgers add up, until the returned function is called.
func sums(t *testing.T, run feeder.Running) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var checking sync.WaitGroup
	checking.Go(func() {
		last := map[string]source.Stats{}
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			for _, s := range run.Streams() {
				before := last[s.Name]
				for o, n := range s.Ended {
					if n < before.Ended[o] {
						t.Errorf("%s: %v went from %d to %d", s.Name, source.Outcome(o), before.Ended[o], n)
					}
				}
				if accounted(s.Stats) != s.Expected || s.Expected < before.Expected {
					t.Errorf("%s does not add up: %+v", s.Name, s.Stats)
				}
				last[s.Name] = s.Stats
			}
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	})
	return func() { cancel(); checking.Wait() }
}

// TestBursts: a burst that looks back and ahead brings every slot of its grid once on every
// subject, beside those that the stream publishes itself; overlapping requests are one burst; a
// stream that is not read otherwise has bursts as well; and by the service's own record, a burst
// costs no more images than its slots and what has to overlap.
func TestBursts(t *testing.T) {
	for _, mode := range []string{"live", "ring"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			fake, url := feedertest.ServeFake(t, kinesistest.Options{Streams: kinesistest.Cameras(3), Scene: feedertest.Grey{}})
			natsURL := feedertest.ServeNATS(t)
			o, log := options(t, burstConfig, url, natsURL, mode, 100)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o.Started = func(_ context.Context, run feeder.Running) {
				defer cancel()
				v := &visitor{t: t, fake: fake, run: run}
				v.connect(natsURL)
				l := listen(t, v.nc)
				(&asking{t: t, nc: v.nc}).waitForService()
				defer sums(t, run)()
				v.wait("cam-1", source.Published, 8)
				now := time.Now().UTC()
				first, refused := askBurst(t, v.nc, `{"stream": "cam-1", "time": %q, "after": "3s", "reason": "a person"}`, now.Format(time.RFC3339Nano))
				if refused != "" || first.Joined || first.Slots != 40 {
					t.Fatalf("%+v, %s", first, refused)
				}
				second, refused := askBurst(t, v.nc, `{"stream": "cam-1", "time": %q, "after": "3s"}`, now.Add(2*time.Second).Format(time.RFC3339Nano))
				if refused != "" || !second.Joined || second.Burst != first.Burst || second.From != first.From || second.Slots != 50 {
					t.Fatalf("%+v after %+v, %s", second, first, refused)
				}
				alone, refused := askBurst(t, v.nc, `{"stream": "cam-2", "time": %q}`, now.Add(-30*time.Second).Format(time.RFC3339Nano))
				if refused != "" || alone.Slots != 75 {
					t.Fatalf("%+v, %s", alone, refused)
				}
				checkBurst(t, l, alone)
				if asked := fake.Totals()["cam-2"].Asked; asked > 75+20 { // two fragments
					t.Errorf("a burst of 75 slots cost %d images", asked)
				}
				before := fake.Totals()["cam-2"].Asked
				ahead, refused := askBurst(t, v.nc, `{"stream": "cam-2"}`)
				if refused != "" || ahead.Slots != 75 || ahead.Joined {
					t.Fatalf("%+v, %s", ahead, refused)
				}
				checkBurst(t, l, ahead)
				t.Logf("one of 75 slots, most of them ahead, cost %d", fake.Totals()["cam-2"].Asked-before)
				if asked := fake.Totals()["cam-2"].Asked - before; asked > 75+3*20 { // for each stage
					t.Errorf("a burst of 75 slots, most of them ahead, cost %d images", asked)
				}
				checkBurst(t, l, second)
				v.wait("cam-1", source.Published, v.stream("cam-1").Ended[source.Published]+3)
				checkBurst(t, l, second) // nothing came again
				checkRefusals(t, v.nc, mode)
				checkClient(t, natsURL, alone)
				if page := feedertest.Get(t, run.HTTP+"/api/streams/cam-1"); !strings.Contains(page, second.Burst) || !strings.Contains(page, "a person") {
					t.Errorf("the page does not know the burst: %s", page)
				}
				if scraped := feedertest.Get(t, run.HTTP+"/metrics"); !strings.Contains(scraped, `cvfeeder_bursts_total{stream="cam-1"} 1`) {
					t.Error("the metrics do not count the burst")
				}
			}
			if err := feeder.New(o).Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%v\n%s", err, log.String())
			}
		})
	}
}

// checkClient asks as programs in Go do.
func checkClient(t *testing.T, url string, known frames.BurstAnswer) {
	t.Helper()
	ask := func(r consume.BurstRequest) (consume.Burst, error) {
		return consume.AskBurst(t.Context(), dial.Options{URL: url}, r)
	}
	from, err := time.Parse(time.RFC3339, known.From)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ask(consume.BurstRequest{Stream: known.Stream, Time: from.Add(5 * time.Second), Before: 2 * time.Second, Interval: time.Second, Reason: "again"})
	if err != nil || got.ID != known.Burst || !got.From.Equal(from) || got.Slots != known.Slots || !got.Joined || got.Interval != 200*time.Millisecond {
		t.Errorf("%+v, %v", got, err)
	}
	var refused *consume.BurstError
	if _, err := ask(consume.BurstRequest{Stream: "cam-3"}); !errors.As(err, &refused) || refused.Code != "400" || !strings.Contains(refused.Text, "burst.most is 0") {
		t.Error(err)
	}
	if _, err := ask(consume.BurstRequest{Stream: "cam-1", Before: time.Hour, After: -1}); !errors.As(err, &refused) || !strings.Contains(refused.Text, "before 1h0m0s and after 10s") {
		t.Error(err)
	}
}

func checkRefusals(t *testing.T, nc *nats.Conn, mode string) {
	t.Helper()
	for request, want := range map[string]string{
		`{"stream": "cam-3"}`:                                 `400 stream "cam-3" takes no bursts: burst.most is 0`,
		`{"stream": "cam-9"}`:                                 "404 unknown stream",
		`{"stream": "cam-1", "after": "2m"}`:                  "400 before 5s and after 2m0s are more than a burst of \"cam-1\" may have: at most 1m0s (burst.most)",
		`{"stream": "cam-1", "interval": "50ms"}`:             "400 interval 50ms is too short",
		`{"stream": "cam-1", "before": "soon"}`:               `400 before "soon" is not a duration`,
		`{"stream": "cam-1", "time": "noon"}`:                 `400 time "noon" is not in RFC 3339`,
		`{"stream": "cam-1", "time": "2190-01-01T00:00:00Z"}`: "ahead: at most 1m0s",
		`{"stream": "cam-1", "before": "0s", "after": "0s"}`:  "400 there is no slot",
		`{"stream": "cam-1", "for": "10s"}`:                   "400 the request is not understood",
		`{}`:                                                  "400 stream is missing",
	} {
		if _, refused := askBurst(t, nc, "%s", request); !strings.Contains(refused, want) {
			t.Errorf("%s: %q, want %q", request, refused, want)
		}
	}
	_, refused := askBurst(t, nc, `{"stream": "cam-2", "before": "15s", "after": "15s"}`)
	if ring := strings.Contains(refused, "400 a burst of 150 slots is too long, more than 100: the ring holds"); ring != (mode == "ring") {
		t.Errorf("150 slots in the mode %s: %q", mode, refused)
	}
}

// TestNoBurstsInDurable: a request says why, and what to do.
func TestNoBurstsInDurable(t *testing.T) {
	_, url := feedertest.ServeFake(t, kinesistest.Options{Streams: kinesistest.Cameras(3), Scene: feedertest.Grey{}})
	natsURL := feedertest.ServeNATS(t)
	o, _ := options(t, burstConfig, url, natsURL, "durable", 8)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Started = func(_ context.Context, run feeder.Running) {
		defer cancel()
		nc, err := nats.Connect(natsURL)
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		(&asking{t: t, nc: nc}).waitForService()
		natstest.Eventually(t, "the streams run", func() bool { return len(run.Streams()) == 3 })
		if _, refused := askBurst(t, nc, `{"stream": "cam-1"}`); !strings.HasPrefix(refused, "400 there are no bursts in the mode durable") {
			t.Errorf("%q", refused)
		}
	}
	if err := feeder.New(o).Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

const pageBurstConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: %q}
streams:
  - {name: cam-1, interval: 1s, outputs: [small], poll: request, active: "07:00-19:00"}
outputs:
  small: {preset: none, size: 16x16}
`

// TestPageShowsBursts looks at the bursts of a stream with Chromium.
func TestPageShowsBursts(t *testing.T) {
	b := newBrowser(t)
	r := feedertest.NewRig(t, kinesistest.Options{Streams: kinesistest.Cameras(1), Scene: feedertest.Grey{}})
	f := serveWith(t, pageBurstConfig, r, "127.0.0.1:0")
	nc, err := nats.Connect(r.NATSURL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	listen(t, nc)
	b.do(chromedp.Navigate(f.http))
	b.until("the stream is there", names+` === "cam-1"`)
	eval[bool](b, rowOf("cam-1")+`.querySelector("h2 button").click() || true`)
	b.until("there are no bursts yet", `document.querySelector(".detail") !== null && !document.querySelector(".detail").innerText.includes("Bursts")`)
	a, refused := askBurst(t, nc, `{"stream": "cam-1", "time": %q, "reason": "<b>a person</b>"}`, time.Now().Add(-time.Minute).UTC().Format(time.RFC3339))
	if refused != "" {
		t.Fatal(refused)
	}
	b.until("the burst is done", fmt.Sprintf(`["Bursts", %q, "75 of 75", "done", "<b>a person</b>"].every((w) => document.querySelector(".detail").innerText.includes(w))`, a.Burst))
	b.check()
}

const restingBurstConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
delivery: {mode: ring, stream: {keep: 100}}
http: {listen: ""}
streams:
  - {name: cam-1, interval: 1s, outputs: [small], poll: subscribed}
outputs:
  small: {preset: none, size: 16x16}
`

// TestBurstOfAStreamAtRest: nobody listens to the stream, so nothing is asked for but the burst,
// which the ring holds; the stream rests all the time.
func TestBurstOfAStreamAtRest(t *testing.T) {
	fake, url := feedertest.ServeFake(t, kinesistest.Options{Streams: kinesistest.Cameras(1), Scene: feedertest.Grey{}})
	natsURL := feedertest.ServeNATS(t)
	o, log := options(t, restingBurstConfig, url, natsURL)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Started = func(_ context.Context, run feeder.Running) {
		defer cancel()
		v := &visitor{t: t, fake: fake, run: run}
		v.connect(natsURL)
		(&asking{t: t, nc: v.nc}).waitForService()
		defer sums(t, run)()
		v.wait("cam-1", source.Unwatched, 3)
		v.asked("before", 0, "cam-1")
		a, refused := askBurst(t, v.nc, `{"stream": "cam-1", "time": %q}`, time.Now().Add(-time.Minute).UTC().Format(time.RFC3339))
		if refused != "" {
			t.Fatal(refused)
		}
		v.wait("cam-1", source.Published, uint64(a.Slots))
		if asked := fake.Totals()["cam-1"].Asked; asked > a.Slots+20 || !v.stream("cam-1").Resting {
			t.Errorf("%d images were asked for, resting %v", asked, v.stream("cam-1").Resting)
		}
		asked := fake.Totals()["cam-1"].Asked
		v.wait("cam-1", source.Unwatched, v.stream("cam-1").Ended[source.Unwatched]+3)
		v.asked("after", asked, "cam-1")
	}
	if err := feeder.New(o).Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%v\n%s", err, log.String())
	}
}
