package monitoring_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/cvfeeder/cvfeeder/internal/monitoring"
	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
)

const prometheusDir = "../../docker/prometheus"

// ruleTests are the files of tests for promtool.
var ruleTests = []string{"alerts_test.yml", "slots_test.yml", "slots_days_test.yml", "nats_test.yml"}

// ruleFiles are the files of rules that prometheus.yml loads.
var ruleFiles = []string{"alerts.yml", "nats.yml"}

// A rule is an alert.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []rule {
	t.Helper()
	var all []rule
	for _, name := range ruleFiles {
		var file struct{ Groups []struct{ Rules []rule } }
		if err := yaml.Unmarshal([]byte(read(t, filepath.Join(prometheusDir, name))), &file); err != nil {
			t.Fatal(err)
		}
		for _, g := range file.Groups {
			for _, r := range g.Rules {
				if r.Alert != "" { // the others record
					all = append(all, r)
				}
			}
		}
	}
	return all
}

// untested returns what the tests for promtool do not show of an alert: that it fires, that
// it does not before, and that it ends, all in one test.
func untested(t *testing.T) func(alert string) []string {
	t.Helper()
	quiet, fires, ends := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, name := range ruleTests {
		var file struct {
			Tests []struct {
				Checks []struct {
					Alert    string `yaml:"alertname"`
					Expected []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		if err := yaml.Unmarshal([]byte(read(t, filepath.Join(prometheusDir, name))), &file); err != nil {
			t.Fatal(err)
		}
		for _, test := range file.Tests {
			fired := map[string]bool{}
			for _, c := range test.Checks {
				switch {
				case len(c.Expected) > 0:
					fires[c.Alert], fired[c.Alert] = true, true
				case fired[c.Alert]:
					ends[c.Alert] = true
				default:
					quiet[c.Alert] = true
				}
			}
		}
	}
	return func(alert string) (missing []string) {
		for what, shown := range map[string]bool{"fires": fires[alert], "does not fire": quiet[alert], "ends": ends[alert]} {
			if !shown {
				missing = append(missing, what)
			}
		}
		return missing
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPromtool has Prometheus' own tool check the config and the rules, and run the
// rules' tests.
func TestPromtool(t *testing.T) {
	for _, args := range [][]string{{"check", "config", "prometheus.yml", "../compose/prometheus.yml"}, append([]string{"test", "rules"}, ruleTests...)} {
		cmd := exec.CommandContext(t.Context(), promtest.Program(t, "promtool"), args...)
		cmd.Dir = prometheusDir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	// For "go test" to run this again when one of them has changed.
	for _, file := range slices.Concat([]string{"prometheus.yml", "../compose/prometheus.yml"}, ruleFiles, ruleTests) {
		read(t, filepath.Join(prometheusDir, file))
	}
	var config struct {
		Rules []string `yaml:"rule_files"`
	}
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(prometheusDir, "prometheus.yml"))), &config); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.Rules, ruleFiles) {
		t.Errorf("prometheus.yml loads %q, and the tests are of %q", config.Rules, ruleFiles)
	}
}

// TestAlertsAreWhole: each alert says what people need to know, is tested for firing, for
// not firing and for its end, and has a section in the runbook. The runbook has no other sections.
func TestAlertsAreWhole(t *testing.T) {
	missing, runbook := untested(t), read(t, "../../docs/runbook.md")
	headings := strings.Count(runbook, "\n## ")
	for _, r := range alerts(t) {
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if r.For == "" {
			t.Errorf("%s has no for: it would fire for a single bad scrape", r.Alert)
		}
		for _, key := range []string{"summary", "description"} {
			if text := r.Annotations[key]; !strings.Contains(text, "{{") && r.Alert != "CvfeederAbsent" {
				t.Errorf("%s: the %s %q names no value", r.Alert, key, text)
			}
		}
		if want := "https://github.com/cvfeeder/cvfeeder/blob/main/docs/runbook.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url is %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
		}
		_, paragraph, ok := strings.Cut(runbook, "\n## "+r.Alert+"\n")
		paragraph, _, _ = strings.Cut(paragraph, "\n## ")
		if !ok || strings.Count(paragraph, "\n- ") < 2 {
			t.Errorf("docs/runbook.md has no section %q that says what to look at and what to do", r.Alert)
		}
		for _, what := range missing(r.Alert) {
			t.Errorf("no test in %q shows that %s %s", ruleTests, r.Alert, what)
		}
		headings--
	}
	if headings != 0 {
		t.Errorf("docs/runbook.md has %d more sections than there are alerts", headings)
	}
}

func TestFaster(t *testing.T) {
	const rules = `
      expr: cvfeeder_freshness_seconds > 60 and rate(x_seconds[2m]) > 0.05
      for: 1m
`
	got, err := monitoring.Faster(rules, 6)
	want := strings.NewReplacer("> 60", "> 10", "2m", "20s", "1m", "10s").Replace(rules)
	if err != nil || got != want {
		t.Errorf("Faster = %s, %v; want %s", got, err, want)
	}
	if _, err := monitoring.Faster(rules, 7); err == nil {
		t.Error("60 s divided by 7 is not whole, but there is no error")
	}
}
