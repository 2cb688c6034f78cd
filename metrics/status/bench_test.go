package status

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/metrics"
)

// discard is an answer that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }
func (d discard) WriteHeader(int)             {}

// BenchmarkPageOf10k is what the page asks for every two seconds, of 10,000 streams, 20 of
// which are in view. cpu-ms/op is the time of processors, which tells on a busy machine as well.
func BenchmarkPageOf10k(b *testing.B) {
	streams := make([]Stream, 10_000)
	for i := range streams {
		streams[i] = example(b, fmt.Sprintf("cam-%d", i), strings.Repeat("P", i%600))
	}
	h := newHandler(Options{
		Streams:     func() []Stream { return streams },
		Connections: func() []metrics.Connection { return nil },
		Health:      func() health.Report { return health.Report{} },
	})
	routes := h.routes()
	var view []string
	for i := range 20 {
		view = append(view, streams[i].Name)
	}
	r := httptest.NewRequest(http.MethodGet, "/api/streams?sort=state&limit=100&full="+strings.Join(view, ","), nil)
	r.Header.Set("Accept-Encoding", "gzip")
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		h.indexer.last = nil // two seconds have passed
		routes.ServeHTTP(discard{http.Header{}}, r)
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// cpu returns how much time of processors the process has had.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
