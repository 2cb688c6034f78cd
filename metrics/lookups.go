package metrics

import "github.com/prometheus/client_golang/prometheus"

// lookups count what was looked up at the control plane.
type lookups struct{ endpoints, prefixes *prometheus.CounterVec }

func newLookups(f *families) *lookups {
	l := &lookups{
		endpoints: f.counter("cvfeeder_endpoint_lookups_total", "Look-ups of data endpoints of Kinesis by result: "+
			"`first`; `same`, when an endpoint without new media was confirmed; `moved`; `failed`.", "result"),
		prefixes: f.counter("cvfeeder_prefix_lookups_total", "Look-ups of the streams of a `prefix` by result: `ok`, `failed`.", "result"),
	}
	// These series exist from the start, so that a rate includes their first count.
	for _, result := range []string{"first", "same", "moved", "failed"} {
		l.endpoints.WithLabelValues(result)
	}
	for _, result := range []string{"ok", "failed"} {
		l.prefixes.WithLabelValues(result)
	}
	return l
}

// EndpointLookup counts a look-up of a data endpoint, with its result as package kinesis
// names it.
func (m *Metrics) EndpointLookup(result string) {
	m.lookups.endpoints.WithLabelValues(result).Inc()
}

// PrefixLookup counts a look-up of the streams of a prefix, which has failed if err is not
// nil.
func (m *Metrics) PrefixLookup(err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.lookups.prefixes.WithLabelValues(result).Inc()
}
