// Package promtest runs a real Prometheus for a test.
//
//	p := promtest.Start(t, promtest.Options{Target: "127.0.0.1:9177", Rules: rules})
//	series := p.Query(t, "cvfeeder_freshness_seconds")
//
// The program comes with Debian's package prometheus, as does promtool. [StartAlertmanager]
// does the same for an Alertmanager.
package promtest

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Options configure a Prometheus.
type Options struct {
	// Target is the address to scrape, as the job "cvfeeder", if any.
	Target string
	// Others are more addresses of the same job, and NATS is that of an exporter of NATS'
	// metrics, as the job "nats".
	Others []string
	NATS   string
	// Rules is the content of a file of rules. Default: none.
	Rules string
	// Every is the time between scrapes, and between evaluations of the rules. Default: 1s.
	Every time.Duration
	// History, if set, is written into the storage before the start, in OpenMetrics' format.
	History string
	// Alertmanager is the URL of the one that is told of alerts. Default: none.
	Alertmanager string
	// NativeHistograms scrapes native histograms instead of classic ones.
	NativeHistograms bool
	// Data is the directory of the samples, which then outlast the test. Default: one of the
	// test's own.
	Data string
}

// A Prometheus runs until the test ends.
type Prometheus struct{ url string }

// URL returns where it answers.
func (p *Prometheus) URL() string { return p.url }

// Program returns the path of a program of Debian's package prometheus. The test fails
// where it is not installed.
func Program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: it comes with Debian's package prometheus, which .ci/deps.sh test installs", err)
	}
	return path
}

