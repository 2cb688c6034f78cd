package metrics

import (
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// ServeHTTP answers a scrape in the format that the client prefers: text, OpenMetrics or
// protobuf. The metrics of the streams are written one at a time, so that many streams
// need little memory.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	own, err := m.registry.Gather()
	if err != nil {
		http.Error(w, "the metrics could not be gathered: "+err.Error(), http.StatusInternalServerError)
		return
	}
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	w.Header().Set("Content-Type", string(format))
	w.Header().Add("Vary", "Accept, Accept-Encoding")
	var out io.Writer = w
	finish := func() error { return nil }
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is a valid one
		out, finish = z, z.Close
	}
	// All names are valid in every scheme, and escaping would copy every metric.
	format = format.WithEscapingScheme(model.NoEscaping)
	if m.write(expfmt.NewEncoder(out, format), own) != nil || finish() != nil {
		panic(http.ErrAbortHandler) // a scrape that is cut short must not look whole
	}
}

// write encodes the metrics of the process, and those of the streams.
func (m *Metrics) write(enc expfmt.Encoder, own []*dto.MetricFamily) error {
	for _, f := range own {
		if err := enc.Encode(f); err != nil {
			return err
		}
	}
	for f := range m.streamMetrics() {
		if err := enc.Encode(f); err != nil {
			return err
		}
	}
	if end, ok := enc.(expfmt.Closer); ok {
		return end.Close()
	}
	return nil
}

// acceptsGzip tells whether the header Accept-Encoding allows gzip.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, quality, _ := strings.Cut(part, ";")
		if strings.TrimSpace(coding) != "gzip" {
			continue
		}
		q := strings.TrimLeft(strings.TrimPrefix(strings.TrimSpace(quality), "q="), "0.")
		return strings.TrimSpace(quality) == "" || q != ""
	}
	return false
}
