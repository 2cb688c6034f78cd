package status

import (
	"math"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
)

// A camera is how well the camera of a stream sees.
type camera struct {
	// State is "ok", "unwell" or "unknown": no picture was looked at of late.
	State string `json:"state"`
	// Conditions are what is wrong, worst first. Those of an unknown state are left out.
	Conditions []condition `json:"conditions"`
	Measures   *measures   `json:"measures,omitempty"`
}

// A condition is what is wrong with the pictures. Condition is for programs.
type condition struct {
	Condition camerahealth.Condition `json:"condition"`
	Text      string                 `json:"text"`
	Since     string                 `json:"since"`
}

// measures are those of the last picture that was looked at.
type measures struct {
	Time       string   `json:"time"`
	Mean       float64  `json:"mean"`
	Contrast   float64  `json:"contrast"`
	Sharpness  float64  `json:"sharpness"`
	Clipped    float64  `json:"clipped"`
	Difference *float64 `json:"difference,omitempty"`
	Similarity *float64 `json:"similarity,omitempty"`
}

// cameraOf returns how well the camera of a stream sees, nil if it is not looked for.
func cameraOf(e *entry, now time.Time) *camera {
	s, looks := e.Sight(now)
	if !looks {
		return nil
	}
	c := &camera{State: string(camerahealth.Unknown), Conditions: []condition{}}
	if !s.At.IsZero() {
		c.Measures = &measures{
			Time: stamp(s.At), Mean: round(s.Mean), Contrast: round(s.Contrast), Sharpness: round(s.Sharpness), Clipped: round(s.Clipped),
			Difference: known(s.Difference), Similarity: known(s.Similarity),
		}
	}
	if !s.Known {
		return c
	}
	c.State = "ok"
	for _, a := range s.Conditions {
		c.State = "unwell"
		c.Conditions = append(c.Conditions, condition{a.Condition, a.Condition.Means(), stamp(a.Since)})
	}
	return c
}

// known returns a rounded number, nil for none.
func known(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	v = round(v)
	return &v
}
