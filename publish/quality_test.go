package publish_test

import (
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cvfeeder/cvfeeder/publish"
)

// TestQuality: what the header says is read as it was written, and more that a later version may
// write does no harm.
func TestQuality(t *testing.T) {
	h := maps.Clone(publish.NewMessage("s", tensor(t, "yolo", nil)).Header)
	for text, want := range map[string]publish.Quality{
		"112.4,38.2,182.5,0.001,0.83,0.97,0.4":   {Mean: 112.4, Contrast: 38.2, Sharpness: 182.5, Clipped: 0.001, Difference: 0.83, Similarity: 0.97, Age: 400 * time.Millisecond},
		"3.0,0.4,0.2,0.950,-,-,0.0;black,frozen": {Mean: 3, Contrast: 0.4, Sharpness: 0.2, Clipped: 0.95, Difference: math.NaN(), Similarity: math.NaN(), Conditions: []string{"black", "frozen"}},
	} {
		if got := want.String(); got != text {
			t.Errorf("%+v is written as %q, want %q", want, got, text)
		}
		for _, more := range []string{text, strings.Replace(text+";", ";", ",7.5;", 1)} {
			h[publish.HeaderQuality] = []string{strings.TrimSuffix(more, ";")}
			e, err := publish.ParseEnvelope(h)
			if err != nil || e.Quality == nil || !cmp.Equal(*e.Quality, want, cmpopts.EquateNaNs()) {
				t.Errorf("%q is read as %+v, %v", more, e.Quality, err)
			}
		}
	}
	for _, text := range []string{"", "1,2,3", "1,2,3,4,5,6,x", "-,2,3,4,5,6,7", "1,2,3,4,5,6,-", "1,2,3,4,5,6,NaN", "1,2,3,4,5,6,7;", "1,2,3,4,5,6,7;a b", "1e9,2,3,4,5,6,7", "-1,2,3,4,5,6,7"} {
		h[publish.HeaderQuality] = []string{text}
		if _, err := publish.ParseEnvelope(h); err == nil || !strings.Contains(err.Error(), "Cvf-Quality") {
			t.Errorf("%q: %v", text, err)
		}
	}
	delete(h, publish.HeaderQuality)
	if e, err := publish.ParseEnvelope(h); err != nil || e.Quality != nil {
		t.Errorf("without the header: %+v, %v", e.Quality, err)
	}
}
