package monitoring_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
)

// TestTheWorstInstanceShows: two instances read one stream, as while it moves. One is well,
// and the other has got no frame for twenty minutes, is throttled, and has a wrong clock. That
// one is what the numbers show, and the stream counts once.
func TestTheWorstInstanceShows(t *testing.T) {
	both := func(metric, well, ill string) []map[string]string {
		return []map[string]string{
			{"series": strings.ReplaceAll(metric, "INSTANCE", "well"), "values": well},
			{"series": strings.ReplaceAll(metric, "INSTANCE", "ill"), "values": ill},
		}
	}
	var series []map[string]string
	const of = `{job="cvfeeder",instance="INSTANCE",stream="cam"`
	for _, s := range [][]map[string]string{
		both(`cvfeeder_stream_owned`+of+`}`, "1x20", "1x20"),
		both(`cvfeeder_freshness_seconds`+of+`}`, "3x20", "1200x20"),
		both(`cvfeeder_slots_pending`+of+`}`, "20x20", "6000x20"),
		both(`cvfeeder_lag_seconds`+of+`}`, "5x20", "40x20"),
		both(`cvfeeder_getimages_requests_total`+of+`,code="OK"}`, "0+99x20", "0+1x20"),
		both(`cvfeeder_getimages_requests_total`+of+`,code="ClientLimitExceededException"}`, "0+1x20", "0+1x20"),
		both(`cvfeeder_clock_offset_seconds{job="cvfeeder",instance="INSTANCE"}`, "0.1x20", "-2x20"),
		both(`cvfeeder_workers_busy_ratio{job="cvfeeder",instance="INSTANCE"}`, "0.1x20", "0.9x20"),
	} {
		series = append(series, s...)
	}
	want := map[string]map[string]float64{
		"fleet.json": {
			"Cameras": 1, "Stale": 1, "Oldest camera": 1200, "Throttled most": 0.5, "Clock offset": 2, "Busiest worker": 0.9,
		},
		"stream.json": {"Freshness": 1200, "Pending slots": 6000, "Lag": 40, "Throttled": 0.5},
	}
	var checks []map[string]any
	expand := strings.NewReplacer("$__rate_interval", "2m", "$stream", "cam", "$instance", ".*").Replace
	for _, d := range dashboards(t) {
		for _, p := range parse(t, d).Panels {
			if value, ok := want[d.File][p.Title]; ok && p.Type == "stat" {
				delete(want[d.File], p.Title)
				checks = append(checks, map[string]any{
					"expr": expand(p.Targets[0].Expr), "eval_time": "10m",
					"exp_samples": []map[string]any{{"labels": "{}", "value": value}},
				})
			}
		}
		if len(want[d.File]) > 0 {
			t.Errorf("%s has no number called %v", d.File, want[d.File])
		}
	}
	text, err := json.Marshal(map[string]any{
		"tests": []map[string]any{{"interval": "1m", "input_series": series, "promql_expr_test": checks}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "worst.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtest.Program(t, "promtool"), "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
