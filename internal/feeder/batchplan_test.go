package feeder

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
)

// TestPlanOfABatch: the plan of a batch has its size and its subject, the streams of the batch
// share that subject, and what is read beside them has the cameras' own. A stream that a prefix
// finds does not get the subjects of the batch.
func TestPlanOfABatch(t *testing.T) {
	cfg, err := config.Parse("test", []byte(`
streams:
  - {name: cam-1, outputs: [one, all]}
  - {name: cam-2, outputs: [all]}
  - {prefix: ya, outputs: [one]}
outputs:
  one: {size: 32x32, dtype: uint8}
  all: {size: 32x32, dtype: uint8, batch: {name: yard, streams: [cam-2, cam-1]}}
`), feedertest.NoVariables)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if n := plan.Largest.Bytes; n < 2*3*32*32+300 || n > 2*3*32*32+1500 {
		t.Errorf("the largest message has %d bytes", n)
	}
	needs := fmt.Sprint(plan.Needs)
	for _, subject := range []string{"cvf.t.yard.all", "cvf.t.cam-1.all", "cvf.t.cam-2.all"} {
		if !strings.Contains(needs, subject) {
			t.Errorf("%s is not needed: %s", subject, needs)
		}
	}
	service, err := kinesis.New(t.Context(), kinesis.Options{Region: "us-east-1", Endpoint: "http://127.0.0.1:1", AccessKey: "a", Secret: "b"})
	if err != nil {
		t.Fatal(err)
	}
	known := &parts{purse: testPurse(t, cfg)}
	b := &builder{plan: plan, service: service, metrics: metrics.New(metrics.Build{}), claim: unclaimed, cameras: &known.cameras, purse: known.purse, forget: known.forget}
	streams, err := b.named()
	if err != nil {
		t.Fatal(err)
	}
	if got := streams[0].Routes[0].Subject; got != "cvf.t.cam-1.one" || streams[0].Batches[0] != nil {
		t.Errorf("the other output goes to %s", got)
	}
	all := []struct {
		s     pipeline.Stream
		route int
	}{{streams[0], 1}, {streams[1], 0}}
	for _, of := range all {
		if got := of.s.Routes[of.route].Subject; got != "cvf.t.yard.all" || of.s.Batches[of.route].Name != "yard" || of.s.Batches[of.route].Output != plan.Outputs["all"] {
			t.Errorf("%s goes to %s as %+v", of.s.Name, got, of.s.Batches[of.route])
		}
	}
	past, err := known.lookBack("cam-1", 0, 1, 2, source.ForRequest)
	if err != nil {
		t.Fatal(err)
	}
	if got := past.Routes[1].Subject; got != "cvf.t.cam-1.all" || past.Batches != nil {
		t.Errorf("a range goes to %s, %v", got, past.Batches)
	}
	var log bytes.Buffer
	f := newFollower(b, changes{}, slog.New(slog.NewTextHandler(&log, nil)))
	f.found["ya"] = []string{"yard", "yacht"}
	want := f.want()
	if _, taken := want["yard"]; taken || len(want) != 3 || !strings.Contains(log.String(), "stream=yard") {
		t.Errorf("%d streams\n%s", len(want), log.String())
	}
}
