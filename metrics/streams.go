package metrics

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
	"github.com/cvfeeder/cvfeeder/source"
)

// A snapshot is the state of all streams at one instant.
type snapshot struct {
	now     time.Time
	streams []Stream
	asked   []source.Bill       // by stream
	came    []source.Bill       // by stream
	codes   map[string][]uint64 // by code and stream; 0 where a stream never got the code
	inTime  []*atomic.Uint64    // by stream; nil where none is expected
	seen    []sight             // by stream; nil before they are read
}

func (m *Metrics) snapshot() *snapshot {
	s := &snapshot{now: m.now()}
	if m.streams != nil {
		s.streams = m.streams()
	}
	s.asked, s.came, s.codes = m.requests.read(s.streams)
	s.inTime = m.requests.readInTime(s.streams)
	return s
}

// A streamFamily is a metric of every stream. Its labels are in alphabetical order. series
// emits its values in the order of the other label, if there is one, then of the streams.
type streamFamily struct {
	Family
	series func(*snapshot, func(value string, stream int, v float64))
}

// streamFamilies are the metrics that every stream has, in the order of their names.
var streamFamilies = []streamFamily{
	{
		Family{
			"cvfeeder_budget_used_ratio",
			"Part of the limits of a stream itself that is used, of that limit of which the most is: 1 if it is met. Streams without limits have none.",
			dto.MetricType_GAUGE,
			[]string{"stream"},
		},
		func(s *snapshot, emit func(string, int, float64)) {
			for i := range s.streams {
				if s.streams[i].Limited {
					emit("", i, s.streams[i].Used)
				}
			}
		},
	},
	each("cvfeeder_bursts_total", "Bursts that have begun: times at which the stream is looked at more closely. Their slots are among those of the stream.",
		dto.MetricType_COUNTER, func(s *Stream) float64 { return float64(s.Begun) }),
	measured("cvfeeder_camera_brightness", "Mean brightness of the last picture that was looked at, in levels of 0 to 255. This and the other measures of pictures are those of the means of blocks of 8x8 pixels, and are left out while the camera's condition is `unknown`.",
		func(s *camerahealth.State) float64 { return s.Mean }),
	measured("cvfeeder_camera_clipped_ratio", "Part of the last picture at either end of the brightness.",
		func(s *camerahealth.State) float64 { return s.Clipped }),
	inCondition(),
	measured("cvfeeder_camera_contrast", "Standard deviation of the brightness of the last picture, in levels.",
		func(s *camerahealth.State) float64 { return s.Contrast }),
	measured("cvfeeder_camera_difference", "By how many levels the last picture differs from the one that was looked at before it, in the mean.",
		func(s *camerahealth.State) float64 { return s.Difference }),
	measured("cvfeeder_camera_sharpness", "Variance of the Laplacian of the brightness of the last picture, in levels squared.",
		func(s *camerahealth.State) float64 { return s.Sharpness }),
	measured("cvfeeder_camera_similarity_ratio", "How much the last picture shows the camera's usual view, 0 to 1, whatever the light. There is none while that is learned.",
		func(s *camerahealth.State) float64 { return s.Similarity }),
	byReason("cvfeeder_gap_seconds_total", "Total length of the gaps, by reason.",
		func(s *Stream, o source.Outcome) float64 { return s.GapTime[o].Seconds() }),
	byReason("cvfeeder_gaps_total", "Gaps, by reason. A gap is a run of slots without a tensor that ended with the same outcome, which is its reason.",
		func(s *Stream, o source.Outcome) float64 { return float64(s.Gaps[o]) }),
	{
		Family{
			"cvfeeder_freshness_seconds",
			"Age of the newest slot that was published, unchanged, or that nobody listened to, when scraped, by the service's clock, or the time since the start if there is none. It is 0 while the stream rests (`poll: subscribed` or `request`), and it grows while a stream stalls or is absent.",
			dto.MetricType_GAUGE,
			[]string{"stream"},
		},
		func(s *snapshot, emit func(string, int, float64)) {
			for i := range s.streams {
				emit("", i, s.streams[i].Freshness(s.now).Seconds())
			}
		},
	},
	{
		Family{
			"cvfeeder_getimages_requests_total",
			"GetImages requests, retries included, by the service's answer: `OK`, `ClientLimitExceededException` (throttled) or another error code, `empty` if a stream has no media in the window (no error), `HTTP` and a status, `deadline` if the answer did not come in time, or `error` if there was none.",
			dto.MetricType_COUNTER,
			[]string{"code", "stream"},
		},
		func(s *snapshot, emit func(string, int, float64)) {
			for _, code := range sortedKeys(s.codes) {
				always := slices.Contains(alwaysCodes, code)
				for i, n := range s.codes[code] {
					if n > 0 || always {
						emit(code, i, float64(n))
					}
				}
			}
		},
	},
	byCause("cvfeeder_images_asked_total", "Images requested by cause, retries included: `live`, `burst`, `replay` and `request` for what was wanted, `overlap` for images without which the service does not find the media, and `retry` for those that were asked for before. Causes that have not occurred have no series.",
		func(s *snapshot) []source.Bill { return s.asked }),
	byCause("cvfeeder_images_paid_total", "Images that came, by cause: at least these are paid. Those that the service generated and nobody received are not known.",
		func(s *snapshot) []source.Bill { return s.came }),
	{
		Family{
			"cvfeeder_images_requested_total",
			"Images requested, retries included. AWS bills the images that it generates, which may be fewer.",
			dto.MetricType_COUNTER,
			[]string{"stream"},
		},
		func(s *snapshot, emit func(string, int, float64)) {
			for i, b := range s.asked {
				emit("", i, float64(b.Sum()))
			}
		},
	},
	each("cvfeeder_lag_seconds", "How far behind now the stream is read, as configured or learned.",
		dto.MetricType_GAUGE, func(s *Stream) float64 { return s.Lag.Seconds() }),
	each("cvfeeder_overlap_seconds", "How far before the first wanted slot the last window started, as configured or learned.",
		dto.MetricType_GAUGE, func(s *Stream) float64 { return s.Overlap.Seconds() }),
	each("cvfeeder_producer_offset_seconds", "How far the clock of the camera is behind that of the service, in seconds; negative if it is ahead. 0 for streams that go by the timestamps of the service. Freshness and latency are corrected by it.",
		dto.MetricType_GAUGE, func(s *Stream) float64 { return s.Trail.Seconds() }),
	each("cvfeeder_slots_expected_total", "Slots from the start until now: the sum of `cvfeeder_slots_total` and `cvfeeder_slots_pending`.",
		dto.MetricType_COUNTER, func(s *Stream) float64 { return float64(s.Expected) }),
	{
		Family{
			"cvfeeder_slots_in_time_total",
			fmt.Sprintf("Slots that were delivered, or found to be unchanged, within %.0f seconds, by the service's clock. Streams that begin at a time in the past (`from: TIME`) have none.", InTime.Seconds()),
			dto.MetricType_COUNTER,
			[]string{"stream"},
		},
		func(s *snapshot, emit func(string, int, float64)) {
			for i, n := range s.inTime {
				if n != nil {
					emit("", i, float64(n.Load()))
				}
			}
		},
	},
	each("cvfeeder_slots_late_total", "Slots that had ended as `no_media` when their picture turned up, within `late` of the stream. They still count as `no_media`.",
		dto.MetricType_COUNTER, func(s *Stream) float64 { return float64(s.Late) }),
	each("cvfeeder_slots_pending", "Slots that have not ended yet.",
		dto.MetricType_GAUGE, func(s *Stream) float64 { return float64(s.Pending) }),
	byOutcome("cvfeeder_slots_total", "Slots that have ended, by outcome: `published`; `unwatched`, if nobody listened in the mode `live`; `unchanged`, if a gate held them back; `skipped`, left out on purpose because the stream is asked for less often for now; or without a tensor as `no_media`, `media_error`, `undecodable`, `stale` or `dropped`.",
		"outcome", source.Outcomes(), func(s *Stream, o source.Outcome) float64 { return float64(s.Ended[o]) }),
	each("cvfeeder_stream_owned", "1 for each stream that this process runs.",
		dto.MetricType_GAUGE, func(*Stream) float64 { return 1 }),
}

