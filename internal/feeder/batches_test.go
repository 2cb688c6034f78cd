package feeder_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/tensorimage"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
	"github.com/cvfeeder/cvfeeder/transform"
)

const batchConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: "127.0.0.1:0"}
delivery: {mode: %s, gaps: inline}
streams:
  - {name: cam-1, interval: 400ms, outputs: [surround]}
  - {name: cam-2, interval: 400ms, outputs: [surround, plain]}
  - {name: cam-3, interval: 400ms, outputs: [surround], poll: request}
outputs:
  surround: {preset: yolo, size: 320x320, dtype: uint8, batch: {name: yard, streams: [cam-2, cam-3, cam-1], wait: 2s}}
  plain: {preset: yolo, size: 32x32}
`

// TestBatchesOfCameras: each row of a batch shows its own camera at the batch's slot, a camera that
// is not read is padding, and a frame of it on request is a tensor of its own.
func TestBatchesOfCameras(t *testing.T) {
	for _, mode := range []string{"live", "ring"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			testBatches(t, mode)
		})
	}
}

func testBatches(t *testing.T, mode string) {
	natsURL := feedertest.ServeNATS(t)
	_, fakeURL := feedertest.ServeFake(t, kinesistest.Options{Streams: kinesistest.Cameras(3)})
	o, log := options(t, batchConfig, fakeURL, natsURL, mode)
	sub := feedertest.Subscribe(t, natsURL, "cvf.t.*.surround")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	both := 0 // batches with both cameras that are read: at the start, one may be behind
	o.Started = func(ctx context.Context, run feeder.Running) {
		defer cancel()
		last := time.Time{}
		for got, err := range sub.Tensors(ctx) {
			switch {
			case err != nil:
				t.Error(err)
				return
			case got.Gap != nil:
				t.Errorf("a gap on the subject of the batch: %+v", got.Gap)
			}
			switch rows := checkBatch(t, got); rows {
			case "cam-2 !cam-3 cam-1":
				both++
			case "cam-2 !cam-3 !cam-1", "!cam-2 !cam-3 cam-1":
			default:
				t.Errorf("the rows are %s", rows)
			}
			if !got.Time.After(last) {
				t.Errorf("the batch of %v comes after that of %v", got.Time, last)
			}
			if last = got.Time; both == 4 {
				break
			}
		}
		checkRequested(t, natsURL, last)
		scraped := feedertest.Get(t, run.HTTP+"/metrics")
		for _, want := range []string{
			`cvfeeder_batches_total{output="surround",rows="all"} 0`,
			`cvfeeder_batches_total{output="surround",rows="some"} `,
			`cvfeeder_batch_rows_late_total{output="surround"} `,
		} {
			if !strings.Contains(scraped, want) {
				t.Errorf("the metrics lack %s", want)
			}
		}
	}
	if err := feeder.New(o).Run(ctx); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if both < 4 {
		t.Errorf("%d batches had both cameras\n%s", both, log.String())
	}
}

// checkBatch reads the time code of each row, and returns which rows there are.
func checkBatch(t *testing.T, got consume.Delivery) string {
	t.Helper()
	if got.Subject != "cvf.t.yard.surround" || got.Stream != "yard" || !slices.Equal(got.Shape, []int{3, 3, 320, 320}) {
		t.Errorf("%s of %s with the shape %v", got.Subject, got.Stream, got.Shape)
	}
	var names []string
	size := len(got.Data) / len(got.Rows)
	for i, row := range got.Rows {
		data := got.Data[i*size:][:size]
		if row.Missing {
			names = append(names, "!"+row.Stream)
			if slices.ContainsFunc(data, func(b byte) bool { return b != 114 }) || got.Affines[i] != (transform.Affine{}) {
				t.Errorf("the row of %s is no padding", row.Stream)
			}
			continue
		}
		names = append(names, row.Stream)
		one := got.Envelope
		one.Shape, one.Stream, one.Source, one.Affine, one.Affines, one.Rows = []int{1, 3, 320, 320}, row.Stream, row.Source, got.Affines[i], got.Affines[i:i+1], nil
		checkRow(t, one, data)
	}
	return strings.Join(names, " ")
}

func checkRow(t *testing.T, e publish.Envelope, data []byte) {
	t.Helper()
	picture, err := tensorimage.New(e, data)
	if err != nil {
		t.Error(err)
		return
	}
	code, err := scene.ReadTimeCode(picture.Image(), scene.AffineView(e.Affine, e.Source))
	if err != nil || !code.Time.Equal(e.Time) || code.Stream != scene.StreamHash(e.Stream) {
		t.Errorf("the row of %s at %v shows %+v, %v", e.Stream, e.Time, code, err)
	}
}

// checkRequested asks for a frame of the output of a batch.
func checkRequested(t *testing.T, url string, at time.Time) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	m, err := nc.Request(frames.FrameSubject, fmt.Appendf(nil, `{"stream": "cam-3", "time": %q, "output": "surround"}`, at.Format(time.RFC3339Nano)), 20*time.Second)
	if err != nil {
		t.Error(err)
		return
	}
	e, err := publish.ParseEnvelope(m.Header)
	if err != nil || e.Stream != "cam-3" || e.Rows != nil || e.Pictures() != 1 {
		t.Errorf("%+v, %v: %v", e, err, m.Header)
		return
	}
	checkRow(t, e, m.Data)
	if got := (tensor.Tensor{Envelope: e, Data: m.Data}); got.Check(len(m.Data)) != nil {
		t.Errorf("%d bytes", len(m.Data))
	}
	// The service says where the tensors of a stream go.
	m, err = nc.Request("cvf.svc.streams", []byte(`{"stream": "cam-1"}`), 20*time.Second)
	var states []struct {
		Outputs []struct{ Output, Subject string }
	}
	if err == nil {
		err = json.Unmarshal(m.Data, &states)
	}
	if err != nil || len(states) != 1 || states[0].Outputs[0].Subject != "cvf.t.yard.surround" {
		t.Errorf("%v: %s", err, m.Data)
	}
}
