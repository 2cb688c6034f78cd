package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const replayConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
replay: {max_bytes: 500MiB}
streams:
  - {prefix: cam-, interval: 200ms, outputs: [small, other]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
  other: {preset: yolo, size: 16x16, dtype: uint8}
`

// A replayRig runs commands of replay jobs as processes.
type replayRig struct {
	*testing.T
	file, nats string
	fake       *kinesistest.Server
}

func newReplayRig(t *testing.T, o kinesistest.Options) *replayRig {
	t.Helper()
	r := &replayRig{T: t, nats: feedertest.ServeNATS(t), file: filepath.Join(t.TempDir(), "cvfeeder.yaml")}
	var url string
	r.fake, url = feedertest.ServeFake(t, o)
	if err := os.WriteFile(r.file, fmt.Appendf(nil, replayConfig, url, r.nats), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// command returns a command that is not started yet, and what it prints.
func (r *replayRig) command(args ...string) (cmd *exec.Cmd, out, errOut *bytes.Buffer) {
	cmd = exec.Command("cvfeeder", append([]string{args[0], "-c", r.file}, args[1:]...)...)
	out, errOut = new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, errOut
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+kinesistest.AccessKey, "AWS_SECRET_ACCESS_KEY="+kinesistest.SecretKey)
	return cmd, out, errOut
}

// run runs a command to its end.
func (r *replayRig) run(args ...string) (out, errOut string, err error) {
	cmd, o, e := r.command(args...)
	err = cmd.Run()
	return o.String(), e.String(), err
}

// kill runs a command and kills it after a time. It returns what it printed to standard error.
func (r *replayRig) kill(after time.Duration, args ...string) string {
	r.Helper()
	cmd, _, e := r.command(args...)
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err == nil {
		r.Error("it was done before it was killed")
	}
	return e.String()
}

// jobs returns what "cvfeeder jobs" lists.
func (r *replayRig) jobs() []map[string]any {
	r.Helper()
	out, errOut, err := r.run("jobs", "--json")
	if err != nil {
		r.Fatalf("jobs: %v\n%s", err, errOut)
	}
	var all []map[string]any
	for line := range strings.Lines(out) {
		var j map[string]any
		if err := json.Unmarshal([]byte(line), &j); err != nil {
			r.Fatal(err)
		}
		all = append(all, j)
	}
	return all
}

// check checks that each subject of a job has every slot of a range once and in order, and its end
// after that.
func (r *replayRig) check(job string, cameras, outputs int, from, to time.Time, interval time.Duration) {
	r.Helper()
	stored := feedertest.StoredIn(r.T, r.nats, "cvfeeder-replay")
	subjects := slices.DeleteFunc(slices.Sorted(maps.Keys(stored)), func(s string) bool { return !strings.HasPrefix(s, "cvf.r."+job+".") })
	if len(subjects) != cameras*outputs {
		r.Errorf("%d subjects, want %d: %v", len(subjects), cameras*outputs, subjects)
	}
	for _, subject := range subjects {
		spans := stored[subject]
		last := spans[len(spans)-1]
		if !last.End || slices.ContainsFunc(spans[:len(spans)-1], func(s feedertest.Span) bool { return s.End }) {
			r.Errorf("%s: the end does not come once, and last", subject)
		}
		feedertest.CheckOnce(r.T, subject, spans[:len(spans)-1], from, to, interval, true)
	}
}

// TestKilledReplay kills a replay of several cameras three times with SIGKILL. Every slot of every
// output is stored once and in order.
func TestKilledReplay(t *testing.T) {
	feedertest.Long(t, "kills processes, and waits until their jobs may be taken over")
	t.Parallel()
	r := newReplayRig(t, kinesistest.Options{
		Streams: kinesistest.Cameras(3), Scene: feedertest.Grey{}, Faults: kinesistest.Faults{Outages: 0.02, Stretch: 5 * time.Second},
		Intercept: func(q kinesistest.Request) *kinesistest.ErrorResponse {
			if q.Operation == "GetImages" {
				time.Sleep(50 * time.Millisecond)
			}
			return nil
		},
	})
	to := time.Now().Add(-10 * time.Minute).Truncate(time.Second)
	from := to.Add(-40 * time.Minute)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	after := func() time.Duration { return 2*time.Second + time.Duration(rng.Int64N(int64(2*time.Second))) }
	r.kill(after(), "replay", "--yes", "--streams", "cam-*", "--from", from.Format(time.RFC3339), "--to", to.Format(time.RFC3339))
	all := r.jobs()
	if len(all) != 1 || all[0]["status"] != "running" {
		t.Fatalf("the jobs are %v", all)
	}
	job := all[0]["id"].(string)
	for range 2 {
		r.kill(9*time.Second+after(), "replay", "--job", job)
	}
	out, errOut, err := r.run("replay", "--job", job)
	if err != nil {
		t.Fatalf("the last run: %v\n%s%s", err, out, errOut)
	}
	r.check(job, 3, 2, from, to, 200*time.Millisecond)
	if all := r.jobs(); len(all) != 1 || all[0]["status"] != "done" {
		t.Errorf("the jobs are %v", all)
	}
	t.Logf("%s\n%d images were asked for", out, r.fake.Totals()["cam-1"].Asked+r.fake.Totals()["cam-2"].Asked+r.fake.Totals()["cam-3"].Asked)
}

// TestReplayCommands pauses a replay, goes on with it, cancels another, and is refused what cannot be.
func TestReplayCommands(t *testing.T) {
	t.Parallel()
	r := newReplayRig(t, kinesistest.Options{
		Streams: kinesistest.Cameras(1), Scene: feedertest.Grey{},
		Intercept: func(q kinesistest.Request) *kinesistest.ErrorResponse {
			if q.Operation == "GetImages" {
				time.Sleep(50 * time.Millisecond)
			}
			return nil
		},
	})
	to := time.Now().Add(-10 * time.Minute).Truncate(time.Second)
	from := to.Add(-20 * time.Minute)
	of := []string{"--streams", "cam-1", "--outputs", "small", "--from", from.Format(time.RFC3339), "--to", to.Format(time.RFC3339)}
	replay := func(more ...string) []string { return append(append([]string{"replay"}, of...), more...) }

	for _, tc := range []struct {
		args []string
		want string
		code int
	}{
		{replay(), "agree with --yes", 2},
		{replay(), " slots, about ", 2},
		{replay("--yes", "--quota", "120%"), "--quota", 2},
		{replay("--yes", "--job", "j1"), "leave out the flags", 2},
		{[]string{"replay", "--yes", "--streams", "door-*", "--from", "-2h", "--to", "-1h"}, `no stream of the config matches ["door-*"]`, 2},
		{[]string{"replay", "--yes", "--streams", "cam-1", "--from", "-1h", "--to", "-2h"}, "not before", 2},
		{[]string{"replay", "--job", "no-such"}, "no such job", 1},
		{[]string{"replay", "--yes", "--nats", "embedded", "--streams", "cam-1", "--from", "-2h", "--to", "-1h"}, "--nats", 2},
	} {
		_, errOut, err := r.run(tc.args...)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != tc.code || !strings.Contains(errOut, tc.want) {
			t.Errorf("%v: %v, %s", tc.args, err, errOut)
		}
	}
	if asked := r.fake.Totals()["cam-1"].Asked; asked > 0 {
		t.Errorf("%d images were asked for before anybody agreed", asked)
	}

	cmd, _, errOut := r.command(replay("--yes")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, r, "running", 1)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(errOut.String(), "the job is paused: go on with cvfeeder replay -c") {
		t.Errorf("after Ctrl-C: %v\n%s", err, errOut)
	}
	all := r.jobs()
	if len(all) != 1 || all[0]["status"] != "paused" {
		t.Fatalf("the jobs are %v", all)
	}
	job := all[0]["id"].(string)
	if out, errOut, err := r.run("replay", "--job", job); err != nil || !strings.Contains(out, `"status":"done"`) {
		t.Errorf("going on: %v\n%s%s", err, out, errOut)
	}
	r.check(job, 1, 1, from, to, 200*time.Millisecond)

	cmd, _, errOut = r.command(replay("--yes")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	second := await(t, r, "running", 2)
	if out, errOut, err := r.run("jobs", "--cancel", second); err != nil || !strings.Contains(out, "is cancelled") {
		t.Errorf("cancelling: %v\n%s%s", err, out, errOut)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(errOut.String(), "was cancelled") {
		t.Errorf("after it was cancelled: %v\n%s", err, errOut)
	}
	if out, _, err := r.run("jobs"); err != nil || !strings.Contains(out, job+"  done ") || !strings.Contains(out, second+"  cancelled ") {
		t.Errorf("jobs: %v\n%s", err, out)
	}
}

// await waits until one of so many jobs has a status and has come some way, and returns its id.
func await(t *testing.T, r *replayRig, status string, jobs int) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		all := r.jobs()
		for _, j := range all {
			if cursor := j["streams"].([]any)[0].(map[string]any)["cursor"].(float64); len(all) == jobs && j["status"] == status && cursor > 0 {
				return j["id"].(string)
			}
		}
	}
	t.Fatalf("no job of %d is %s", jobs, status)
	return ""
}
