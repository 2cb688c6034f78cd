package monitoring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
)

// TestAlertmanagerKnowsTheAlerts: each alert that the config of Alertmanager names exists, so
// that a rule does not lose its effect when an alert gets another name.
func TestAlertmanagerKnowsTheAlerts(t *testing.T) {
	known := map[string]bool{}
	for _, r := range alerts(t) {
		known[r.Alert] = true
	}
	named := regexp.MustCompile(`Cvfeeder\w+`).FindAllString(read(t, filepath.Join(prometheusDir, "alertmanager.yml")), -1)
	if len(named) < 10 {
		t.Errorf("the config names %q", named)
	}
	for _, name := range named {
		if !known[name] {
			t.Errorf("%s is no alert", name)
		}
	}
}

// notified collects what Alertmanager sends: receiver, alert, and how many of it.
type notified struct {
	mu  sync.Mutex
	all []string
}

func (n *notified) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var body struct {
		Receiver  string
		Alerts    []struct{ Status string }
		GroupKey  string
		Truncated int                        `json:"truncatedAlerts"`
		Labels    struct{ Alertname string } `json:"groupLabels"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		panic(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, fmt.Sprintf("%s: %d × %s", body.Receiver, len(body.Alerts)+body.Truncated, body.Labels.Alertname))
}

func (n *notified) got() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(slices.Values(n.all))
}

// TestRoutes has Alertmanager's own tool check the config, and say who is told of each alert:
// whoever is on call of critical ones, a queue of tickets of the others.
func TestRoutes(t *testing.T) {
	amtool := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), program(t, "amtool"), args...)
		cmd.Dir = prometheusDir
		var problems bytes.Buffer
		cmd.Stderr = &problems
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("amtool %q: %v\n%s%s", args, err, out, &problems)
		}
		return strings.TrimSpace(string(out))
	}
	amtool("check-config", "alertmanager.yml")
	receivers := map[string]string{"critical": "pages", "warning": "tickets"}
	for _, r := range alerts(t) {
		severity := r.Labels["severity"]
		got := amtool("config", "routes", "test", "--config.file=alertmanager.yml", "alertname="+r.Alert, "severity="+severity, "job=cvfeeder")
		if got != receivers[severity] {
			t.Errorf("%s, which is %s, is told to %q, want %q", r.Alert, severity, got, receivers[severity])
		}
	}
	// An alert of somebody else, whatever it has.
	if got := amtool("config", "routes", "test", "--config.file=alertmanager.yml", "alertname=Other"); got != "tickets" {
		t.Errorf("an alert without a severity is told to %q", got)
	}
}

// program returns the first of the names that is installed.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("%q comes with Debian's package prometheus-alertmanager, which .ci/deps.sh test installs", names)
	return ""
}

// TestOneOutageIsOnePage has a real Alertmanager take the alerts of an outage of NATS with
// 10,000 cameras on three instances. There is one page, for the cause, and a ticket for what
// has another one.
func TestOneOutageIsOnePage(t *testing.T) {
	told := &notified{}
	hook := httptest.NewServer(told)
	defer hook.Close()
	url := startAlertmanager(t, program(t, "alertmanager", "prometheus-alertmanager"), hook.URL)

	var all []map[string]any
	add := func(labels ...string) {
		set := map[string]string{"job": "cvfeeder"}
		for i := 0; i < len(labels); i += 2 {
			set[labels[i]] = labels[i+1]
		}
		all = append(all, map[string]any{"labels": set})
	}
	for _, instance := range []string{"a", "b", "c"} {
		add("alertname", "CvfeederBrokerAway", "severity", "critical", "instance", instance)
	}
	for i := range 10_000 {
		instance, stream := string(rune('a'+i%3)), fmt.Sprint("cam-", i)
		add("alertname", "CvfeederStreamStale", "severity", "critical", "instance", instance, "stream", stream)
		add("alertname", "CvfeederGapRatio", "severity", "warning", "instance", instance, "stream", stream)
	}
	add("alertname", "CvfeederSlotsLate", "severity", "critical")
	add("alertname", "CvfeederNatsUnwell", "severity", "warning", "job", "nats", "instance", "exporter")
	add("alertname", "CvfeederClockOff", "severity", "warning", "instance", "a")
	// Another fleet, whose NATS is well: two cameras of it are off.
	for _, stream := range []string{"x", "y"} {
		add("alertname", "CvfeederStreamStale", "severity", "critical", "job", "other", "instance", "z", "stream", stream)
		add("alertname", "CvfeederGapRatio", "severity", "warning", "job", "other", "instance", "z", "stream", stream)
	}
	// A third, of which one instance has no metrics, so that its streams seem to be run by nobody.
	add("alertname", "CvfeederMetricsMissing", "severity", "critical", "job", "third", "instance", "q")
	add("alertname", "CvfeederGroupIncomplete", "severity", "critical", "job", "third")
	// Causes come first, as they do from Prometheus.
	for chunk := range slices.Chunk(all, 500) {
		post(t, url+"/api/v2/alerts", chunk)
	}
	left := map[string]int{"CvfeederBrokerAway": 3, "CvfeederClockOff": 1, "CvfeederStreamStale": 2, "CvfeederMetricsMissing": 1}
	if got := uninhibited(t, url); !maps.Equal(got, left) {
		t.Errorf("not inhibited: %v, want %v", got, left)
	}
	want := []string{"pages: 1 × CvfeederMetricsMissing", "pages: 2 × CvfeederStreamStale", "pages: 3 × CvfeederBrokerAway", "tickets: 1 × CvfeederClockOff"}
	promtest.Until(t, 2*time.Minute, "all has been told", func() bool { return len(told.got()) >= len(want) })
	if got := told.got(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// uninhibited returns how many alerts there are that are told, by name.
func uninhibited(t *testing.T, url string) map[string]int {
	t.Helper()
	resp, err := http.Get(url + "/api/v2/alerts?inhibited=false")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var all []struct{ Labels map[string]string }
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, a := range all {
		counts[a.Labels["alertname"]]++
	}
	return counts
}

// startAlertmanager starts one with the config that is delivered, except that it waits less,
// and returns its URL.
func startAlertmanager(t *testing.T, program, hook string) string {
	t.Helper()
	config := strings.NewReplacer("group_wait: 30s", "group_wait: 3s", "http://127.0.0.1:9099", hook).
		Replace(read(t, filepath.Join(prometheusDir, "alertmanager.yml")))
	dir := t.TempDir()
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+file, "--storage.path="+dir,
		"--web.listen-address="+address, "--cluster.listen-address=")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	promtest.Until(t, time.Minute, "Alertmanager is ready", func() bool {
		resp, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return "http://" + address
}

func post(t *testing.T, url string, v any) {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, resp.Status)
	}
}
