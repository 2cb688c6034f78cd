package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/goccy/go-yaml"
	"github.com/nats-io/nats-server/v2/server"
)

// natsServerMain is the main function of NATS' own program.
func natsServerMain() {
	options, err := server.ConfigureOptions(flag.NewFlagSet("nats-server", flag.ExitOnError), os.Args[1:],
		server.PrintServerAndExit, func() {}, server.PrintTLSHelpAndDie)
	if err != nil {
		server.PrintAndDie(err.Error())
	}
	s, err := server.NewServer(options)
	if err != nil {
		server.PrintAndDie(err.Error())
	}
	if err := server.Run(s); err != nil {
		server.PrintAndDie(err.Error())
	}
	s.WaitForShutdown()
}

// A composed is what is read of docker/compose.yaml.
type composed struct {
	Services map[string]struct {
		Command     []string          `yaml:"command"`
		Environment map[string]string `yaml:"environment"`
		Volumes     []string          `yaml:"volumes"`
	} `yaml:"services"`
}

// composeVariable is a variable that has a default.
var composeVariable = regexp.MustCompile(`\$\{[A-Z_]+:-([^}]*)\}`)

// A composeRig runs the services of docker/compose.yaml without containers: with their
// own commands and mounted files, in which only addresses and paths are other ones.
type composeRig struct {
	t         *testing.T
	file      composed
	addresses *strings.Replacer
}

func newComposeRig(t *testing.T, addresses ...string) *composeRig {
	t.Helper()
	text, err := os.ReadFile("../../docker/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := &composeRig{t: t, addresses: strings.NewReplacer(addresses...)}
	if err := yaml.Unmarshal(composeVariable.ReplaceAll(text, []byte("$1")), &r.file); err != nil {
		t.Fatal(err)
	}
	return r
}

// start runs a service as program, which comes before the service's command.
func (r *composeRig) start(service string, env []string, program ...string) *output {
	r.t.Helper()
	s, ok := r.file.Services[service]
	if !ok {
		r.t.Fatalf("docker/compose.yaml has no service %s", service)
	}
	root := r.t.TempDir()
	args := slices.Clone(program)
	for _, a := range s.Command {
		args = append(args, r.addresses.Replace(a))
	}
	for _, v := range s.Volumes {
		from, rest, _ := strings.Cut(v, ":")
		target := strings.TrimSuffix(rest, ":ro")
		r.mount(from, filepath.Join(root, target), root)
		for i, a := range args[len(program):] {
			at := strings.Index(a, "=") + 1 // the path of --flag=path, or of a word of its own
			if strings.HasPrefix(a[at:]+"/", target+"/") {
				args[len(program)+i] = a[:at] + root + a[at:]
			}
		}
	}
	out := &output{}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "HOME="+filepath.Join(root, "var/lib/cvfeeder"))
	for k, v := range s.Environment {
		cmd.Env = append(cmd.Env, k+"="+r.addresses.Replace(v))
	}
	cmd.Env = append(cmd.Env, env...)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		_ = cmd.Wait()
		if r.t.Failed() {
			r.t.Logf("%s:\n%s", service, out)
		}
	})
	return out
}

// mount copies a file or directory beside compose.yaml to where the service finds it.
// A volume that has a name is an empty directory.
func (r *composeRig) mount(from, to, root string) {
	r.t.Helper()
	if !strings.HasPrefix(from, ".") {
		if err := os.MkdirAll(to, 0o750); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	from = filepath.Join("../../docker", from)
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		copied := filepath.Join(to, relative)
		if err := os.MkdirAll(filepath.Dir(copied), 0o750); err != nil {
			return err
		}
		other := strings.ReplaceAll(r.addresses.Replace(string(text)), "store_dir: /", "store_dir: "+root+"/")
		return os.WriteFile(copied, []byte(other), 0o600)
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// output is what a program has printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// waitShown waits for a text that matches.
func waitShown(t *testing.T, what, pattern string, text func() string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		if re.MatchString(text()) {
			return
		}
	}
	t.Fatalf("%s never showed %s, but at last\n%s", what, pattern, text())
}

// TestComposeDelivers starts what "docker compose up" starts, and sees tensors come to
// the consumer.
func TestComposeDelivers(t *testing.T) {
	feedertest.Long(t, "starts five programs")
	port := func() string { return freeAddress(t.Fatal) }
	nats, monitor, fake, feeder := port(), port(), port(), port()
	r := newComposeRig(t,
		"port: 4222", "listen: "+nats, "http_port: 8222", "http: "+monitor, "//nats:4222", "//"+nats,
		"0.0.0.0:9178", fake, "//fake:9178", "//"+fake,
		"0.0.0.0:9177", feeder, "127.0.0.1:9177", feeder)
	r.start("nats", nil, "nats-server-main")
	waitShown(t, "NATS", fmt.Sprintf(`"max_payload": %d,`, 8<<20), func() string { return fetch("http://" + monitor + "/varz") })
	waitShown(t, "JetStream", `"store_dir": ".*/data/jetstream"`, func() string { return fetch("http://" + monitor + "/jsz") })
	r.start("fake", nil, "cvfeeder")
	r.start("cvfeeder", []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_EC2_METADATA_DISABLED=true"}, "cvfeeder")
	waitShown(t, "cvfeeder", `(?m)^200\nready`, func() string { return fetch("http://" + feeder + "/readyz") })
	for _, stream := range []string{"cam-1", "cam-4"} {
		waitShown(t, stream, `slots_total\{outcome="published",stream="`+stream+`"\} [1-9]`,
			func() string { return fetch("http://" + feeder + "/metrics") })
	}
	t.Run("consumer", func(t *testing.T) {
		python := os.Getenv("CVFEEDER_PYTHON")
		if python == "" {
			t.Skip("CVFEEDER_PYTHON does not name a Python with the client's requirements: `make test` makes one")
		}
		source, err := filepath.Abs("../../clients/python/src")
		if err != nil {
			t.Fatal(err)
		}
		r := *r
		r.t = t
		s := r.file.Services["consumer"]
		s.Volumes = []string{"./consumer:/app"} // which its image has copied
		r.file.Services["consumer"] = s
		out := r.start("consumer", []string{"PYTHONPATH=" + source}, "env", "PATH="+filepath.Dir(python)+":"+os.Getenv("PATH"))
		waitShown(t, "the consumer", `(?m)^cam-\d .* float32 \(1, 3, 640, 640\) mean 0\.\d+`, out.String)
	})
	t.Run("prometheus", func(t *testing.T) {
		prometheus := port()
		r := *r
		r.t = t
		r.addresses = strings.NewReplacer("0.0.0.0:9090", prometheus, "cvfeeder:9177", feeder, "scrape_interval: 15s", "scrape_interval: 1s")
		r.start("prometheus", nil, "prometheus")
		query := "http://" + prometheus + "/api/v1/query?query=" +
			url.QueryEscape(`sum(cvfeeder_slots_total{job="cvfeeder",outcome="published"})`)
		waitShown(t, "Prometheus", `"value":\[[0-9.]+,"[1-9]`, func() string { return fetch(query) })
	})
}