// each returns a metric with one value for each stream.
func each(name, help string, kind dto.MetricType, value func(*Stream) float64) streamFamily {
	return streamFamily{Family{name, help, kind, []string{"stream"}}, func(s *snapshot, emit func(string, int, float64)) {
		for i := range s.streams {
			emit("", i, value(&s.streams[i]))
		}
	}}
}

// byCause returns a counter of images with one value for each stream and cause that it has had.
func byCause(name, help string, of func(*snapshot) []source.Bill) streamFamily {
	causes := source.Causes()
	slices.SortFunc(causes, func(a, b source.Cause) int { return strings.Compare(a.String(), b.String()) })
	return streamFamily{Family{name, help, dto.MetricType_COUNTER, []string{"cause", "stream"}}, func(s *snapshot, emit func(string, int, float64)) {
		for _, c := range causes {
			for i, b := range of(s) {
				if b[c] > 0 || c == source.ForLive {
					emit(c.String(), i, float64(b[c]))
				}
			}
		}
	}}
}

// byReason returns a counter with one value for each stream and reason of a gap.
func byReason(name, help string, value func(*Stream, source.Outcome) float64) streamFamily {
	return byOutcome(name, help, "reason", slices.DeleteFunc(source.Outcomes(), func(o source.Outcome) bool { return !o.Lost() }), value)
}

// byOutcome returns a counter with one value for each stream and outcome. Its series start
// at 0, so that a rate includes their first count.
func byOutcome(name, help, label string, outcomes []source.Outcome, value func(*Stream, source.Outcome) float64) streamFamily {
	slices.SortFunc(outcomes, func(a, b source.Outcome) int { return strings.Compare(a.String(), b.String()) })
	return streamFamily{Family{name, help, dto.MetricType_COUNTER, []string{label, "stream"}}, func(s *snapshot, emit func(string, int, float64)) {
		for _, o := range outcomes {
			for i := range s.streams {
				emit(o.String(), i, value(&s.streams[i], o))
			}
		}
	}}
}

// streamMetrics yields the metrics of the streams one at a time. Each is valid only until
// the next one.
func (m *Metrics) streamMetrics() iter.Seq[*dto.MetricFamily] {
	return func(yield func(*dto.MetricFamily) bool) {
		s := m.snapshot()
		t := newTable(s.streams)
		for i := range streamFamilies {
			if f := t.family(&streamFamilies[i], s); len(f.GetMetric()) > 0 && !yield(f) {
				return
			}
		}
	}
}
