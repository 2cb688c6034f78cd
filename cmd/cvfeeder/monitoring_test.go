package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/monitoring"
	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
)

// patience is how long a test waits for what takes seconds on an idle machine.
const patience = 3 * time.Minute

// TestDashboardsHaveData runs every query of every panel and variable on two real
// Prometheus servers that have scraped a demo with faults, with native histograms and
// with classic ones, and lists those that return nothing.
func TestDashboardsHaveData(t *testing.T) {
	feedertest.Long(t, "takes half a minute")
	t.Parallel()
	all, err := monitoring.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	target := startDemo(t, demoOptions{
		streams: 2, http: "127.0.0.1:0", nats: "127.0.0.1:0", poll: "always", gate: "0.5%",
		faults: "outages=0.2,media-errors=0.2,stretch=1s,others=0.8,errors=0.05", seed: 7,
	})
	lint := exec.CommandContext(t.Context(), promtest.Program(t, "promtool"), "check", "metrics")
	lint.Stdin = strings.NewReader(feedertest.Get(t, "http://"+target+"/metrics"))
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	nats := promtest.ServeFile(t, "../../internal/monitoring/testdata/nats-exporter.txt")
	const native = "native histograms"
	servers := map[string]*promtest.Prometheus{
		"classic histograms": promtest.Start(t, promtest.Options{Target: target, NATS: nats}),
		native:               promtest.Start(t, promtest.Options{Target: target, NATS: nats, NativeHistograms: true}),
	}
	for name, p := range servers {
		promtest.Until(t, patience, "there are gaps and frames", func() bool {
			return len(p.Query(t, "sum by (stream) (rate(cvfeeder_gap_seconds_total[10s])) > 0 and on (stream) sum by (stream) (rate(cvfeeder_slots_total{outcome=\"published\"}[10s])) > 0")) > 0
		})
		if got := len(p.Query(t, "cvfeeder_latency_seconds")) > 0; got != (name == native) {
			t.Errorf("%s: native ones %v", name, got)
		}
		checkFed(t, p)
		for _, d := range all {
			queries := checks(t, p, d.JSON)
			t.Logf("%s, %s: %d queries", name, d.File, len(queries))
			for what, has := range queries {
				if !eventually(time.Minute, has) {
					t.Errorf("%s, %s: no data for %s", name, d.File, what)
				}
			}
		}
	}
}

// checkFed finds series of every metric that the README lists, but of those of groups
// of replicas, of limits of what images may cost, of batches across cameras, and of a usual view,
// which takes a while to learn.
func checkFed(t *testing.T, p *promtest.Prometheus) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(cvfeeder_\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(readme), -1)
	if len(rows) < 20 {
		t.Errorf("README.md lists %d metrics", len(rows))
	}
	for _, row := range rows {
		name := row[1]
		if row[2] == "histogram" {
			name = fmt.Sprintf(`{__name__=~"%s|%[1]s_bucket"}`, name)
		}
		elsewhere := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if !slices.ContainsFunc([]string{"cvfeeder_cluster_", "cvfeeder_budget_", "cvfeeder_batch", "cvfeeder_camera_similarity_ratio"}, elsewhere) && len(p.Query(t, name)) == 0 {
			t.Errorf("the program has no series of %s", row[1])
		}
	}
}

// checks returns, for each query of a dashboard, whether it has data.
func checks(t *testing.T, p *promtest.Prometheus, dashboard []byte) map[string]func() bool {
	t.Helper()
	var d struct {
		UID    string
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
	}
	if err := json.Unmarshal(dashboard, &d); err != nil {
		t.Fatal(err)
	}
	// As Grafana does.
	expand := strings.NewReplacer("$__rate_interval", "10s", "$__range", "20s", `stream="$stream"`, `stream="cam-1"`,
		"$stream", ".*", "$instance", ".*", "$price", "10").Replace
	all := map[string]func() bool{}
	for _, panel := range d.Panels {
		for _, q := range panel.Targets {
			expr := expand(q.Expr)
			all[fmt.Sprintf("%s: %s", panel.Title, expr)] = func() bool {
				series := p.Query(t, expr)
				if panel.Type == "timeseries" {
					checkLegend(t, panel.Title, q.LegendFormat, series, d.UID == "cvfeeder-stream")
				}
				return hasNumber(series)
			}
		}
	}
	values := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := values.FindStringSubmatch(expand(v.Definition))
		if m == nil {
			t.Fatalf("the variable %s is %q", v.Name, v.Definition)
		}
		all["the variable "+v.Name] = func() bool { return len(p.LabelValues(t, m[2], m[1])) > 0 }
	}
	return all
}

// checkLegend checks that lines that differ have different names: those of two instances, for
// example, although here is only one.
func checkLegend(t *testing.T, panel, legend string, all []promtest.Series, oneStream bool) {
	t.Helper()
	var same []string
	if oneStream {
		same = []string{"stream"}
	}
	for _, s := range all {
		if missing := promtest.Unnamed(s.Metric, legend, same...); len(missing) > 0 {
			t.Errorf("%s: the legend %q does not name %v", panel, legend, missing)
		}
	}
}

// hasNumber tells whether there is a histogram, or a value other than NaN.
func hasNumber(series []promtest.Series) bool {
	return slices.ContainsFunc(series, func(s promtest.Series) bool {
		return s.Histogram != nil || len(s.Value) == 2 && s.Value[1] != "NaN"
	})
}

// eventually tells whether something comes true within a time.
func eventually(limit time.Duration, holds func() bool) bool {
	for deadline := time.Now().Add(limit); !holds(); {
		if time.Now().After(deadline) {
			return false
		}
		<-time.After(500 * time.Millisecond)
	}
	return true
}

// startDemo runs a demo until the test ends, with somebody who listens to its tensors, and
// returns the address of its metrics.
func startDemo(t *testing.T, o demoOptions) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := demo(ctx, o, w, io.Discard)
		_ = w.CloseWithError(io.EOF)
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	address, nats := make(chan string, 1), make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "NATS" {
				nats <- fields[1]
			}
			if _, rest, ok := strings.Cut(lines.Text(), "http://"); ok && strings.Contains(rest, "/metrics") {
				a, _, _ := strings.Cut(rest, "/")
				address <- a
			}
		}
	}()
	select {
	case a := <-address:
		listener := feedertest.Subscribe(t, <-nats, "cvf.t.>")
		go func() {
			for {
				if _, err := listener.Next(t.Context()); err != nil {
					return
				}
			}
		}()
		return a
	case <-time.After(patience):
		t.Fatal("the demo did not start")
		return ""
	}
}
