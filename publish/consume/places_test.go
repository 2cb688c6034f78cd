package consume

import "testing"

func TestHasPlaces(t *testing.T) {
	for pattern, want := range map[string]bool{
		"cvf.t.>": false, "cvf.t.*.detector": false, "cvf.gap.>": false, "cvf.mine.>": false, "other": false, "cvf": false,
		">": true, "cvf.>": true, "cvf.*.cam-1.*": true, "*.m.>": true, "cvf.m.abc.>": true, "*.>": true,
	} {
		if got := hasPlaces(pattern); got != want {
			t.Errorf("%s: %v", pattern, got)
		}
	}
}
