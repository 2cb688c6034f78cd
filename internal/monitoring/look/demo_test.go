package look_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/monitoring"
	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const (
	root     = "../../.."
	recorded = "../testdata/nats-exporter.txt"
	cameras  = 6
	patience = 3 * time.Minute
	// faults are such that every panel has something to show, and most frames come.
	faults = "outages=0.05,media-errors=0.03,stretch=4s,throttle,others=0.5,errors=0.03,clock=300ms,clock-every=30s,rotate=1m,throttle-endpoint=0.2"
)

// config is that of a replica. The arguments are the fake service, NATS, the address of the
// metrics, and a comment.
const config = `# %[4]s
aws: {region: us-east-1, endpoint: %[1]q}
nats: {url: %[2]q}
http: {listen: %[3]q}
cluster: {group: yard, lease: 6s}
delivery: {mode: durable}
requests: {rate: 100}
streams:
  - {prefix: cam-, interval: 500ms, selector: producer, outputs: [detector, classifier]}
outputs:
  detector: {preset: yolo, size: 96x96}
  classifier: {preset: imagenet, size: 64x64}
`

// programs are those that the demo runs: cvfeeder in two versions, and NATS.
type programs struct{ old, latest, nats string }

// build builds the programs, in the versions of this module's go.mod.
func build(t *testing.T, dir string) programs {
	t.Helper()
	p := programs{old: filepath.Join(dir, "cvfeeder-1"), latest: filepath.Join(dir, "cvfeeder-2"), nats: filepath.Join(dir, "nats-server")}
	const linked = "-X github.com/cvfeeder/cvfeeder/internal/feeder.linked="
	for _, args := range [][]string{
		{"-ldflags", linked + "v1.0.0", "-o", p.old, "./cmd/cvfeeder"},
		{"-ldflags", linked + "v1.1.0", "-o", p.latest, "./cmd/cvfeeder"},
		{"-o", p.nats, "github.com/nats-io/nats-server/v2"},
	} {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-tags", "gocv_specific_modules"}, args...)...)
		cmd.Dir = root
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	return p
}

// start runs a program until the test ends, or the function is called. It is told to stop by
// a kill, since what it leaves is not looked at.
func start(t *testing.T, program string, args ...string) (kill func()) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+kinesistest.AccessKey, "AWS_SECRET_ACCESS_KEY="+kinesistest.SecretKey)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	kill = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				text := log.String()
				t.Logf("%s: %s", filepath.Base(program), text[max(0, len(text)-3000):])
			}
		}
	}
	t.Cleanup(kill)
	return kill
}

// A replica is an instance of cvfeeder with its config.
type replica struct {
	file, address, text string
}

func newReplica(t *testing.T, dir, name, fake, nats string) *replica {
	t.Helper()
	r := &replica{file: filepath.Join(dir, name+".yaml"), address: natstest.FreeAddress(t)}
	r.text = fmt.Sprintf(config, fake, nats, r.address, name)
	r.write(t, r.text)
	return r
}

