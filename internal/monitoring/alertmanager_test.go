package monitoring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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

// TestRoutes has Alertmanager's own tool check the config, and say who is told of each alert:
// whoever is on call of critical ones, a queue of tickets of the others.
func TestRoutes(t *testing.T) {
	amtool := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), promtest.Program(t, "amtool"), args...)
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

// TestOneOutageIsOnePage has a real Alertmanager take the alerts of an outage of NATS with
// 10,000 cameras on three instances. There is one page, for the cause, and a ticket for what
// has another one. It needs Debian's package prometheus-alertmanager.
func TestOneOutageIsOnePage(t *testing.T) {
	manager := promtest.StartAlertmanager(t, strings.Replace(read(t, filepath.Join(prometheusDir, "alertmanager.yml")), "group_wait: 30s", "group_wait: 3s", 1))
	url := manager.URL

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
	told := func() (all []string) {
		for _, n := range manager.Told() {
			all = append(all, fmt.Sprintf("%s: %d × %s", n.Receiver, n.Count, n.Alert))
		}
		slices.Sort(all)
		return all
	}
	promtest.Until(t, 2*time.Minute, "all has been told", func() bool { return len(told()) >= len(want) })
	if got := told(); !slices.Equal(got, want) {
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
