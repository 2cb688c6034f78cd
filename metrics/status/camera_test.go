package status

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/transform/quality"
)

// TestCameraInTheAPI: what is wrong with a camera's pictures is named, with what to do; if nothing
// is known of them, that is said, and never that all is well.
func TestCameraInTheAPI(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	look := func(mean float64, seconds int) *camerahealth.Watch {
		w := camerahealth.New(camerahealth.Default())
		for i := range seconds {
			w.Look(now.Add(time.Duration(i-seconds)*time.Second), &quality.Look{Measures: quality.Measures{Mean: mean, Spread: mean / 2}})
		}
		return w
	}
	for name, c := range map[string]struct {
		watch *camerahealth.Watch
		at    time.Time
		want  []string
		not   string
	}{
		"well":           {look(100, 30), now, []string{`"state":"ok"`, `"conditions":[]`, `"mean":100`}, "similarity"},
		"black":          {look(3, 30), now, []string{`"state":"unwell"`, `"condition":"black"`, camerahealth.Black.Means(), `"since":"2023-11-14T22:12:50.000Z"`}, `"ok"`},
		"long ago":       {look(3, 30), now.Add(time.Minute), []string{`"state":"unknown"`, `"conditions":[]`, `"mean":3`}, "black"},
		"never seen":     {look(3, 0), now, []string{`"state":"unknown"`}, "measures"},
		"not looked for": {nil, now, []string{"null"}, "state"},
	} {
		text, err := json.Marshal(cameraOf(&entry{Stream: &Stream{Stream: metrics.Stream{Name: "cam", Health: c.watch}}}, c.at))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: %s, want %s", name, text, want)
			}
		}
		if strings.Contains(string(text), c.not) {
			t.Errorf("%s: %s has %s", name, text, c.not)
		}
	}
}
