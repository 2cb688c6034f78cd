package hours

import (
	"math"
	"strings"
	"testing"
	"time"
)

// TestAt: known instants of a week, at the edges of the hours, over midnight, over the end of
// the week, in another zone, and where the clocks change.
func TestAt(t *testing.T) {
	for _, c := range []struct {
		hours     string
		in, out   string // instants
		weekHours float64
	}{
		{"", "2026-11-30T00:00:00Z", "", 168},
		{"07:00-19:00", "2026-11-30T07:00:00Z 2026-11-29T18:59:59Z", "2026-11-30T06:59:59Z 2026-11-30T19:00:00Z", 84},
		{"00:00-24:00", "2026-11-30T00:00:00Z 2026-11-30T23:59:59Z", "", 168},
		{"mon-FRI 7:00-19:00", "2026-11-30T07:00:00Z 2026-12-04T18:59:00Z", "2026-11-29T12:00:00Z 2026-12-05T12:00:00Z", 60},
		{" Mon - Fri  07:00 - 19:00 ,Sun 0:00-24:00 UTC", "2026-11-30T07:00:00Z 2026-11-29T18:59:59Z", "2026-11-28T12:00:00Z", 84},
		{"Monday 07:00-08:00, Wed 07:00-08:00", "2026-11-30T07:30:00Z 2026-12-02T07:30:00Z", "2026-12-01T07:30:00Z", 2},
		{"Mon-Fri 07:00-19:00, 12:00-13:00", "2026-11-29T12:30:00Z", "2026-11-29T13:30:00Z", 62},
		{"Sat 22:00-06:00", "2026-11-28T22:00:00Z 2026-11-29T05:59:00Z", "2026-11-28T05:00:00Z 2026-11-29T06:00:00Z 2026-11-29T22:00:00Z", 8},
		{"Fri-Mon 09:00-10:00", "2026-11-27T09:00:00Z 2026-11-30T09:00:00Z", "2026-12-01T09:00:00Z 2026-11-26T09:00:00Z", 4},
		{"Mon-Fri 07:00-19:00 Europe/Berlin", "2026-11-30T06:00:00Z 2026-07-06T05:00:00Z", "2026-11-30T05:59:00Z 2026-07-06T17:00:00Z", 60},
		{"Mon 00:00-24:00 Pacific/Auckland", "2026-11-29T11:00:00Z", "2026-11-30T11:00:00Z", 24},
		// In Berlin 02:30 comes twice on 25 October 2026, and not on 29 March.
		{"02:00-03:00 Europe/Berlin", "2026-10-25T00:30:00Z 2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z 2026-03-29T00:59:00Z 2026-03-29T01:00:00Z", 7},
	} {
		h, err := Parse(c.hours)
		if err != nil {
			t.Error(err)
			continue
		}
		for want, instants := range map[bool]string{true: c.in, false: c.out} {
			for _, text := range strings.Fields(instants) {
				at, err := time.Parse(time.RFC3339, text)
				if err != nil {
					t.Fatal(err)
				}
				if h.At(at) != want {
					t.Errorf("%q at %s: %v", c.hours, text, !want)
				}
			}
		}
		if got := h.Share() * 168; math.Abs(got-c.weekHours) > 1e-9 {
			t.Errorf("%q: %v hours a week, want %v", c.hours, got, c.weekHours)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"always":                    "is not a time zone",
		"07:00-19:00 Europe/Bern":   "is not a time zone",
		"07:00":                     "is not a time of the week",
		"7-19:00":                   "is not a time of the week",
		"07:00-24:01":               "is not a time of the week",
		"24:00-08:00":               "is not a time of the week",
		"07:60-08:00":               "is not a time of the week",
		"-7:00-08:00":               "is not a time of the week",
		"Mon-Fry 07:00-19:00":       "is not a time of the week",
		"Mon 07:00-19:00,":          "is not a time of the week",
		"07:00-07:00":               "begins when it ends",
		"Mon, Tue 07:00-19:00":      "is not a time of the week",
		"Mon-Fri 07:00-19:00 UTC+1": "is not a time zone",
		"Europe/Berlin":             "is not a time of the week",
		strings.Repeat("07:00-08:00,", 100) + "07:00-08:00": "more than 100",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "07:00-19:00", "Mon-Fri 07:00-19:00, Sat 22:00-06:00 Europe/Berlin"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := Parse(text)
		if err != nil {
			return
		}
		if share := h.Share(); share <= 0 || share > 1 {
			t.Errorf("%q: a share of %v", text, share)
		}
	})
}