// config returns a config of Prometheus. JSON is YAML.
func (o Options) config() (string, error) {
	type targets struct {
		Targets []string `json:"targets"`
	}
	type job struct {
		Name    string    `json:"job_name"`
		Configs []targets `json:"static_configs"`
	}
	jobs := []job{}
	if o.Target != "" {
		jobs = append(jobs, job{"cvfeeder", []targets{{append([]string{o.Target}, o.Others...)}}})
	}
	if o.NATS != "" {
		jobs = append(jobs, job{"nats", []targets{{[]string{o.NATS}}}})
	}
	every := cmp.Or(o.Every, time.Second).String()
	config := map[string]any{
		"global":         map[string]string{"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
		"rule_files":     []string{"rules.yml"},
		"scrape_configs": jobs,
	}
	if o.Alertmanager != "" {
		told := []targets{{[]string{strings.TrimPrefix(o.Alertmanager, "http://")}}}
		config["alerting"] = map[string]any{"alertmanagers": []any{map[string]any{"static_configs": told}}}
	}
	text, err := json.Marshal(config)
	return string(text), err
}

// listening matches the line in Prometheus' log that has the address.
var listening = regexp.MustCompile(`msg="Listening on".* address=(\S+)`)

// Start starts a Prometheus on a port of its own.
func Start(t *testing.T, opts Options) *Prometheus {
	t.Helper()
	dir := t.TempDir()
	config, err := opts.config()
	if err != nil {
		t.Fatal(err)
	}
	opts.Data = cmp.Or(opts.Data, filepath.Join(dir, "data"))
	for name, text := range map[string]string{
		"prometheus.yml": config,
		"rules.yml":      opts.Rules,
		"history":        opts.History,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if opts.History != "" {
		blocks := exec.CommandContext(t.Context(), Program(t, "promtool"), "tsdb", "create-blocks-from", "openmetrics", filepath.Join(dir, "history"), opts.Data)
		if out, err := blocks.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	args := []string{
		"--config.file=" + filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path=" + opts.Data,
		"--web.listen-address=127.0.0.1:0",
	}
	if opts.NativeHistograms {
		args = append(args, "--enable-feature=native-histograms")
	}
	ctx, kill := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, Program(t, "prometheus"), args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, ended := make(chan string, 1), make(chan string, 1)
	go func() { ended <- readLog(stderr, address) }()
	t.Cleanup(func() {
		kill()
		<-ended
		_ = cmd.Wait() // it was killed
	})
	select {
	case a := <-address:
		p := &Prometheus{url: "http://" + a}
		p.wait(t)
		return p
	case log := <-ended:
		ended <- log
		t.Fatalf("Prometheus has ended:\n%s", log)
	case <-time.After(time.Minute):
		t.Fatal("Prometheus did not listen within a minute")
	}
	return nil
}

// readLog sends the address on which Prometheus listens, and returns the rest of its
// log.
func readLog(r io.Reader, address chan<- string) string {
	var log strings.Builder
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			select {
			case address <- m[1]:
			default:
			}
		}
		fmt.Fprintln(&log, lines.Text())
	}
	return log.String()
}

// wait waits until queries are answered.
func (p *Prometheus) wait(t *testing.T) {
	t.Helper()
	Until(t, time.Minute, "Prometheus is ready", func() bool { return ready(t, p.url) })
}

// ready tells whether a Prometheus or an Alertmanager says that it is ready.
func ready(t *testing.T, url string) bool {
	t.Helper()
	resp, err := request(t, url+"/-/ready")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// A Series is one in the result of a query.
type Series struct {
	Metric map[string]string
	Value  []any // time and value, nil for a histogram
	// Histogram is set for a native one.
	Histogram []any
}

// Query returns the result of an instant query. The test fails if that is not valid.
func (p *Prometheus) Query(t *testing.T, query string) []Series {
	t.Helper()
	var result struct{ Result []Series }
	p.get(t, "/api/v1/query", url.Values{"query": {query}}, &result)
	return result.Result
}

// Range returns the result of a query over a time, as Prometheus has it.
func (p *Prometheus) Range(t *testing.T, query string, from, to time.Time, step time.Duration) json.RawMessage {
	t.Helper()
	return p.raw(t, "/api/v1/query_range", url.Values{"query": {query}, "start": {unix(from)}, "end": {unix(to)}, "step": {step.String()}})
}

// At returns the result of a query at an instant, as Prometheus has it.
func (p *Prometheus) At(t *testing.T, query string, at time.Time) json.RawMessage {
	t.Helper()
	return p.raw(t, "/api/v1/query", url.Values{"query": {query}, "time": {unix(at)}})
}

func (p *Prometheus) raw(t *testing.T, path string, params url.Values) json.RawMessage {
	t.Helper()
	var result struct{ Result json.RawMessage }
	p.get(t, path, params, &result)
	return result.Result
}

func unix(at time.Time) string { return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64) }

// An Alert is one that is pending or firing.
type Alert struct {
	Labels, Annotations map[string]string
	State               string
}

// Alerts returns the alerts that are pending or firing.
func (p *Prometheus) Alerts(t *testing.T) []Alert {
	t.Helper()
	var result struct{ Alerts []Alert }
	p.get(t, "/api/v1/alerts", nil, &result)
	return result.Alerts
}

// LabelValues returns the values that a label has in the series that match.
func (p *Prometheus) LabelValues(t *testing.T, label, match string) []string {
	t.Helper()
	var values []string
	p.get(t, "/api/v1/label/"+url.PathEscape(label)+"/values", url.Values{"match[]": {match}}, &values)
	return values
}

func request(t *testing.T, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}

func (p *Prometheus) get(t *testing.T, path string, params url.Values, data any) {
	t.Helper()
	resp, err := request(t, p.url+path+"?"+params.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %v", params, err)
	}
	if answer.Status != "success" {
		t.Fatalf("%s: %s", params, answer.Error)
	}
}

// ServeFile serves a file with metrics for the length of the test, and returns the address.
func ServeFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) }))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// Until waits until a condition holds. The test fails if that takes longer than limit.
func Until(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not within %v: %s", limit, what)
		case <-tick.C:
		}
	}
}
