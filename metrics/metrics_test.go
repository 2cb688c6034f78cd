package metrics_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform/quality"
)

// sources returns one stream, whose ledger has some slots with each outcome.
func sources(t *testing.T) metrics.Sources {
	t.Helper()
	grid, err := source.NewGrid(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	start := source.SlotAt(time.Now().Add(-time.Minute))
	l := source.NewLedger(grid, start)
	start = l.Stats().Start
	l.Extend(grid.Step(start, 11))
	for i, o := range []source.Outcome{
		source.Published, source.NoMedia, source.NoMedia, source.Published, source.Undecodable,
		source.Stale, source.Dropped, source.MediaError, source.Unwatched, source.Unchanged,
	} {
		l.Resolve(grid.Step(start, i), o)
	}
	return metrics.Sources{
		Streams: func() []metrics.Stream {
			return []metrics.Stream{{Name: "cam", Stats: l.Stats(), Lag: 1500 * time.Millisecond, Overlap: time.Second, Limited: true, Used: .25}}
		},
		Connections: func() []metrics.Connection {
			return []metrics.Connection{{Name: "data", Connected: true, Reconnects: 3, Unconfirmed: 5}, {Name: "control"}}
		},
		InflightBytes: func() int64 { return 4711 },
		Memory: func() metrics.Memory {
			return metrics.Memory{InMemory: 7, AsPayload: 3, NoSlot: 1, Remade: 2, Slots: 50, Held: 4}
		},
		MatsOpen:    func() int { return 2 },
		BusyRatio:   func() float64 { return .5 },
		Budget:      func() (float64, bool) { return .5, true },
		Price:       10,
		Cores:       func() metrics.Cores { return metrics.Cores{Limit: .5, Quota: .25} },
		ClockOffset: func() time.Duration { return 1500 * time.Millisecond },
		Group:       func() (int, int) { return 2, 3 },
		NotReady:    func() map[health.Code]int { return map[health.Code]int{"stream_full": 1, "camera_silent": 0} },
	}
}

const wantStates = `
# HELP cvfeeder_budget_all_used_ratio Part of the limits of all streams together that is used, of that limit of which the most is: 1 if it is met. There is none without such limits.
# TYPE cvfeeder_budget_all_used_ratio gauge
cvfeeder_budget_all_used_ratio 0.5
# HELP cvfeeder_budget_used_ratio Part of the limits of a stream itself that is used, of that limit of which the most is: 1 if it is met. Streams without limits have none.
# TYPE cvfeeder_budget_used_ratio gauge
cvfeeder_budget_used_ratio{stream="cam"} 0.25
# HELP cvfeeder_gap_seconds_total Total length of the gaps, by reason.
# TYPE cvfeeder_gap_seconds_total counter
cvfeeder_gap_seconds_total{reason="dropped",stream="cam"} 1
cvfeeder_gap_seconds_total{reason="media_error",stream="cam"} 1
cvfeeder_gap_seconds_total{reason="no_media",stream="cam"} 2
cvfeeder_gap_seconds_total{reason="stale",stream="cam"} 1
cvfeeder_gap_seconds_total{reason="undecodable",stream="cam"} 1
# HELP cvfeeder_gaps_total Gaps, by reason. A gap is a run of slots without a tensor that ended with the same outcome, which is its reason.
# TYPE cvfeeder_gaps_total counter
cvfeeder_gaps_total{reason="dropped",stream="cam"} 1
cvfeeder_gaps_total{reason="media_error",stream="cam"} 1
cvfeeder_gaps_total{reason="no_media",stream="cam"} 1
cvfeeder_gaps_total{reason="stale",stream="cam"} 1
cvfeeder_gaps_total{reason="undecodable",stream="cam"} 1
# HELP cvfeeder_inflight_bytes Bytes of frames and tensors between fetching and delivery.
# TYPE cvfeeder_inflight_bytes gauge
cvfeeder_inflight_bytes 4711
# HELP cvfeeder_lag_seconds How far behind now the stream is read, as configured or learned.
# TYPE cvfeeder_lag_seconds gauge
cvfeeder_lag_seconds{stream="cam"} 1.5
# HELP cvfeeder_mats_open Open OpenCV matrices.
# TYPE cvfeeder_mats_open gauge
cvfeeder_mats_open 2
# HELP cvfeeder_nats_connected 1 if the connection to NATS is up, else 0. 'data', 'data-2' … carry the tensors, those of a stream always the same one; 'control' carries the rest.
# TYPE cvfeeder_nats_connected gauge
cvfeeder_nats_connected{connection="control"} 0
cvfeeder_nats_connected{connection="data"} 1
# HELP cvfeeder_nats_reconnects_total Reconnections to NATS.
# TYPE cvfeeder_nats_reconnects_total counter
cvfeeder_nats_reconnects_total{connection="control"} 0
cvfeeder_nats_reconnects_total{connection="data"} 3
# HELP cvfeeder_nats_unconfirmed_total Messages that were on the way when a connection to NATS broke, and may be lost in the mode 'live'. The other modes publish them again.
# TYPE cvfeeder_nats_unconfirmed_total counter
cvfeeder_nats_unconfirmed_total{connection="control"} 0
cvfeeder_nats_unconfirmed_total{connection="data"} 5
# HELP cvfeeder_not_ready How many streams are not well for this reason, and 1 if the process is not. The reasons are those of '/readyz', all of them always there.
# TYPE cvfeeder_not_ready gauge
cvfeeder_not_ready{reason="camera_silent"} 0
cvfeeder_not_ready{reason="stream_full"} 1
# HELP cvfeeder_overlap_seconds How far before the first wanted slot the last window started, as configured or learned.
# TYPE cvfeeder_overlap_seconds gauge
cvfeeder_overlap_seconds{stream="cam"} 1
# HELP cvfeeder_producer_offset_seconds How far the clock of the camera is behind that of the service, in seconds; negative if it is ahead. 0 for streams that go by the timestamps of the service. Freshness and latency are corrected by it.
# TYPE cvfeeder_producer_offset_seconds gauge
cvfeeder_producer_offset_seconds{stream="cam"} 0
# HELP cvfeeder_slots_expected_total Slots from the start until now: the sum of 'cvfeeder_slots_total' and 'cvfeeder_slots_pending'.
# TYPE cvfeeder_slots_expected_total counter
cvfeeder_slots_expected_total{stream="cam"} 11
# HELP cvfeeder_slots_late_total Slots that had ended as 'no_media' when their picture turned up, within 'late' of the stream. They still count as 'no_media'.
# TYPE cvfeeder_slots_late_total counter
cvfeeder_slots_late_total{stream="cam"} 0
# HELP cvfeeder_slots_pending Slots that have not ended yet.
# TYPE cvfeeder_slots_pending gauge
cvfeeder_slots_pending{stream="cam"} 1
# HELP cvfeeder_slots_total Slots that have ended, by outcome: 'published'; 'unwatched', if nobody listened in the mode 'live'; 'unchanged', if a gate held them back; 'skipped', left out on purpose because the stream is asked for less often for now; or without a tensor as 'no_media', 'media_error', 'undecodable', 'stale' or 'dropped'.
# TYPE cvfeeder_slots_total counter
cvfeeder_slots_total{outcome="dropped",stream="cam"} 1
cvfeeder_slots_total{outcome="media_error",stream="cam"} 1
cvfeeder_slots_total{outcome="no_media",stream="cam"} 2
cvfeeder_slots_total{outcome="published",stream="cam"} 2
cvfeeder_slots_total{outcome="skipped",stream="cam"} 0
cvfeeder_slots_total{outcome="stale",stream="cam"} 1
cvfeeder_slots_total{outcome="unchanged",stream="cam"} 1
cvfeeder_slots_total{outcome="undecodable",stream="cam"} 1
cvfeeder_slots_total{outcome="unwatched",stream="cam"} 1
# HELP cvfeeder_stream_owned 1 for each stream that this process runs.
# TYPE cvfeeder_stream_owned gauge
cvfeeder_stream_owned{stream="cam"} 1
`

// read has m read from src.
func read(m *metrics.Metrics, src metrics.Sources) *metrics.Metrics {
	m.Read(src)
	return m
}

func TestStatesAreTheLedgers(t *testing.T) {
	m := read(metrics.New(metrics.Build{Version: "v1", OpenCV: "4.6"}), sources(t))
	var names []string
	for line := range strings.Lines(wantStates) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(rest)[0])
		}
	}
	if err := testutil.GatherAndCompare(m, strings.NewReader(strings.ReplaceAll(wantStates, "'", "`")), names...); err != nil {
		t.Error(err)
	}
}

