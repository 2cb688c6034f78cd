package main

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

var kills = flag.Int("kills", 6, "how often TestKilledBackfill kills the feeder")

const killConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
state: %q
streams:
  - {name: cam-1, interval: 200ms, from: %q, to: %q, outputs: [small]}
  - {name: cam-2, interval: 400ms, from: %q, to: %q, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// TestKilledBackfill kills the feeder with SIGKILL at random moments of a
// backfill, until at last it may finish. What was published, all runs together, is
// every slot; a slot that came more than once always had the same message id.
func TestKilledBackfill(t *testing.T) {
	feedertest.Long(t, "kills processes for a quarter of a minute")
	t.Parallel()
	length := time.Duration(*kills+5) * 2 * time.Minute
	to := time.Now().Add(-time.Minute).Truncate(time.Second)
	from := to.Add(-length)

	r := feedertest.NewRig(t, kinesistest.Options{Scene: feedertest.Grey{}})
	dir := t.TempDir()
	file := filepath.Join(dir, "cvfeeder.yaml")
	f, e := from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339)
	text := fmt.Sprintf(killConfig, r.FakeURL, r.NATSURL, filepath.Join(dir, "state"), f, e, f, e)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range *kills {
		runOnce(t, file, 200*time.Millisecond+time.Duration(rng.Int64N(int64(2500*time.Millisecond))))
	}
	out := runOnce(t, file, 0)
	if !strings.Contains(out, "slots expected, each with its outcome") {
		t.Errorf("the last run ended with\n%s", out)
	}
	messages := r.Messages()
	checkUnion(t, messages, "cam-1", from, to, 200*time.Millisecond)
	checkUnion(t, messages, "cam-2", from, to, 400*time.Millisecond)
}

// runOnce runs the feeder, and kills it after a time, unless 0. It returns what
// was printed.
func runOnce(t *testing.T, file string, kill time.Duration) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("cvfeeder", "run", "-c", file)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+kinesistest.AccessKey, "AWS_SECRET_ACCESS_KEY="+kinesistest.SecretKey)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if kill > 0 {
		timer := time.AfterFunc(kill, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	if err := cmd.Wait(); err != nil && kill == 0 {
		t.Errorf("the last run: %v\n%s", err, out.String())
	}
	return out.String()
}

// checkUnion checks that each slot of a stream was published, and always with the same
// message id.
func checkUnion(t *testing.T, messages []publish.Message, stream string, from, to time.Time, interval time.Duration) {
	t.Helper()
	ids := map[string]string{}
	repeats := 0
	for _, m := range messages {
		if m.Header["Cvf-Stream"] == nil || m.Header["Cvf-Stream"][0] != stream {
			continue
		}
		at, id := m.Header["Cvf-Time"][0], m.Header["Nats-Msg-Id"][0]
		if old, ok := ids[at]; ok {
			repeats++
			if old != id {
				t.Errorf("%s: the slot %s came as %s and as %s", stream, at, old, id)
			}
		}
		ids[at] = id
	}
	missing := 0
	for at := from.UTC(); at.Before(to); at = at.Add(interval) {
		if at.UnixMilli()%interval.Milliseconds() == 0 && ids[at.Format("2006-01-02T15:04:05.000Z07:00")] == "" {
			missing++
		}
	}
	t.Logf("%s: %d slots, %d repeated", stream, len(ids), repeats)
	if missing > 0 {
		t.Errorf("%s: %d slots were never published", stream, missing)
	}
}
