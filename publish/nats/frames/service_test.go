package frames_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

func TestMain(m *testing.M) { natstest.VerifyNoLeaks(m) }

const subject = conntest.Subject

// needsLive is what the mode "live" needs.
var needsLive = preflight.NeedsLive([]string{"cvf.t.*.*"}, []string{"cvf.gap.*"})

const goodRequest = `{"stream": "cam-1", "time": "2026-01-02T03:04:05.200Z", "output": "detector"}`

// serve starts the service and a plain client of it. What it returns ends the
// service and waits for that.
func serve(t *testing.T, serverOptions embedded.Options, o frames.Options) (nc *nats.Conn, end func() error) {
	t.Helper()
	srv := natstest.Serve(t, serverOptions)
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	if o.Streams == nil {
		o.Streams = func(stream string) (any, error) { return []string{"state of " + stream}, nil }
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- frames.Serve(ctx, conn, o) }()
	nc = client(t, srv.ClientURL())
	natstest.Eventually(t, "the service answers", func() bool {
		_, err := nc.Request(frames.StreamsSubject, nil, time.Second)
		return err == nil
	})
	end = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	return nc, end
}

func client(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func request(t *testing.T, nc *nats.Conn, subject, data string) *nats.Msg {
	t.Helper()
	m, err := nc.Request(subject, []byte(data), 60*time.Second)
	if err != nil {
		t.Fatalf("%s %s: %v", subject, data, err)
	}
	return m
}

// frameOf answers with a message that holds the request.
func frameOf(_ context.Context, r frames.Request, answer func(publish.Message) error) error {
	return answer(publish.Message{
		Subject: "not used", Header: map[string][]string{"Cvf-Stream": {r.Stream}},
		Data: fmt.Appendf(nil, "%s %v %s", r.Stream, r.Time.UnixMilli(), r.Output),
	})
}

func TestServiceAnswers(t *testing.T) {
	nc, _ := serve(t, embedded.Options{}, frames.Options{Frame: frameOf})
	m := request(t, nc, frames.FrameSubject, goodRequest)
	if string(m.Data) != "cam-1 1767323045200 detector" {
		t.Errorf("got %q", m.Data)
	}
	if diff := cmp.Diff(nats.Header{"Cvf-Stream": {"cam-1"}}, m.Header); diff != "" {
		t.Error(diff)
	}
	for data, want := range map[string]string{"": `["state of "]`, `{"stream": "cam-2"}`: `["state of cam-2"]`} {
		if m := request(t, nc, frames.StreamsSubject, data); string(m.Data) != want || m.Header != nil {
			t.Errorf("streams %q: %q %v", data, m.Data, m.Header)
		}
	}
	if err := nc.Publish(frames.FrameSubject, []byte(goodRequest)); err != nil { // nobody to answer to
		t.Fatal(err)
	}
	request(t, nc, frames.FrameSubject, goodRequest)
}

// TestStreamsAreRated: the state of thousands of streams is megabytes, so it is not told to
// one asker without end. Frames have a rate of their own.
func TestStreamsAreRated(t *testing.T) {
	nc, _ := serve(t, embedded.Options{}, frames.Options{Frame: frameOf, Rates: frames.NewRates(2, 1)})
	refused := 0
	for range 20 {
		m := request(t, nc, frames.StreamsSubject, "")
		if m.Header.Get(micro.ErrorCodeHeader) == frames.CodeBusy && strings.Contains(m.Header.Get(micro.ErrorHeader), "requests.rate_per_asker") {
			refused++
		}
	}
	if refused < 10 {
		t.Errorf("%d of 20 requests refused", refused)
	}
	if m := request(t, nc, frames.FrameSubject, goodRequest); m.Header.Get(micro.ErrorHeader) != "" {
		t.Errorf("a frame: %v", m.Header)
	}
}

func TestServiceIsMicro(t *testing.T) {
	nc, _ := serve(t, embedded.Options{}, frames.Options{Frame: frameOf, Version: "v1.2.3-4-gabcdef0-dirty"})
	request(t, nc, frames.FrameSubject, goodRequest)
	request(t, nc, frames.FrameSubject, "{")

	var ping micro.Ping
	ask(t, nc, "$SRV.PING", &ping)
	if ping.Type != micro.PingResponseType || ping.Name != "cvfeeder" || ping.Version != "1.2.3-4-gabcdef0-dirty" {
		t.Errorf("%+v", ping)
	}
	var info micro.Info
	ask(t, nc, "$SRV.INFO.cvfeeder", &info)
	subjects := map[string]string{}
	for _, e := range info.Endpoints {
		subjects[e.Name] = e.Subject
	}
	if diff := cmp.Diff(map[string]string{"frame": "cvf.svc.frame", "burst": "cvf.svc.burst", "frames": "cvf.svc.frames", "replay": "cvf.svc.replay", "streams": "cvf.svc.streams"}, subjects); diff != "" {
		t.Error(diff)
	}
	// An answer may be counted after it was received.
	want := map[string]any{"answered": 1.0, "failed": 0.0, "refused": 1.0, "handed_on": 0.0, "misdirected": 0.0, "making": 0.0}
	var got map[string]any
	natstest.Eventually(t, "the statistics hold both requests", func() bool {
		var stats micro.Stats
		ask(t, nc, "$SRV.STATS.cvfeeder."+info.ID, &stats)
		frame := stats.Endpoints[0]
		if frame.Name != "frame" || frame.NumRequests != 2 || frame.NumErrors != 1 {
			return false
		}
		got = nil
		if err := json.Unmarshal(frame.Data, &got); err != nil {
			t.Fatal(err)
		}
		delete(got, "total_ns")
		return cmp.Equal(want, got)
	})
}

func ask(t *testing.T, nc *nats.Conn, subject string, into any) {
	t.Helper()
	if err := json.Unmarshal(request(t, nc, subject, "").Data, into); err != nil {
		t.Fatal(err)
	}
}

func TestServiceRefuses(t *testing.T) {
	nc, _ := serve(t, embedded.Options{MaxPayload: 8 << 10}, frames.Options{
		Timeout: 50 * time.Millisecond,
		Frame: func(ctx context.Context, r frames.Request, answer func(publish.Message) error) error {
			switch r.Output {
			case "own":
				return fmt.Errorf("in vain: %w", &frames.Error{Code: "404", Text: "none\r\nsuch"})
			case "other":
				return errors.New("it broke")
			case "large":
				return answer(publish.Message{Data: make([]byte, 8<<10+1)})
			}
			<-ctx.Done()
			return ctx.Err()
		},
		Streams: func(stream string) (any, error) {
			if stream == "" {
				return strings.Repeat("x", 8<<10), nil
			}
			return nil, &frames.Error{Code: "404", Text: "unknown stream"}
		},
	})
	frame := func(output string) string { return strings.Replace(goodRequest, "detector", output, 1) }
	for _, tt := range []struct{ subject, request, code, text string }{
		{frames.FrameSubject, "", "400", `the request is empty: it is like {"stream"`},
		{frames.FrameSubject, "hello", "400", "not understood: invalid character 'h'"},
		{frames.FrameSubject, "[]", "400", "cannot unmarshal array"},
		{frames.FrameSubject, goodRequest + "{}", "400", "more behind the object"},
		{frames.FrameSubject, `{"strem": "cam-1"}`, "400", `unknown field "strem"`},
		{frames.FrameSubject, `{"stream": "cam-1", "output": "a"}`, "400", "time is missing"},
		{frames.FrameSubject, `{"stream": "a", "time": "5 o'clock", "output": "a"}`, "400", `time "5 o'clock" is not in RFC 3339`},
		{frames.FrameSubject, strings.Repeat(" ", 5000), "400", "5000 bytes, more than 4096"},
		{frames.FrameSubject, frame("own"), "404", "none such"},
		{frames.FrameSubject, frame("other"), "500", "it broke"},
		{frames.FrameSubject, frame("large"), "413", "max_payload to at least 8193"},
		{frames.FrameSubject, frame("slow"), "504", "within 50ms"},
		{frames.StreamsSubject, "", "413", "ask for one stream"},
		{frames.StreamsSubject, "{", "400", "unexpected EOF"},
		{frames.StreamsSubject, `{"stream": "x"}`, "404", "unknown stream"},
	} {
		m := request(t, nc, tt.subject, tt.request)
		code, text := m.Header.Get(micro.ErrorCodeHeader), m.Header.Get(micro.ErrorHeader)
		if code != tt.code || !strings.Contains(text, tt.text) || len(m.Data) > 0 {
			t.Errorf("%s %.40q: %s %q, want %s %q", tt.subject, tt.request, code, text, tt.code, tt.text)
		}
	}
}

// TestServiceIsBounded: no more frames are made at a time than allowed, the others
// are refused at once, and at the end those being made are refused, too.
func TestServiceIsBounded(t *testing.T) {
	var making, most atomic.Int32
	begun, finish := make(chan struct{}, 10), make(chan struct{})
	nc, end := serve(t, embedded.Options{}, frames.Options{
		Rates: frames.NewRates(1000, 1000),
		Frame: func(ctx context.Context, r frames.Request, answer func(publish.Message) error) error {
			most.Store(max(most.Load(), making.Add(1)))
			defer making.Add(-1)
			begun <- struct{}{}
			select {
			case <-finish:
				return frameOf(ctx, r, answer)
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	})
	answers := func(n int) *nats.Subscription {
		inbox := nats.NewInbox()
		sub, err := nc.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			if err := nc.PublishRequest(frames.FrameSubject, inbox, []byte(goodRequest)); err != nil {
				t.Fatal(err)
			}
		}
		return sub
	}
	next := func(sub *nats.Subscription) string {
		m, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return m.Header.Get(micro.ErrorCodeHeader)
	}
	first := answers(4)
	for range 4 {
		<-begun
	}
	busy := answers(20)
	for range 20 {
		if code := next(busy); code != "429" {
			t.Fatalf("code %q instead of being too busy", code)
		}
	}
	for range 4 {
		finish <- struct{}{}
	}
	for range 4 {
		if code := next(first); code != "" {
			t.Errorf("code %q", code)
		}
	}
	if n := most.Load(); n != 4 {
		t.Errorf("%d frames were made at a time", n)
	}

	// There is room again as soon as a frame is counted as made.
	last := nats.NewInbox()
	sub, err := nc.SubscribeSync(last)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, "a frame is being made", func() bool {
		if err := nc.PublishRequest(frames.FrameSubject, last, []byte(goodRequest)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-begun:
			return true
		case <-time.After(50 * time.Millisecond):
			return false
		}
	})
	if err := end(); err != nil {
		t.Fatal(err)
	}
	for code := "429"; code != "503"; {
		if code = next(sub); code != "429" && code != "503" {
			t.Fatalf("at the end: code %q", code)
		}
	}
	natstest.Eventually(t, "there is no service", func() bool {
		_, err := nc.Request(frames.FrameSubject, []byte(goodRequest), time.Second)
		return errors.Is(err, nats.ErrNoResponders)
	})
}

// TestServicePermissions: the documented permissions suffice, without them there is
// no service, and neither ends the tensors.
func TestServicePermissions(t *testing.T) {
	url := natstest.StartUsers(t, &server.Options{}, map[string]*server.Permissions{
		"all":    conntest.Grant(needsLive.With(conntest.NeedsCheck()).With(preflight.NeedsService())),
		"none":   conntest.Grant(needsLive.With(conntest.NeedsCheck())),
		"silent": conntest.Grant(needsLive),
	})
	start := func(user string) (conn *dial.Conn, log *natstest.Log, end func() error) {
		log = &natstest.Log{}
		conn = conntest.Dial(t, dial.Options{
			URL: url(user), Logger: slog.New(slog.NewTextHandler(log, nil)),
			OnDenied: func(err error) { t.Errorf("user %s: %v", user, err) },
		})
		conntest.WaitConnected(t, conn)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- frames.Serve(ctx, conn, frames.Options{
				Frame: frameOf, Streams: func(string) (any, error) { return nil, nil },
			})
		}()
		return conn, log, func() error {
			cancel()
			return <-done
		}
	}
	nc := client(t, url("admin"))

	_, _, end := start("all")
	natstest.Eventually(t, "the service answers", func() bool {
		m, err := nc.Request(frames.FrameSubject, []byte(goodRequest), time.Second)
		return err == nil && m.Header.Get("Cvf-Stream") == "cam-1"
	})
	ask(t, nc, "$SRV.PING", &micro.Ping{})
	if err := end(); err != nil {
		t.Error(err)
	}

	var denied *dial.PermissionError
	err := frames.Serve(t.Context(), conntest.Dial(t, dial.Options{URL: url("none")}), frames.Options{})
	if !errors.As(err, &denied) || len(denied.Missing) != 3 || !strings.Contains(err.Error(), "cvf.svc.>") {
		t.Errorf("got %v", err)
	}

	// Where the server does not tell beforehand, the refusal is logged, and no more.
	conn, log, end := start("silent")
	natstest.Eventually(t, "the refusal is logged", func() bool { return strings.Contains(log.String(), "ermissions Violation") })
	if err := errors.Join(conn.Flush(t.Context()), conn.Denied(), deliver.NewLive(conn, publish.GapEvents).Publish(t.Context(), publish.Message{Subject: subject})); err != nil {
		t.Error(err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// TestAnswersThatAreRefused: where an answer goes is up to whoever asks. That the
// user may not publish there must not be taken for a tensor that is refused.
func TestAnswersThatAreRefused(t *testing.T) {
	needs := needsLive.With(conntest.NeedsCheck()).With(preflight.NeedsService())
	needs.Respond = false
	needs.Publish = append(needs.Publish, "_INBOX.>") // stands for allow_responses
	url := natstest.StartUsers(t, &server.Options{}, map[string]*server.Permissions{"feeder": conntest.Grant(needs)})
	log := &natstest.Log{}
	conn := conntest.Dial(t, dial.Options{
		URL: url("feeder"), Logger: slog.New(slog.NewTextHandler(log, nil)),
		OnDenied: func(err error) { t.Error(err) },
	})
	conntest.WaitConnected(t, conn)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- frames.Serve(ctx, conn, frames.Options{
			Frame: frameOf, Streams: func(string) (any, error) { return nil, nil },
		})
	}()
	nc := client(t, url("admin"))
	natstest.Eventually(t, "the service answers", func() bool {
		m, err := nc.Request(frames.FrameSubject, []byte(goodRequest), time.Second)
		return err == nil && m.Header.Get("Cvf-Stream") == "cam-1"
	})
	for _, request := range []string{goodRequest, "{}"} {
		if err := nc.PublishRequest(frames.FrameSubject, "mine.alone", []byte(request)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.PublishRequest("$SRV.PING", "mine.alone", nil); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, "the refusals are logged", func() bool { return strings.Contains(log.String(), "mine.alone") })
	if err := errors.Join(conn.Flush(t.Context()), conn.Denied()); err != nil {
		t.Error(err)
	}
	err := deliver.NewLive(conn, publish.GapEvents).Publish(t.Context(), publish.Message{Subject: subject})
	if !errors.Is(err, publish.ErrUnwatched) {
		t.Errorf("publishing where nobody listens: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestServiceKeepsToRates: an asker that asks too often is refused, others are not, and
// what becomes of each request is told.
func TestServiceKeepsToRates(t *testing.T) {
	var mu sync.Mutex
	outcomes := map[frames.Outcome]int{}
	made := 0
	nc, _ := serve(t, embedded.Options{}, frames.Options{
		Rates: frames.NewRates(30, 2), Concurrent: 100,
		Frame: func(ctx context.Context, r frames.Request, answer func(publish.Message) error) error {
			mu.Lock()
			made++
			mu.Unlock()
			return frameOf(ctx, r, answer)
		},
		Observe: func(o frames.Outcome) {
			mu.Lock()
			defer mu.Unlock()
			outcomes[o]++
		},
	})
	refused := 0
	for range 100 {
		m := request(t, nc, frames.FrameSubject, goodRequest)
		if m.Header.Get(micro.ErrorCodeHeader) == "429" && strings.Contains(m.Header.Get(micro.ErrorHeader), "requests.rate_per_asker") {
			refused++
		}
	}
	if refused < 80 {
		t.Errorf("%d of 100 requests were refused", refused)
	}
	other := client(t, nc.ConnectedUrl())
	if m := request(t, other, frames.FrameSubject, goodRequest); m.Header.Get(micro.ErrorCodeHeader) != "" {
		t.Errorf("another asker: %v", m.Header)
	}
	request(t, other, frames.FrameSubject, "{")
	if err := other.PublishRequest(frames.FrameSubject, "elsewhere", []byte(goodRequest)); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, "all requests are counted", func() bool {
		mu.Lock()
		defer mu.Unlock()
		want := map[frames.Outcome]int{frames.RefusedRate: refused, frames.BadRequest: 1, frames.Misdirected: 1}
		return made == 101-refused && cmp.Equal(want, outcomes)
	})
}