// contract are the metrics that dashboards depend on, with their types and labels.
var contract = map[string]string{
	"cvfeeder_slots_total":              "counter outcome,stream",
	"cvfeeder_bursts_total":             "counter stream",
	"cvfeeder_camera_brightness":        "gauge stream",
	"cvfeeder_camera_clipped_ratio":     "gauge stream",
	"cvfeeder_camera_condition":         "gauge condition,stream",
	"cvfeeder_camera_contrast":          "gauge stream",
	"cvfeeder_camera_difference":        "gauge stream",
	"cvfeeder_camera_sharpness":         "gauge stream",
	"cvfeeder_camera_similarity_ratio":  "gauge stream",
	"cvfeeder_slots_expected_total":     "counter stream",
	"cvfeeder_slots_late_total":         "counter stream",
	"cvfeeder_slots_in_time_total":      "counter stream",
	"cvfeeder_slots_pending":            "gauge stream",
	"cvfeeder_gaps_total":               "counter reason,stream",
	"cvfeeder_gate_changed_ratio":       "histogram output",
	"cvfeeder_batches_total":            "counter output,rows",
	"cvfeeder_batch_rows_late_total":    "counter output",
	"cvfeeder_gap_seconds_total":        "counter reason,stream",
	"cvfeeder_endpoint_lookups_total":   "counter result",
	"cvfeeder_freshness_seconds":        "gauge stream",
	"cvfeeder_kinesis_requests_total":   "counter code,operation",
	"cvfeeder_latency_seconds":          "histogram output",
	"cvfeeder_stage_seconds":            "histogram stage",
	"cvfeeder_getimages_requests_total": "counter code,stream",
	"cvfeeder_budget_all_used_ratio":    "gauge ",
	"cvfeeder_budget_used_ratio":        "gauge stream",
	"cvfeeder_price_per_million_images": "gauge ",
	"cvfeeder_images_asked_total":       "counter cause,stream",
	"cvfeeder_images_paid_total":        "counter cause,stream",
	"cvfeeder_images_requested_total":   "counter stream",
	"cvfeeder_prefix_lookups_total":     "counter result",
	"cvfeeder_frame_requests_total":     "counter outcome",
	"cvfeeder_range_requests_total":     "counter outcome",
	"cvfeeder_replay_jobs_total":        "counter outcome",
	"cvfeeder_replay_slots_total":       "counter outcome",
	"cvfeeder_publish_bytes_total":      "counter output",
	"cvfeeder_publish_errors_total":     "counter reason",
	"cvfeeder_lag_seconds":              "gauge stream",
	"cvfeeder_overlap_seconds":          "gauge stream",
	"cvfeeder_producer_offset_seconds":  "gauge stream",
	"cvfeeder_inflight_bytes":           "gauge ",
	"cvfeeder_mats_open":                "gauge ",
	"cvfeeder_memory_tensors_total":     "counter ",
	"cvfeeder_memory_payloads_total":    "counter ",
	"cvfeeder_memory_no_slot_total":     "counter ",
	"cvfeeder_memory_remade_total":      "counter ",
	"cvfeeder_memory_slots":             "gauge ",
	"cvfeeder_memory_slots_held":        "gauge ",
	"cvfeeder_nats_connected":           "gauge connection",
	"cvfeeder_nats_reconnects_total":    "counter connection",
	"cvfeeder_nats_unconfirmed_total":   "counter connection",
	"cvfeeder_not_ready":                "gauge reason",
	"cvfeeder_stream_owned":             "gauge stream",
	"cvfeeder_build_info":               "gauge go,opencv,version",

	"cvfeeder_clock_offset_seconds": "gauge ",
	"cvfeeder_cpu_lacking_ratio":    "gauge cause",
	"cvfeeder_cpu_limit_cores":      "gauge ",
	"cvfeeder_workers_busy_ratio":   "gauge ",
	"cvfeeder_cluster_members":      "gauge ",
	"cvfeeder_cluster_streams":      "gauge ",

	"cvfeeder_config_last_reload_successful":                "gauge ",
	"cvfeeder_config_last_reload_success_timestamp_seconds": "gauge ",
}

