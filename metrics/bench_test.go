package metrics_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	runtimemetrics "runtime/metrics"
	"slices"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
)

// benchStreams is what one process shows at most, about.
const benchStreams = 10_000

// BenchmarkScrape scrapes 10,000 streams over HTTP as Prometheus does, gzip
// included, in each format that it asks for. It reports the seconds of the slowest
// format, the median of its scrapes, and how much the heap grew at most, in MB.
func BenchmarkScrape(b *testing.B) {
	m, srv := manyStreams(b, benchStreams)
	defer srv.Close()
	var slowest, most float64
	for _, accept := range accepts {
		times := make([]float64, max(b.N, 5))
		for i := range times {
			took, grown, n := measureScrape(b, srv, accept)
			b.Logf("%.2f s, %.1f MB of memory, %.1f MB of %s", took, grown, float64(n)/1e6, accept)
			times[i], most = took, max(most, grown)
		}
		slices.Sort(times)
		slowest = max(slowest, times[len(times)/2])
	}
	runtime.KeepAlive(m)
	b.ReportMetric(slowest, "scrape-10k")
	b.ReportMetric(most, "scrape-10k-memory")
}

// measureScrape returns the seconds of a scrape, the MB by which the heap grew
// meanwhile, and the bytes of the answer.
func measureScrape(b *testing.B, srv *httptest.Server, accept string) (seconds, grown float64, n int64) {
	b.Helper()
	runtime.GC()
	base, stop := heapBytes(), make(chan struct{})
	peak := make(chan uint64, 1)
	go func() { peak <- watchHeap(stop) }()
	begin := time.Now()
	n = scrapeBytes(b, srv, accept)
	seconds = time.Since(begin).Seconds()
	close(stop)
	return seconds, (float64(<-peak) - float64(base)) / 1e6, n
}

// accepts are what Prometheus asks for: by default, and for native histograms.
var accepts = []string{
	"text/plain;version=0.0.4",
	"application/openmetrics-text;version=1.0.0",
	"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
}

func manyStreams(tb testing.TB, n int) (*metrics.Metrics, *httptest.Server) {
	tb.Helper()
	grid, err := source.NewGrid(time.Second)
	if err != nil {
		tb.Fatal(err)
	}
	names := make([]string, n)
	ledgers := make([]*source.Ledger, n)
	for i := range n {
		names[i] = fmt.Sprintf("building-%d-camera-%d", i/100, i)
		ledgers[i] = source.NewLedger(grid, source.SlotAt(time.Now().Add(-time.Hour)))
		start := ledgers[i].Stats().Start
		ledgers[i].Extend(grid.Step(start, 3000+i%100))
		for j, o := range source.Outcomes() {
			ledgers[i].Resolve(grid.Step(start, j), o)
		}
	}
	m := read(metrics.New(metrics.Build{Version: "v1"}), metrics.Sources{Streams: func() []metrics.Stream {
		all := make([]metrics.Stream, n)
		for i := range all {
			all[i] = metrics.Stream{Name: names[i], Stats: ledgers[i].Stats(), Lag: time.Second, Overlap: 2 * time.Second}
		}
		return all
	}})
	for i, name := range names {
		for _, code := range []string{"OK", "ClientLimitExceededException"} {
			m.Requested(name, code, source.Bill{source.ForLive: uint64(i)}, source.Bill{})
		}
	}
	return m, httptest.NewServer(m)
}

func scrapeBytes(tb testing.TB, srv *httptest.Server, accept string) int64 {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, srv.URL+"/metrics", nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := srv.Client().Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	zr, err := gzip.NewReader(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	n, err := io.Copy(io.Discard, zr)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func heapBytes() uint64 {
	s := []runtimemetrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	runtimemetrics.Read(s)
	return s[0].Value.Uint64()
}

func watchHeap(stop <-chan struct{}) (peak uint64) {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for {
		peak = max(peak, heapBytes())
		select {
		case <-stop:
			return peak
		case <-t.C:
		}
	}
}
