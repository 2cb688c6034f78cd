package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/tensorimage"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
)

const endToEndConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: "127.0.0.1:0"}
streams:
  - {name: cam-1, interval: 200ms, outputs: [detector, classifier, plain]}
  - {name: cam-2, interval: 400ms, outputs: [plain, detector]}
outputs:
  detector: {preset: yolo, size: 320x320}
  classifier: {preset: imagenet}
  plain: {preset: none, size: 480x270, fit: stretch, dtype: uint8, layout: nhwc, color: bgr}
`

// lastSubject is that of the message which ends the collection.
const lastSubject = "cvf.end"

// A rig is everything around a feeder, for real: the fake service over HTTP with
// two cameras, a NATS server, and a subscriber that collects all messages.
type rig struct {
	fakeURL, natsURL string
	// collected ends the collection; then the messages may be read.
	collected func()
	messages  []publish.Message
	// scrape, log and err are what runRig's feeder showed, wrote and returned.
	scrape, log string
	err         error
}

// newRig starts a rig, which lasts as long as the test.
func newRig(t *testing.T, opts kinesistest.Options) *rig {
	t.Helper()
	opts.Streams = kinesistest.Cameras(2)
	fake, err := kinesistest.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := serveFake(t, fake)
	server, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	r := &rig{fakeURL: endpoint.URL, natsURL: server.ClientURL()}
	r.collected = r.collect(t)
	return r
}

// runRig runs a feeder in a rig for the given time, plus what the last slots need
// to arrive.
func runRig(t *testing.T, length time.Duration, opts kinesistest.Options) *rig {
	t.Helper()
	r := newRig(t, opts)
	text := fmt.Sprintf(endToEndConfig, r.fakeURL, r.natsURL)
	cfg, err := config.Parse("test.yaml", []byte(text), noVariables)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	o := feeder.Options{
		Config: cfg, Log: newLogger(&log, cfg.Log),
		AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey,
		Length: length,
		Started: func(ctx context.Context, run feeder.Running) {
			<-ctx.Done()
			r.scrape = get(t, run.HTTP+"/metrics")
		},
	}
	r.err = feeder.New(o).Run(t.Context())
	r.collected()
	r.log = log.String()
	if t.Failed() || testing.Verbose() {
		t.Log(log.String())
	}
	return r
}

// collect subscribes, and returns what ends the collection.
func (r *rig) collect(t *testing.T) (end func()) {
	t.Helper()
	sub, err := consume.Subscribe(dial.Options{URL: r.natsURL}, "cvf.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := sub.Next(t.Context())
			if err != nil || m.Subject == lastSubject {
				return
			}
			r.messages = append(r.messages, m)
		}
	}()
	return func() {
		// What comes after all others is the end.
		conn, err := dial.Dial(dial.Options{URL: r.natsURL})
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.WaitConnected(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := deliver.NewLive(conn, publish.GapEvents).Publish(t.Context(), publish.Message{Subject: lastSubject}); err != nil {
			t.Fatal(err)
		}
		<-done
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if n := sub.Missed(); n > 0 {
			t.Errorf("the test's own subscription missed %d messages", n)
		}
		sub.Close()
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

// TestEveryTensorShowsItsSlot reads the time code out of every published tensor,
// of three very different outputs, and finds each slot's own frame, of its own
// stream, in order, none missing and none twice.
func TestEveryTensorShowsItsSlot(t *testing.T) {
	r := runRig(t, 5*time.Second, kinesistest.Options{})
	if r.err != nil {
		t.Fatal(r.err)
	}
	last := map[string]time.Time{}
	count := map[string]int{}
	ids := map[string]bool{}
	for _, m := range r.messages {
		if strings.HasPrefix(m.Subject, "cvf.gap.") {
			t.Errorf("a gap: %s", m.Data)
			continue
		}
		e := checkTensor(t, m)
		key := e.Stream + " " + e.Output
		interval := 200 * time.Millisecond
		if e.Stream == "cam-2" {
			interval = 400 * time.Millisecond
		}
		if before, ok := last[key]; ok && !e.Time.Equal(before.Add(interval)) {
			t.Errorf("%s: slot %v follows %v", key, e.Time, before)
		}
		last[key] = e.Time
		count[key]++
		if id := m.Header["Nats-Msg-Id"][0]; ids[id] {
			t.Errorf("message id %s came twice", id)
		} else {
			ids[id] = true
		}
	}
	for key, want := range map[string]int{
		"cam-1 detector": 25, "cam-1 classifier": 25, "cam-1 plain": 25,
		"cam-2 detector": 13, "cam-2 plain": 13,
	} {
		// 5 s hold 12 or 13 slots of 400 ms.
		if got := count[key]; got != want && got != want-1 {
			t.Errorf("%s: %d tensors, want %d", key, got, want)
		}
	}
	for stream, n := range map[string]int{"cam-1": count["cam-1 plain"], "cam-2": count["cam-2 plain"]} {
		r.wantMetric(t, `cvfeeder_slots_total{outcome="published",stream="%s"} %d`, stream, n)
		r.wantMetric(t, `cvfeeder_slots_expected_total{stream="%s"} %d`, stream, n)
		r.wantMetric(t, `cvfeeder_slots_pending{stream="%s"} 0`, stream)
	}
	r.wantMetric(t, `cvfeeder_nats_connected{connection="data"} 1`)
	r.wantMetric(t, `cvfeeder_mats_open 0`)
	r.wantMetric(t, `cvfeeder_inflight_bytes 0`)
	r.wantMetric(t, `cvfeeder_latency_seconds_count{output="plain"} %d`, count["cam-1 plain"]+count["cam-2 plain"])
}

func (r *rig) wantMetric(t *testing.T, format string, args ...any) {
	t.Helper()
	if line := fmt.Sprintf(format, args...); !strings.Contains(r.scrape, line+"\n") {
		t.Errorf("/metrics has no line %s", line)
	}
}

// checkTensor reads a message as a consumer would, and the time code in it.
func checkTensor(t *testing.T, m publish.Message) publish.Envelope {
	t.Helper()
	e, err := publish.ParseEnvelope(m.Header)
	if err != nil {
		t.Fatalf("%s: %v", m.Subject, err)
	}
	tensor, err := tensorimage.New(e, m.Data)
	if err != nil {
		t.Fatalf("%s: %v", m.Subject, err)
	}
	if want := "cvf.t." + e.Stream + "." + e.Output; m.Subject != want {
		t.Errorf("subject %s, want %s", m.Subject, want)
	}
	code, err := scene.ReadTimeCode(tensor.Image(), scene.AffineView(e.Affine, e.Source))
	if err != nil {
		t.Errorf("%s at %v: %v", m.Subject, e.Time, err)
		return e
	}
	if !code.Time.Equal(e.Time) || code.Stream != scene.StreamHash(e.Stream) {
		t.Errorf("%s: the tensor for %v shows %v, of stream hash %x", m.Subject, e.Time, code.Time, code.Stream)
	}
	return e
}

// TestBrokenFramesAreGapsNotTensors has the service hand out every fifth frame
// truncated, which gocv would decode to a half-grey picture.
func TestBrokenFramesAreGapsNotTensors(t *testing.T) {
	broken := func(at time.Time) bool { return at.UnixMilli()/200%10 == 0 }
	r := runRig(t, 4*time.Second, kinesistest.Options{
		Corrupt: func(_ string, at time.Time, data []byte) []byte {
			if broken(at) {
				return data[:len(data)/3]
			}
			return data
		},
	})
	if r.err != nil {
		t.Fatal(r.err)
	}
	tensors, gaps := 0, map[string]int{}
	for _, m := range r.messages {
		if !strings.HasPrefix(m.Subject, "cvf.gap.") {
			if e := checkTensor(t, m); broken(e.Time) {
				t.Errorf("%s: a tensor of the broken frame at %v", m.Subject, e.Time)
			}
			tensors++
			continue
		}
		g, err := publish.ParseGap(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if g.Reason != "undecodable" || g.Slots != 1 || !broken(g.From.Time()) {
			t.Errorf("gap %+v", g)
		}
		gaps[g.Stream]++
	}
	if tensors == 0 || gaps["cam-1"] == 0 || gaps["cam-2"] == 0 {
		t.Errorf("%d tensors and gaps %v", tensors, gaps)
	}
	for stream, n := range gaps {
		r.wantMetric(t, `cvfeeder_slots_total{outcome="undecodable",stream="%s"} %d`, stream, n)
		r.wantMetric(t, `cvfeeder_gaps_total{reason="undecodable",stream="%s"} %d`, stream, n)
	}
}
