package metrics

import (
	"math"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
)

// A sight is how well the camera of a stream sees.
type sight struct {
	camerahealth.State
	looks bool // its pictures are looked at
}

// sights returns that of all streams.
func (s *snapshot) sights() []sight {
	if s.seen == nil {
		s.seen = make([]sight, len(s.streams))
		for i := range s.streams {
			s.seen[i].State, s.seen[i].looks = s.streams[i].Sight(s.now)
		}
	}
	return s.seen
}

// measured returns a metric of the last picture of each stream that was looked at, unless that was
// too long ago.
func measured(name, help string, value func(*camerahealth.State) float64) streamFamily {
	return streamFamily{Family{name, help, dto.MetricType_GAUGE, []string{"stream"}}, func(s *snapshot, emit func(string, int, float64)) {
		seen := s.sights()
		for i := range seen {
			if v := value(&seen[i].State); seen[i].Known && !math.IsNaN(v) {
				emit("", i, v)
			}
		}
	}}
}

// inCondition is the metric of what is wrong with the pictures.
func inCondition() streamFamily {
	conditions := append(camerahealth.Conditions(), camerahealth.Unknown)
	slices.SortFunc(conditions, func(a, b camerahealth.Condition) int { return strings.Compare(string(a), string(b)) })
	return streamFamily{
		Family{
			"cvfeeder_camera_condition",
			"1 while the camera of a stream is found not to see well, by condition: `black`, `covered`, `frozen`, `turned`, `blurred` or `flickering`; or while that is `unknown`, because no picture of it was decoded of late. Conditions that have not occurred have no series, and there is none but `unknown` while it is that.",
			dto.MetricType_GAUGE,
			[]string{"condition", "stream"},
		},
		func(s *snapshot, emit func(string, int, float64)) {
			seen := s.sights()
			for _, c := range conditions {
				for i := range seen {
					if is, some := seen[i].value(c); some {
						emit(string(c), i, is)
					}
				}
			}
		},
	}
}

// value returns whether a condition is so, and false if there is nothing to say of it.
func (s *sight) value(c camerahealth.Condition) (is float64, some bool) {
	switch {
	case !s.looks:
		return 0, false
	case c == camerahealth.Unknown:
		if !s.Known {
			is = 1
		}
		return is, true
	case !s.Known || !s.Ever(c):
		return 0, false
	case slices.ContainsFunc(s.Conditions, func(a camerahealth.Active) bool { return a.Condition == c }):
		is = 1
	}
	return is, true
}
