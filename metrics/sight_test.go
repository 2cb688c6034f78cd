package metrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/transform/quality"
)

// TestCameraConditions: what is wrong with a camera has a series from when it first occurs; while
// nothing is known of it, that is said, and nothing else.
func TestCameraConditions(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	at := now
	stream := func(name string) metrics.Stream {
		return metrics.Stream{Name: name, Health: camerahealth.New(camerahealth.Default()), Slack: 10 * time.Second}
	}
	look := func(s metrics.Stream, from time.Time, seconds int, mean float64) {
		for i := range seconds {
			s.Health.Look(from.Add(time.Duration(i)*time.Second), &quality.Look{Measures: quality.Measures{Mean: mean, Spread: mean / 2, Contrast: 1.5}})
		}
	}
	black, mended, idle := stream("black"), stream("mended"), stream("idle")
	look(black, now.Add(-30*time.Second), 31, 3)
	look(mended, now.Add(-60*time.Second), 31, 3)
	look(mended, now.Add(-29*time.Second), 30, 100)
	m := read(metrics.New(metrics.Build{}), metrics.Sources{
		Streams: func() []metrics.Stream { return []metrics.Stream{black, idle, mended, {Name: "not looked at"}} },
		Now:     func() time.Time { return at },
	})
	expect := func(want string) {
		t.Helper()
		if err := testutil.GatherAndCompare(m, strings.NewReader(want), "cvfeeder_camera_condition", "cvfeeder_camera_brightness"); err != nil {
			t.Error(err)
		}
	}
	const condition = "# HELP cvfeeder_camera_condition 1 while the camera of a stream is found not to see well, by condition: `black`, `covered`, `frozen`, `turned`, `blurred` or `flickering`; or while that is `unknown`, because no picture of it was decoded of late. Conditions that have not occurred have no series, and there is none but `unknown` while it is that.\n# TYPE cvfeeder_camera_condition gauge\n"
	expect("# HELP cvfeeder_camera_brightness Mean brightness of the last picture that was looked at, in levels of 0 to 255. This and the other measures of pictures are those of the means of blocks of 8x8 pixels, and are left out while the camera's condition is `unknown`.\n# TYPE cvfeeder_camera_brightness gauge\n" + `
cvfeeder_camera_brightness{stream="black"} 3
cvfeeder_camera_brightness{stream="mended"} 100
` + condition + `
cvfeeder_camera_condition{condition="black",stream="black"} 1
cvfeeder_camera_condition{condition="black",stream="mended"} 0
cvfeeder_camera_condition{condition="unknown",stream="black"} 0
cvfeeder_camera_condition{condition="unknown",stream="idle"} 1
cvfeeder_camera_condition{condition="unknown",stream="mended"} 0
`)
	at = now.Add(time.Minute)
	expect(condition + `
cvfeeder_camera_condition{condition="unknown",stream="black"} 1
cvfeeder_camera_condition{condition="unknown",stream="idle"} 1
cvfeeder_camera_condition{condition="unknown",stream="mended"} 1
`)
}