// TestContract compares what is gathered, and how it is described, with the contract.
func TestContract(t *testing.T) {
	s := sources(t)
	streams := s.Streams()
	streams[0].Health = camerahealth.New(camerahealth.Default())
	s.Streams = func() []metrics.Stream { return streams }
	now, look := time.Now(), quality.Look{Measures: quality.Measures{Mean: 100, Spread: 50}}
	for i := range look.Thumb {
		look.Thumb[i] = uint8(i % 11 * 20)
	}
	for i := range 24 {
		if look.Mean = 100; i < 8 {
			look.Mean, look.Spread = 3, 0
		} else {
			look.Spread = 50
		}
		streams[0].Health.Look(now.Add(time.Duration(i-24)*3*time.Second), &look)
	}
	m := read(metrics.New(metrics.Build{}), s)
	m.Output("detector")
	m.BatchOutput("detector")
	m.GateChanged.WithLabelValues("detector").Observe(0.01)
	m.SlotsInTime("cam").Add(1)
	gathered, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got, help := map[string]string{}, map[string]string{}
	for name, f := range own(gathered) {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		got[name] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ",")
		help[name] = f.GetHelp()
	}
	if diff := cmp.Diff(contract, got); diff != "" {
		t.Errorf("gathered (-want +got):\n%s", diff)
	}
	said, saidHelp := map[string]string{}, map[string]string{}
	for _, f := range m.Families() {
		said[f.Name] = strings.ToLower(f.Type.String()) + " " + strings.Join(slices.Sorted(slices.Values(f.Labels)), ",")
		saidHelp[f.Name] = f.Help
	}
	if diff := cmp.Diff(got, said); diff != "" {
		t.Errorf("Families (-gathered +said):\n%s", diff)
	}
	if diff := cmp.Diff(help, saidHelp); diff != "" {
		t.Errorf("Families (-gathered +said):\n%s", diff)
	}
	problems, err := testutil.GatherAndLint(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestFreshnessGrows shows a stalled stream, and one that never published.
func TestFreshnessGrows(t *testing.T) {
	now := time.Now()
	published := metrics.Stream{Stats: source.Stats{Start: source.SlotAt(now.Add(-time.Hour)), Newest: source.SlotAt(now.Add(-time.Minute))}}
	if got := published.Freshness(now).Round(time.Second); got != time.Minute {
		t.Errorf("freshness %v", got)
	}
	behind := metrics.Stream{Stats: published.Stats, Trail: 50 * time.Second}
	if got := behind.Freshness(now).Round(time.Second); got != 10*time.Second {
		t.Errorf("freshness %v by a clock that is 50 s behind", got)
	}
	never := metrics.Stream{Stats: source.Stats{Start: source.SlotAt(now.Add(-time.Hour))}}
	if got := never.Freshness(now).Round(time.Second); got != time.Hour {
		t.Errorf("freshness %v of a stream that never published", got)
	}
}

func TestHistogramsAreNativeAndClassic(t *testing.T) {
	m := metrics.New(metrics.Build{})
	m.Latency.WithLabelValues("detector").Observe(1.5)
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "cvfeeder_latency_seconds" {
			h := f.GetMetric()[0].GetHistogram()
			if len(h.GetBucket()) == 0 || len(h.GetPositiveSpan()) == 0 {
				t.Errorf("%d classic buckets, %d native spans", len(h.GetBucket()), len(h.GetPositiveSpan()))
			}
			return
		}
	}
	t.Error("no latency histogram")
}

// TestExemplar: a scrape of OpenMetrics has the trace of a latency.
func TestExemplar(t *testing.T) {
	m := metrics.New(metrics.Build{})
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	m.Delivered("traced", 1500*time.Millisecond, id)
	m.Delivered("other", 1500*time.Millisecond, "")
	server := httptest.NewServer(m)
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`cvfeeder_latency_seconds_bucket{output="traced",le="2.0"} 1 # {trace_id="` + id + `"} 1.5 `,
		`cvfeeder_latency_seconds_bucket{output="other",le="2.0"} 1` + "\n",
	} {
		if !strings.Contains(string(body), line) {
			t.Errorf("/metrics has no line that begins with %s", line)
		}
	}
}
