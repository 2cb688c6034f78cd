package feeder_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// Of the two outputs with "decode: fast" each alone would be decoded at another size.
const serviceConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
streams:
  - {name: cam-1, interval: 200ms, outputs: [detector, thumbnail]}
  - {name: cam-2, interval: 400ms, outputs: [plain]}
outputs:
  detector: {preset: yolo, size: 320x320, decode: fast}
  thumbnail: {preset: yolo, size: 64x64, decode: fast}
  plain: {preset: none, size: 480x270, fit: stretch, dtype: uint8, layout: nhwc, color: bgr}
`

// A streamState is what a client reads of the service's answer about a stream.
type streamState struct {
	Stream    string            `json:"stream"`
	Interval  string            `json:"interval"`
	Outputs   []outputState     `json:"outputs"`
	Cursor    string            `json:"cursor"`
	Newest    string            `json:"newest"`
	Freshness float64           `json:"freshness_seconds"`
	Lag       float64           `json:"lag_seconds"`
	Expected  uint64            `json:"expected"`
	Pending   uint64            `json:"pending"`
	Outcomes  map[string]uint64 `json:"outcomes"`
}

type outputState struct {
	Output  string `json:"output"`
	Subject string `json:"subject"`
}

// An asking is a plain NATS client of a feeder at work.
type asking struct {
	t    *testing.T
	nc   *nats.Conn
	gaps *nats.Subscription
	// tensors are the answers.
	tensors []publish.Message
}

func (a *asking) request(subject, data string) *nats.Msg {
	a.t.Helper()
	m, err := a.nc.Request(subject, []byte(data), 20*time.Second)
	if err != nil {
		a.t.Errorf("%s %s: %v", subject, data, err)
		return &nats.Msg{}
	}
	return m
}

func (a *asking) frame(stream string, at time.Time, output string) *nats.Msg {
	a.t.Helper()
	return a.request(frames.FrameSubject, fmt.Sprintf(`{"stream": %q, "time": %q, "output": %q}`, stream, at.Format(time.RFC3339Nano), output))
}

func (a *asking) wantError(stream string, at time.Time, output, code, text string) {
	a.t.Helper()
	m := a.frame(stream, at, output)
	gotCode, gotText := m.Header.Get(micro.ErrorCodeHeader), m.Header.Get(micro.ErrorHeader)
	if gotCode != code || !strings.Contains(gotText, text) {
		a.t.Errorf("%s %v %s: %s %q, want %s %q", stream, at, output, gotCode, gotText, code, text)
	}
}

// published waits until some slots of a stream have been, and returns the newest.
func (a *asking) published(stream string) time.Time {
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		var states []streamState
		m := a.request(frames.StreamsSubject, fmt.Sprintf(`{"stream": %q}`, stream))
		if code := m.Header.Get(micro.ErrorCodeHeader); code == frames.CodeNotFound || code == frames.CodeBusy {
			continue // the stream has not begun, or this asks too often
		}
		if err := json.Unmarshal(m.Data, &states); err != nil {
			a.t.Errorf("%v: %v", m.Header, err)
			return time.Time{}
		}
		if states[0].Outcomes["published"] < 10 {
			continue
		}
		newest, err := time.Parse(time.RFC3339, states[0].Newest)
		if err != nil {
			a.t.Error(err)
		}
		return newest
	}
}

// gap waits for one of a reason, and returns its first slot.
func (a *asking) gap(reason string) (stream string, at time.Time) {
	for {
		m, err := a.gaps.NextMsg(30 * time.Second)
		if err != nil {
			a.t.Errorf("no gap for %s: %v", reason, err)
			return "", time.Time{}
		}
		if g, err := publish.ParseGap(m.Data); err == nil && g.Reason == reason {
			return g.Stream, g.From.Time()
		}
	}
}

// TestService asks a feeder at work for tensors that it has published, which are the
// same, byte by byte and header by header, and for some that there cannot be.
func TestService(t *testing.T) {
	feedertest.Long(t, "asks for tensors while they are published")
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) }) // after the rig has ended
	broken := func(at time.Time) bool { return at.UnixMilli()/200%9 == 0 }
	r := feedertest.NewRig(t, kinesistest.Options{
		Faults: kinesistest.Faults{MediaErrors: 0.25, Stretch: 2 * time.Second},
		Corrupt: func(_ string, at time.Time, data []byte) []byte {
			if broken(at) {
				return data[:len(data)/3]
			}
			return data
		},
	})
	nc, err := nats.Connect(r.NATSURL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	a := &asking{t: t, nc: nc}
	if a.gaps, err = nc.SubscribeSync("cvf.gap.*"); err != nil {
		t.Fatal(err)
	}
	o, log := options(t, serviceConfig, r.FakeURL, r.NATSURL)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Started = func(context.Context, feeder.Running) {
		defer cancel()
		a.waitForService()
		a.askForTensors()
		a.askInVain()
	}
	if err := feeder.New(o).Run(ctx); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if _, err := nc.Request("$SRV.PING.cvfeeder", nil, time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("after the end: %v", err)
	}
	nc.Close()
	wantSame(t, r.Messages(), a.tensors)
	if strings.Contains(log.String(), "level=WARN msg=\"NATS") {
		t.Error(log.String())
	}
}

// waitForService waits until the service is there, and the streams run: before that, it refuses
// what is asked of them.
func (a *asking) waitForService() {
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		m, err := a.nc.Request("$SRV.PING.cvfeeder", nil, time.Second)
		if errors.Is(err, nats.ErrNoResponders) {
			continue
		}
		var ping micro.Ping
		if err = errors.Join(err, json.Unmarshal(m.Data, &ping)); err != nil || ping.Name != frames.ServiceName {
			a.t.Errorf("%+v, %v", ping, err)
			return
		}
		var streams []json.RawMessage
		if m, err = a.nc.Request(frames.StreamsSubject, nil, time.Second); err == nil && json.Unmarshal(m.Data, &streams) == nil && len(streams) > 0 {
			return
		}
	}
}

// askForTensors asks for some slots of each output. Those that are broken have their
// error.
func (a *asking) askForTensors() {
	for _, ask := range []struct {
		stream, output string
		interval       time.Duration
	}{
		{"cam-1", "detector", 200 * time.Millisecond},
		{"cam-1", "thumbnail", 200 * time.Millisecond},
		{"cam-2", "plain", 400 * time.Millisecond},
	} {
		newest := a.published(ask.stream)
		for i := range 6 {
			// Any instant of a slot's interval stands for it.
			m := a.frame(ask.stream, newest.Add(-time.Duration(i)*ask.interval+ask.interval/7), ask.output)
			if code := m.Header.Get(micro.ErrorCodeHeader); code != "" && i == 0 {
				a.t.Errorf("%s %v: %s %s", ask.output, newest, code, m.Header.Get(micro.ErrorHeader))
			} else if code == "" {
				a.tensors = append(a.tensors, publish.Message{Header: m.Header, Data: m.Data})
			}
		}
	}
}

func (a *asking) askInVain() {
	now := time.Now()
	a.wantError("cam-3", now, "plain", "404", `unknown stream "cam-3": there is cam-1, cam-2`)
	a.wantError("cam-1", now, "plain", "404", `unknown output "plain" of stream cam-1: there is detector, thumbnail`)
	a.wantError("cam-1", now.Add(time.Minute), "detector", "404", "in the future")
	a.wantError("cam-1", time.Now(), "detector", "404", "or not yet: the newest tensor is of ")
	a.wantError("cam-1", now.Add(-48*time.Hour), "detector", "404", "keeps its media for 24h")
	stream, at := a.gap(source.Undecodable.String())
	a.wantError(stream, at, map[string]string{"cam-1": "detector", "cam-2": "plain"}[stream], "422", "undecodable (truncated)")
	stream, at = a.gap(source.MediaError.String())
	a.wantError(stream, at, map[string]string{"cam-1": "detector", "cam-2": "plain"}[stream], "502", "media error")

	var states []streamState
	if err := json.Unmarshal(a.request(frames.StreamsSubject, "").Data, &states); err != nil {
		a.t.Fatal(err)
	}
	if len(states) != 2 {
		a.t.Fatalf("%+v", states)
	}
	for i, want := range []streamState{
		{Stream: "cam-1", Interval: "200ms", Outputs: []outputState{{"detector", "cvf.t.cam-1.detector"}, {"thumbnail", "cvf.t.cam-1.thumbnail"}}},
		{Stream: "cam-2", Interval: "400ms", Outputs: []outputState{{"plain", "cvf.t.cam-2.plain"}}},
	} {
		got := states[i]
		sum := got.Pending
		for _, n := range got.Outcomes {
			sum += n
		}
		if got.Newest == "" || got.Cursor == "" || got.Freshness <= 0 || got.Lag <= 0 || len(got.Outcomes) != len(source.Outcomes()) || sum != got.Expected {
			a.t.Errorf("%+v", got)
		}
		if diff := cmp.Diff(want, streamState{Stream: got.Stream, Interval: got.Interval, Outputs: got.Outputs}); diff != "" {
			a.t.Error(diff)
		}
	}
}

// wantSame compares answers with what was published with the same id.
func wantSame(t *testing.T, messages, answers []publish.Message) {
	t.Helper()
	published := map[string]publish.Message{}
	for _, m := range messages {
		if id := m.Header["Nats-Msg-Id"]; id != nil {
			published[id[0]] = m
		}
	}
	t.Logf("%d tensors were asked for", len(answers))
	for _, got := range answers {
		id := got.Header["Nats-Msg-Id"][0]
		want, ok := published[id]
		if !ok {
			t.Errorf("%s was not published", id)
			continue
		}
		delete(want.Header, publish.HeaderQuality) // who asks for a frame gets it without looking at others
		if diff := cmp.Diff(want.Header, got.Header); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
		if !bytes.Equal(want.Data, got.Data) {
			t.Errorf("%s: %d bytes differ from the %d that were published", id, len(got.Data), len(want.Data))
		}
	}
}
