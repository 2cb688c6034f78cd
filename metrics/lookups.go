package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cvfeeder/cvfeeder/source"
)

// lookups count what was asked for besides images: what was looked up at the control plane,
// and with which requests.
type lookups struct {
	endpoints, prefixes, requests, frames, ranges, replays, replayed *prometheus.CounterVec
}

// frameOutcomes are those of requests for frames.
var frameOutcomes = []string{
	"made", "shared", "cached", "forwarded", "refused_rate", "refused_daily", "refused_busy", "bad_request", "misdirected", "failed",
}

// rangeOutcomes are those of requests for ranges.
var rangeOutcomes = []string{
	"done", "forwarded", "cancelled", "gone", "stalled", "refused_rate", "refused_images", "refused_busy", "bad_request", "failed",
}

func newLookups(f *families) *lookups {
	l := &lookups{
		endpoints: f.counter("cvfeeder_endpoint_lookups_total", "Look-ups of data endpoints of Kinesis by result: "+
			"`first`; `same`, when an endpoint without new media was confirmed; `moved`; `failed`.", "result"),
		prefixes: f.counter("cvfeeder_prefix_lookups_total", "Look-ups of the streams of a `prefix` by result: `ok`, `failed`.", "result"),
		requests: f.counter("cvfeeder_kinesis_requests_total", "Requests other than GetImages (`DescribeStream`, `GetDataEndpoint`, `ListFragments`, `ListStreams`), "+
			"retries included, by the service's answer: `OK`, an error code, `HTTP` and a status, `deadline` if the answer did not come in time, or `error` if there was none.", "operation", "code"),
		frames: f.counter("cvfeeder_frame_requests_total", "Requests for frames, over NATS and from the status page, by outcome: answered with a picture that was fetched for it (`made`), "+
			"was already being fetched for another (`shared`) or had been fetched before (`cached`), or by the replica that has the stream (`forwarded`); "+
			"refused because of `requests.rate` or `rate_per_asker` (`refused_rate`), of `requests.images_per_day` (`refused_daily`), or as too many frames are being made (`refused_busy`); "+
			"`bad_request`; `misdirected`, when the answer is wanted on a subject that is no inbox; `failed`.", "outcome"),
		ranges: f.counter("cvfeeder_range_requests_total", "Requests for ranges of frames over NATS by outcome: all was sent (`done`), or the replica that has the stream was asked to (`forwarded`); "+
			"the requester wanted no more (`cancelled`), left or said nothing any more (`gone`), or read nothing (`stalled`); "+
			"refused because of `requests.rate` or `rate_per_asker` (`refused_rate`), of `requests.images_per_hour`, `images_per_hour_per_asker` or `images_per_day` (`refused_images`), "+
			"or as too many ranges are being read (`refused_busy`); `bad_request`; `failed`.", "outcome"),
		replays: f.counter("cvfeeder_replay_jobs_total", "Replay jobs that were asked for over NATS, by what became of them: `refused`; `begun`; all slots have ended (`done`); "+
			"`failed`; or they do not go on here, as they were cancelled, or the feeder stopped (`stopped`).", "outcome"),
		replayed: f.counter("cvfeeder_replay_slots_total", "Slots of the replay jobs that this process runs beside its streams, by outcome.", "outcome"),
	}
	for _, outcome := range []string{"refused", "begun", "done", "failed", "stopped"} {
		l.replays.WithLabelValues(outcome)
	}
	for _, outcome := range source.Outcomes() {
		l.replayed.WithLabelValues(outcome.String())
	}
	// These series exist from the start, so that a rate includes their first count.
	for _, result := range []string{"first", "same", "moved", "failed"} {
		l.endpoints.WithLabelValues(result)
	}
	for _, result := range []string{"ok", "failed"} {
		l.prefixes.WithLabelValues(result)
	}
	for _, outcome := range frameOutcomes {
		l.frames.WithLabelValues(outcome)
	}
	for _, outcome := range rangeOutcomes {
		l.ranges.WithLabelValues(outcome)
	}
	for _, operation := range []string{"DescribeStream", "GetDataEndpoint", "ListFragments", "ListStreams"} {
		for _, code := range []string{"OK", "ClientLimitExceededException", "AccessDeniedException", "deadline", "error"} {
			l.requests.WithLabelValues(operation, code)
		}
	}
	return l
}

// EndpointLookup counts a look-up of a data endpoint, with its result as package kinesis
// names it.
func (m *Metrics) EndpointLookup(result string) {
	m.lookups.endpoints.WithLabelValues(result).Inc()
}

// KinesisRequest counts an attempt of a request other than GetImages. code is the service's
// answer.
func (m *Metrics) KinesisRequest(operation, code string) {
	m.lookups.requests.WithLabelValues(operation, code).Inc()
}

// FrameRequest counts a request for a frame, by its outcome.
func (m *Metrics) FrameRequest(outcome string) { m.lookups.frames.WithLabelValues(outcome).Inc() }

// RangeRequest counts a request for a range of frames, by its outcome.
func (m *Metrics) RangeRequest(outcome string) { m.lookups.ranges.WithLabelValues(outcome).Inc() }

// ReplayJob counts a replay job, by what became of it.
func (m *Metrics) ReplayJob(outcome string) { m.lookups.replays.WithLabelValues(outcome).Inc() }

// ReplaySlots counts slots of a replay job, by their outcome.
func (m *Metrics) ReplaySlots(outcome string, n uint64) {
	m.lookups.replayed.WithLabelValues(outcome).Add(float64(n))
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