func (r *replica) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// runDemo has a fleet of two replicas read cameras with faults. One is killed and replaced by
// a later version, the config of the other changes, and somebody asks for frames.
func runDemo(t *testing.T, dir, data string) (*promtest.Prometheus, demo) {
	t.Helper()
	programs, temporary := build(t, dir), t.TempDir()
	nats, monitor := startNATS(t, programs.nats, temporary)
	fake := natstest.FreeAddress(t)
	start(t, programs.latest, "fake", "--listen", fake, "--streams", strconv.Itoa(cameras), "--faults", faults, "--seed", "7")
	a, b := newReplica(t, temporary, "a", "http://"+fake, nats), newReplica(t, temporary, "b", "http://"+fake, nats)
	rules, err := os.ReadFile(filepath.Join(root, "docker", "prometheus", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	faster, err := monitoring.Faster(string(rules), 6)
	if err != nil {
		t.Fatal(err)
	}
	exporter := startExporter(t, monitor)
	p := promtest.Start(t, promtest.Options{Target: a.address, Others: []string{b.address}, NATS: exporter, Rules: faster, Data: data})
	begin := time.Now()
	killA := start(t, programs.old, "run", "-c", a.file)
	start(t, programs.old, "run", "-c", b.file)
	until := func(query string) {
		t.Helper()
		promtest.Until(t, patience, query, func() bool { return len(p.Query(t, query)) > 0 })
		t.Logf("after %v: %s", time.Since(begin).Round(time.Second), query)
	}
	owned := func(r *replica) string { return `cvfeeder_stream_owned{instance="` + r.address + `"} == 1` }
	until(`count(` + owned(a) + `) > 0 and count(` + owned(b) + `) > 0`)
	until(`sum(cvfeeder_slots_total{outcome="published"}) > 200`)
	stored := read(t, nats)
	until(`sum(increase(cvfeeder_slots_total{outcome="published"}[40s])) > 400`)
	killA()
	until(`count(` + owned(b) + `) == ` + strconv.Itoa(cameras))
	start(t, programs.latest, "run", "-c", a.file)
	until(`count(` + owned(a) + `) > 0`)
	accepted := `cvfeeder_config_last_reload_success_timestamp_seconds{instance="` + b.address + `"}`
	before := p.Query(t, accepted)[0].Value[1].(string)
	b.write(t, b.text+"# changed\n")
	until(accepted + ` > ` + before)
	ask := askForFrames(t, a.address, b.address)
	defer ask()
	<-time.After(time.Until(begin.Add(*length)))
	if stored.Load() == 0 {
		t.Error("nobody has read a tensor")
	}
	if *record {
		recordExporter(t, exporter)
	}
	return p, demo{From: begin.Truncate(step), To: time.Now().Truncate(step)}
}

// startNATS runs a server with the config that is delivered, but for its addresses.
func startNATS(t *testing.T, program, dir string) (url, monitor string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docker", "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	address, monitor := natstest.FreeAddress(t), natstest.FreeAddress(t)
	changed := strings.NewReplacer("port: 4222", "listen: "+address, "http_port: 8222", "http: "+monitor, "/data", filepath.Join(dir, "nats")).Replace(string(text))
	file := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, program, "-c", file)
	promtest.Until(t, patience, "NATS is ready", func() bool {
		resp, err := http.Get("http://" + monitor + "/healthz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return "nats://" + address, monitor
}

// startExporter runs prometheus-nats-exporter where there is one, and returns its address.
// Otherwise it serves what a real one has answered.
func startExporter(t *testing.T, monitor string) string {
	t.Helper()
	address := natstest.FreeAddress(t)
	if promtest.StartExporter(t, "http://"+monitor, address) {
		return address
	}
	t.Log("prometheus-nats-exporter is not installed: the row of the NATS servers shows what one answered once")
	return promtest.ServeFile(t, recorded)
}

// recordExporter keeps what an exporter tells of the server, for tests without one.
func recordExporter(t *testing.T, address string) {
	t.Helper()
	var kept strings.Builder
	for line := range strings.Lines(feedertest.Get(t, "http://"+address+"/metrics")) {
		if strings.HasPrefix(line, "gnatsd_") || strings.HasPrefix(line, "jetstream_") {
			kept.WriteString(line)
		}
	}
	if err := os.WriteFile(recorded, []byte(kept.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestExporterFlags: users start the exporter as the demo does.
func TestExporterFlags(t *testing.T) {
	for _, file := range []string{"docs/operations.md", "docker/prometheus/prometheus.yml"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Join(promtest.ExporterFlags(), " "); !strings.Contains(string(text), want) {
			t.Errorf("%s does not have %q", file, want)
		}
	}
	compose, err := os.ReadFile(filepath.Join(root, "docker", "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "[" + strings.Join(promtest.ExporterFlags(), ", ") + ", "; !strings.Contains(string(compose), want) {
		t.Errorf("compose.yaml does not have %q", want)
	}
}

// read consumes the tensors of the detector until the test ends, and counts them. Those of
// the classifier nobody reads.
func read(t *testing.T, nats string) *atomic.Int64 {
	t.Helper()
	var n atomic.Int64
	c, err := consume.Consume(t.Context(), dial.Options{URL: nats}, consume.ConsumerOptions{Name: "detector", Subjects: []string{"cvf.t.*.detector"}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for d, err := range c.Deliveries(t.Context()) {
			if err != nil {
				return
			}
			n.Add(1)
			_ = d.Ack()
		}
	}()
	t.Cleanup(func() { <-ended })
	return &n
}

// askForFrames asks the replicas for frames twice a second, until the function is called.
func askForFrames(t *testing.T, addresses ...string) (stop func()) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan struct{})
	tick := time.NewTicker(500 * time.Millisecond)
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			slot := time.Now().Add(-30 * time.Second).Truncate(time.Second).UTC().Format(time.RFC3339)
			url := fmt.Sprintf("http://%s/api/streams/cam-%d/frame?output=detector&time=%s", addresses[i%len(addresses)], i%cameras+1, slot)
			if resp, err := http.Post(url, "", nil); err == nil {
				_ = resp.Body.Close()
			}
		}
	}()
	return func() { close(done); <-ended; tick.Stop() }
}
