package status

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/metrics"
)

// discard is an answer that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }
func (d discard) WriteHeader(int)             {}

// BenchmarkPageOf10k is what the page asks for every two seconds, of 10,000 streams.
func BenchmarkPageOf10k(b *testing.B) {
	streams := make([]Stream, 10_000)
	for i := range streams {
		streams[i] = example(b, fmt.Sprintf("cam-%d", i), strings.Repeat("P", i%600))
	}
	h := Handler(Options{
		Streams:     func() []Stream { return streams },
		Connections: func() []metrics.Connection { return nil },
		Health:      func() health.Report { return health.Report{} },
	})
	r := httptest.NewRequest(http.MethodGet, "/api/streams?sort=state&limit=100", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(discard{http.Header{}}, r)
	}
}
