package feeder_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/replay"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const replayConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: "127.0.0.1:0"}
replay: {images_per_job: 5000, max_bytes: 100MiB}
streams:
  - {name: cam-1, outputs: [small]}
  - {name: cam-2, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// ask sends a request for a replay to a feeder until it answers, and returns the answer and the
// error.
func ask(t *testing.T, url, request string) (answer map[string]any, failed string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		m, err := nc.Request("cvf.svc.replay", []byte(request), 10*time.Second)
		if err != nil {
			continue // it has not begun yet
		}
		if text := m.Header.Get("Nats-Service-Error"); text != "" {
			return nil, m.Header.Get("Nats-Service-Error-Code") + " " + text
		}
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			t.Fatal(err)
		}
		return answer, ""
	}
	t.Fatal("no answer")
	return nil, ""
}

// run runs a feeder until the returned function is called.
func runFeeder(t *testing.T, fake, url string) (stop func(), page <-chan string, log *natstest.Log) {
	t.Helper()
	o, log := options(t, replayConfig, fake, url)
	pages := make(chan string, 1)
	o.Started = func(_ context.Context, r feeder.Running) { pages <- r.HTTP }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- feeder.New(o).Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the feeder: %v\n%s", err, log)
		}
	}, pages, log
}

// TestReplayOnRequest: a running feeder begins a job on request, within what one may cost, goes on
// with it after a restart, and its live streams do not notice.
func TestReplayOnRequest(t *testing.T) {
	t.Parallel()
	url := feedertest.ServeNATS(t)
	_, fake := feedertest.ServeFake(t, kinesistest.Options{
		Streams: kinesistest.Cameras(2), Scene: feedertest.Grey{},
		Intercept: func(q kinesistest.Request) *kinesistest.ErrorResponse {
			if q.Operation == "GetImages" {
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		},
	})
	stop, _, _ := runFeeder(t, fake, url)
	to := time.Now().Add(-10 * time.Minute).Truncate(time.Second).UTC()
	request := func(length time.Duration) string {
		return fmt.Sprintf(`{"streams": ["cam-*"], "from": %q, "to": %q, "interval": "1s"}`, to.Add(-length).Format(time.RFC3339), to.Format(time.RFC3339))
	}
	if _, failed := ask(t, url, request(5*time.Hour)); !strings.HasPrefix(failed, "429 the job would need about 37") || !strings.Contains(failed, "replay.images_per_job allows 5000") {
		t.Errorf("a job that costs too much: %s", failed)
	}
	if _, failed := ask(t, url, `{"streams": ["door"], "from": "2026-01-02T00:00:00Z", "to": "2026-01-02T01:00:00Z"}`); !strings.HasPrefix(failed, "400 no stream") {
		t.Errorf("a job without a stream: %s", failed)
	}
	if _, failed := ask(t, url, `{"cancel": "nothing"}`); !strings.HasPrefix(failed, "404 ") {
		t.Errorf("no job: %s", failed)
	}
	answer, failed := ask(t, url, request(30*time.Minute))
	if failed != "" {
		t.Fatal(failed)
	}
	job := answer["job"].(string)
	if answer["subjects"] != "cvf.r."+job+".>" || answer["estimate"].(map[string]any)["slots"] != 3600.0 {
		t.Errorf("the answer is %v", answer)
	}
	stop() // in the middle: it takes seconds
	stop, page, log := runFeeder(t, fake, url)
	defer stop()
	o, _ := options(t, replayConfig, fake, url)
	for deadline := time.Now().Add(time.Minute); ; {
		var j *replay.Job
		err := feeder.New(o).Jobs(t.Context(), func(ctx context.Context, s replay.Store) (err error) {
			j, err = replay.Get(ctx, s, job)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if j.Status == replay.Done {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the job is %+v\n%s", j, log)
		}
	}
	// What was done is counted right after it was written.
	address, metrics := <-page, ""
	for deadline := time.Now().Add(time.Minute); !strings.Contains(metrics, `cvfeeder_replay_jobs_total{outcome="done"} 1`); {
		if metrics = feedertest.Get(t, address+"/metrics"); time.Now().After(deadline) {
			t.Fatalf("the job that is done is not counted:\n%s", metrics)
		}
	}
	if strings.Contains(metrics, `cvfeeder_replay_slots_total{outcome="published"} 0`) {
		t.Error("the slots of the job are not counted")
	}
	stored := feedertest.StoredIn(t, url, "cvfeeder-replay")
	if subjects := slices.Sorted(maps.Keys(stored)); len(subjects) != 2 {
		t.Errorf("the subjects are %v", subjects)
	}
	for subject, spans := range stored {
		feedertest.CheckOnce(t, subject, spans[:len(spans)-1], to.Add(-30*time.Minute), to, time.Second, true)
	}
}

// TestReplayPermissions: a replay needs no more than the permissions in docs/security.md, and without
// JetStream it says what to do.
func TestReplayPermissions(t *testing.T) {
	t.Parallel()
	user := natstest.StartUsers(t, &server.Options{JetStream: true}, map[string]*server.Permissions{"replay": {
		Publish: &server.SubjectPermission{Allow: []string{
			"$SYS.REQ.USER.INFO", "cvf.r.>", "$JS.API.STREAM.INFO.cvfeeder-replay", "$JS.API.STREAM.MSG.GET.cvfeeder-replay", "$JS.API.DIRECT.GET.cvfeeder-replay.>",
			"$JS.API.STREAM.INFO.KV_cvf_replay", "$JS.API.DIRECT.GET.KV_cvf_replay.>", "$KV.cvf_replay.>",
			"$JS.API.STREAM.CREATE.cvfeeder-replay", "$JS.API.STREAM.CREATE.KV_cvf_replay", "$JS.API.INFO",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}})
	_, fake := feedertest.ServeFake(t, kinesistest.Options{Streams: kinesistest.Cameras(2), Scene: feedertest.Grey{}})
	to := time.Now().Add(-10 * time.Minute)
	run := func(url string) error {
		o, log := options(t, replayConfig, fake, url)
		err := feeder.New(o).Replay(t.Context(), func(ctx context.Context, r *feeder.Replays) error {
			j, err := r.Plan(ctx, feeder.ReplayRequest{Streams: []string{"cam-1"}, From: to.Add(-time.Minute), To: to, By: "command"})
			if err != nil {
				return err
			}
			if err := r.Create(ctx, j); err != nil {
				return err
			}
			return r.Run(ctx, j.ID, nil)
		})
		if strings.Contains(log.String(), "ermission") {
			t.Errorf("the log says:\n%s", log)
		}
		return err
	}
	if err := run(user("replay")); err != nil {
		t.Error(err)
	}
	off := natstest.Start(t, &server.Options{}).ClientURL()
	if err := run(off); err == nil || !strings.Contains(err.Error(), "turn it on (nats-server -js): replays are stored there") || feeder.ExitCode(err) != feeder.ExitUsage {
		t.Errorf("without JetStream: %v", err)
	}
}
