package metrics_test

import (
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
)

// scraped returns what a scrape answers, decompressed.
func scraped(t *testing.T, m *metrics.Metrics, accept string) (http.Header, io.Reader) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", "zstd, gzip;q=0.5")
	rec := httptest.NewRecorder()
	m.ServeHTTP(rec, req)
	body, err := gzip.NewReader(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Header(), body
}

// TestScrapeIsWhatIsGathered compares the streamed scrape with the gathered families,
// in the formats that can be read back.
func TestScrapeIsWhatIsGathered(t *testing.T) {
	m := read(metrics.New(metrics.Build{}), sources(t))
	m.Requested("cam", "OK", source.Bill{source.ForLive: 20, source.ForOverlap: 5}, source.Bill{source.ForLive: 19})
	m.Requested("cam", "HTTP 503", source.Bill{source.ForLive: 20, source.ForOverlap: 5}, source.Bill{source.ForLive: 19})
	m.Requested("gone", "OK", source.Bill{source.ForLive: 20, source.ForOverlap: 5}, source.Bill{source.ForLive: 19})
	m.Output("detector")
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := simple(own(families))
	for _, accept := range []string{accepts[0], accepts[2]} {
		header, body := scraped(t, m, accept)
		got := map[string]*dto.MetricFamily{}
		for dec := expfmt.NewDecoder(body, expfmt.ResponseFormat(header)); ; {
			f := new(dto.MetricFamily)
			err := dec.Decode(f)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got[f.GetName()] = f
		}
		diff := cmp.Diff(want, simple(got), protocmp.Transform(), protocmp.IgnoreFields(&dto.Counter{}, "created_timestamp"),
			protocmp.IgnoreFields(&dto.Gauge{}, "value")) // freshness has grown meanwhile
		if diff != "" {
			t.Errorf("%s (-gathered +scraped):\n%s", accept, diff)
		}
	}
}

// simple returns our counters and gauges: the text cannot say all of a histogram.
func simple(families map[string]*dto.MetricFamily) map[string]*dto.MetricFamily {
	all := maps.Clone(families)
	maps.DeleteFunc(all, func(name string, f *dto.MetricFamily) bool {
		return !strings.HasPrefix(name, "cvfeeder_") || f.GetType() == dto.MetricType_HISTOGRAM
	})
	return all
}

// own returns our metrics by name.
func own(families []*dto.MetricFamily) map[string]*dto.MetricFamily {
	all := map[string]*dto.MetricFamily{}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "cvfeeder_") {
			all[f.GetName()] = f
		}
	}
	return all
}

// TestOpenMetrics: counters keep their names, and the end is marked.
func TestOpenMetrics(t *testing.T) {
	m := read(metrics.New(metrics.Build{}), sources(t))
	header, r := scraped(t, m, accepts[1])
	if got := header.Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text; version=1.0.0") {
		t.Errorf("Content-Type: %s", got)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	text := string(body)
	for _, part := range []string{
		"# TYPE cvfeeder_slots counter\n", `cvfeeder_slots_total{outcome="published",stream="cam"} 2.0`,
		`cvfeeder_getimages_requests_total{code="ClientLimitExceededException",stream="cam"} 0.0`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the scrape has no %q", part)
		}
	}
	if !strings.HasSuffix(text, "\n# EOF\n") || strings.Count(text, "# EOF") != 1 {
		t.Error("the scrape does not end with # EOF")
	}
}

func TestCompression(t *testing.T) {
	m := read(metrics.New(metrics.Build{}), sources(t))
	for accepts, want := range map[string]string{
		"": "", "gzip": "gzip", "deflate, gzip": "gzip", "gzip;q=0": "", "gzip; q=0.0": "", "gzip;q=0.1": "gzip", "br": "", "zstd": "",
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		req.Header.Set("Accept-Encoding", accepts)
		rec := httptest.NewRecorder()
		m.ServeHTTP(rec, req)
		if got := rec.Header().Get("Content-Encoding"); got != want {
			t.Errorf("Accept-Encoding %q: %q, want %q", accepts, got, want)
		}
	}
}

// TestRemovedStreamsDisappear, and what is counted for them later does not come back.
func TestRemovedStreamsDisappear(t *testing.T) {
	streams := []metrics.Stream{{Name: "cam-1"}, {Name: "cam-2", Stats: source.Stats{Expected: 5}}}
	m := read(metrics.New(metrics.Build{}), metrics.Sources{Streams: func() []metrics.Stream { return streams }})
	count := func(stream string) (series int) {
		families, err := m.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, s := range f.GetMetric() {
				for _, l := range s.GetLabel() {
					if l.GetName() == "stream" && l.GetValue() == stream {
						series++
					}
				}
			}
		}
		return series
	}
	for _, s := range streams {
		m.Requested(s.Name, "OK", source.Bill{source.ForLive: 20, source.ForOverlap: 5}, source.Bill{source.ForLive: 19})
		m.Requested(s.Name, "InternalFailure", source.Bill{source.ForLive: 20, source.ForOverlap: 5}, source.Bill{source.ForLive: 19})
	}
	if one, two := count("cam-1"), count("cam-2"); one != two || one < 20 {
		t.Errorf("%d and %d series", one, two)
	}
	streams = streams[:1]
	m.Forget("cam-2")
	m.Requested("cam-2", "OK", source.Bill{source.ForLive: 20, source.ForOverlap: 5}, source.Bill{source.ForLive: 19})
	if one, two := count("cam-1"), count("cam-2"); one == 0 || two != 0 {
		t.Errorf("%d series of the stream that is left, %d of the one that was removed", one, two)
	}
}

// TestCutShort: a scrape whose writing fails does not look whole.
func TestCutShort(t *testing.T) {
	m, srv := manyStreams(t, 1)
	srv.Close()
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("recovered %v", err)
		}
	}()
	m.ServeHTTP(brokenWriter{http.Header{}}, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
}

type brokenWriter struct{ header http.Header }

func (w brokenWriter) Header() http.Header       { return w.header }
func (w brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (w brokenWriter) WriteHeader(int)           {}
