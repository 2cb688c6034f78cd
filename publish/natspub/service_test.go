package natspub_test

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
	"github.com/cvfeeder/cvfeeder/publish/natspub"
)

const goodRequest = `{"stream": "cam-1", "time": "2026-01-02T03:04:05.200Z", "output": "detector"}`

// serve starts the service and a plain client of it. What it returns ends the
// service and waits for that.
func serve(t *testing.T, serverOptions natspub.ServerOptions, o natspub.ServiceOptions) (nc *nats.Conn, end func() error) {
	t.Helper()
	srv := startServer(t, serverOptions)
	conn := dial(t, natspub.Options{URL: srv.ClientURL()})
	if o.Streams == nil {
		o.Streams = func(stream string) (any, error) { return []string{"state of " + stream}, nil }
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- conn.Serve(ctx, o) }()
	nc = client(t, srv.ClientURL())
	eventually(t, "the service answers", func() bool {
		_, err := nc.Request(natspub.StreamsSubject, nil, time.Second)
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
	m, err := nc.Request(subject, []byte(data), 10*time.Second)
	if err != nil {
		t.Fatalf("%s %s: %v", subject, data, err)
	}
	return m
}

// frameOf answers with a message that holds the request.
func frameOf(_ context.Context, r natspub.FrameRequest, answer func(publish.Message) error) error {
	return answer(publish.Message{
		Subject: "not used", Header: map[string][]string{"Cvf-Stream": {r.Stream}},
		Data: fmt.Appendf(nil, "%s %v %s", r.Stream, r.Time.UnixMilli(), r.Output),
	})
}

func TestServiceAnswers(t *testing.T) {
	nc, _ := serve(t, natspub.ServerOptions{}, natspub.ServiceOptions{Frame: frameOf})
	m := request(t, nc, natspub.FrameSubject, goodRequest)
	if string(m.Data) != "cam-1 1767323045200 detector" {
		t.Errorf("got %q", m.Data)
	}
	if diff := cmp.Diff(nats.Header{"Cvf-Stream": {"cam-1"}}, m.Header); diff != "" {
		t.Error(diff)
	}
	for data, want := range map[string]string{"": `["state of "]`, `{"stream": "cam-2"}`: `["state of cam-2"]`} {
		if m := request(t, nc, natspub.StreamsSubject, data); string(m.Data) != want || m.Header != nil {
			t.Errorf("streams %q: %q %v", data, m.Data, m.Header)
		}
	}
	if err := nc.Publish(natspub.FrameSubject, []byte(goodRequest)); err != nil { // nobody to answer to
		t.Fatal(err)
	}
	request(t, nc, natspub.FrameSubject, goodRequest)
}

func TestServiceIsMicro(t *testing.T) {
	nc, _ := serve(t, natspub.ServerOptions{}, natspub.ServiceOptions{Frame: frameOf, Version: "v1.2.3-4-gabcdef0-dirty"})
	request(t, nc, natspub.FrameSubject, goodRequest)
	request(t, nc, natspub.FrameSubject, "{")

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
	if diff := cmp.Diff(map[string]string{"frame": "cvf.svc.frame", "streams": "cvf.svc.streams"}, subjects); diff != "" {
		t.Error(diff)
	}
	// An answer may be counted after it was received.
	want := map[string]any{"answered": 1.0, "failed": 0.0, "refused": 1.0, "handed_on": 0.0, "making": 0.0}
	var got map[string]any
	eventually(t, "the statistics hold both requests", func() bool {
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
	nc, _ := serve(t, natspub.ServerOptions{MaxPayload: 8 << 10}, natspub.ServiceOptions{
		Timeout: 50 * time.Millisecond,
		Frame: func(ctx context.Context, r natspub.FrameRequest, answer func(publish.Message) error) error {
			switch r.Output {
			case "own":
				return fmt.Errorf("in vain: %w", &natspub.ServiceError{Code: "404", Text: "none\r\nsuch"})
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
			return nil, &natspub.ServiceError{Code: "404", Text: "unknown stream"}
		},
	})
	frame := func(output string) string { return strings.Replace(goodRequest, "detector", output, 1) }
	for _, tt := range []struct{ subject, request, code, text string }{
		{natspub.FrameSubject, "", "400", `the request is empty: it is like {"stream"`},
		{natspub.FrameSubject, "hello", "400", "not understood: invalid character 'h'"},
		{natspub.FrameSubject, "[]", "400", "cannot unmarshal array"},
		{natspub.FrameSubject, goodRequest + "{}", "400", "more behind the object"},
		{natspub.FrameSubject, `{"strem": "cam-1"}`, "400", `unknown field "strem"`},
		{natspub.FrameSubject, `{"stream": "cam-1", "output": "a"}`, "400", "time is missing"},
		{natspub.FrameSubject, `{"stream": "a", "time": "5 o'clock", "output": "a"}`, "400", `time "5 o'clock" is not in RFC 3339`},
		{natspub.FrameSubject, strings.Repeat(" ", 5000), "400", "5000 bytes, more than 4096"},
		{natspub.FrameSubject, frame("own"), "404", "none such"},
		{natspub.FrameSubject, frame("other"), "500", "it broke"},
		{natspub.FrameSubject, frame("large"), "413", "max_payload to at least 8193"},
		{natspub.FrameSubject, frame("slow"), "504", "within 50ms"},
		{natspub.StreamsSubject, "", "413", "ask for one stream"},
		{natspub.StreamsSubject, "{", "400", "unexpected EOF"},
		{natspub.StreamsSubject, `{"stream": "x"}`, "404", "unknown stream"},
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
	nc, end := serve(t, natspub.ServerOptions{}, natspub.ServiceOptions{
		Frame: func(ctx context.Context, r natspub.FrameRequest, answer func(publish.Message) error) error {
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
			if err := nc.PublishRequest(natspub.FrameSubject, inbox, []byte(goodRequest)); err != nil {
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
	eventually(t, "a frame is being made", func() bool {
		if err := nc.PublishRequest(natspub.FrameSubject, last, []byte(goodRequest)); err != nil {
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
	eventually(t, "there is no service", func() bool {
		_, err := nc.Request(natspub.FrameSubject, []byte(goodRequest), time.Second)
		return errors.Is(err, nats.ErrNoResponders)
	})
}

// TestServicePermissions: the documented permissions suffice, without them there is
// no service, and neither ends the tensors.
func TestServicePermissions(t *testing.T) {
	url := startUsers(t, &server.Options{}, map[string]*server.Permissions{
		"all":    grant(live.With(needsCheck()).With(natspub.NeedsService())),
		"none":   grant(live.With(needsCheck())),
		"silent": grant(live),
	})
	start := func(user string) (conn *natspub.Conn, log *logs, end func() error) {
		log = &logs{}
		conn = dial(t, natspub.Options{
			URL: url(user), Logger: slog.New(slog.NewTextHandler(log, nil)),
			OnDenied: func(err error) { t.Errorf("user %s: %v", user, err) },
		})
		waitConnected(t, conn)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- conn.Serve(ctx, natspub.ServiceOptions{
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
	eventually(t, "the service answers", func() bool {
		m, err := nc.Request(natspub.FrameSubject, []byte(goodRequest), time.Second)
		return err == nil && m.Header.Get("Cvf-Stream") == "cam-1"
	})
	ask(t, nc, "$SRV.PING", &micro.Ping{})
	if err := end(); err != nil {
		t.Error(err)
	}

	var denied *natspub.PermissionError
	err := dial(t, natspub.Options{URL: url("none")}).Serve(t.Context(), natspub.ServiceOptions{})
	if !errors.As(err, &denied) || len(denied.Missing) != 3 || !strings.Contains(err.Error(), "cvf.svc.>") {
		t.Errorf("got %v", err)
	}

	// Where the server does not tell beforehand, the refusal is logged, and no more.
	conn, log, end := start("silent")
	eventually(t, "the refusal is logged", func() bool { return strings.Contains(log.String(), "ermissions Violation") })
	if err := errors.Join(conn.Flush(t.Context()), conn.Denied(), conn.Live().Publish(t.Context(), publish.Message{Subject: subject})); err != nil {
		t.Error(err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// TestAnswersThatAreRefused: where an answer goes is up to whoever asks. That the
// user may not publish there must not be taken for a tensor that is refused.
func TestAnswersThatAreRefused(t *testing.T) {
	needs := live.With(needsCheck()).With(natspub.NeedsService())
	needs.Respond = false
	needs.Publish = append(needs.Publish, "_INBOX.>") // stands for allow_responses
	url := startUsers(t, &server.Options{}, map[string]*server.Permissions{"feeder": grant(needs)})
	log := &logs{}
	conn := dial(t, natspub.Options{
		URL: url("feeder"), Logger: slog.New(slog.NewTextHandler(log, nil)),
		OnDenied: func(err error) { t.Error(err) },
	})
	waitConnected(t, conn)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- conn.Serve(ctx, natspub.ServiceOptions{
			Frame: frameOf, Streams: func(string) (any, error) { return nil, nil },
		})
	}()
	nc := client(t, url("admin"))
	eventually(t, "the service answers", func() bool {
		m, err := nc.Request(natspub.FrameSubject, []byte(goodRequest), time.Second)
		return err == nil && m.Header.Get("Cvf-Stream") == "cam-1"
	})
	for _, request := range []string{goodRequest, "{}"} {
		if err := nc.PublishRequest(natspub.FrameSubject, "mine.alone", []byte(request)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.PublishRequest("$SRV.PING", "mine.alone", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the refusals are logged", func() bool { return strings.Contains(log.String(), "mine.alone") })
	if err := errors.Join(conn.Flush(t.Context()), conn.Denied(), conn.Live().Publish(t.Context(), publish.Message{Subject: subject})); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
