package feeder_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/tensorimage"
	"github.com/cvfeeder/cvfeeder/publish"
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

// A result is what a feeder has shown, published and logged.
type result struct {
	messages    []publish.Message
	scrape, log string
}

// runFor runs a feeder in a rig for the given time, plus what the last slots need to
// arrive.
func runFor(t *testing.T, length time.Duration, opts kinesistest.Options) result {
	t.Helper()
	r := feedertest.NewRig(t, opts)
	o, log := options(t, endToEndConfig, r.FakeURL, r.NATSURL)
	var got result
	o.Length = length
	o.Started = func(ctx context.Context, run feeder.Running) {
		<-ctx.Done()
		got.scrape = feedertest.Get(t, run.HTTP+"/metrics")
	}
	err := feeder.New(o).Run(t.Context())
	got.messages, got.log = r.Messages(), log.String()
	if err != nil {
		t.Fatalf("%v\n%s", err, got.log)
	}
	if t.Failed() || testing.Verbose() {
		t.Log(got.log)
	}
	return got
}

// TestEveryTensorShowsItsSlot reads the time code out of every published tensor,
// of three very different outputs, and finds each slot's own frame, of its own
// stream, in order, none missing and none twice.
func TestEveryTensorShowsItsSlot(t *testing.T) {
	r := runFor(t, 5*time.Second, kinesistest.Options{})
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

func (r result) wantMetric(t *testing.T, format string, args ...any) {
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
	checkPicture(t, m.Subject, e, m.Data)
	return e
}

// checkPicture reads the time code in a tensor.
func checkPicture(t *testing.T, subject string, e publish.Envelope, data []byte) {
	t.Helper()
	tensor, err := tensorimage.New(e, data)
	if err != nil {
		t.Errorf("%s: %v", subject, err)
		return
	}
	if want := "cvf.t." + e.Stream + "." + e.Output; subject != want {
		t.Errorf("subject %s, want %s", subject, want)
	}
	code, err := scene.ReadTimeCode(tensor.Image(), scene.AffineView(e.Affine, e.Source))
	if err != nil {
		t.Errorf("%s at %v: %v", subject, e.Time, err)
		return
	}
	if !code.Time.Equal(e.Time) || code.Stream != scene.StreamHash(e.Stream) {
		t.Errorf("%s: the tensor for %v shows %v, of stream hash %x", subject, e.Time, code.Time, code.Stream)
	}
}

// TestBrokenFramesAreGapsNotTensors has the service hand out every fifth frame
// truncated, which gocv would decode to a half-grey picture.
func TestBrokenFramesAreGapsNotTensors(t *testing.T) {
	feedertest.Long(t, "runs a feeder for some seconds")
	broken := func(at time.Time) bool { return at.UnixMilli()/200%10 == 0 }
	r := runFor(t, 4*time.Second, kinesistest.Options{
		Corrupt: func(_ string, at time.Time, data []byte) []byte {
			if broken(at) {
				return data[:len(data)/3]
			}
			return data
		},
	})
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
