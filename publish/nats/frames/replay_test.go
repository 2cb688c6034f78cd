package frames

import (
	"strings"
	"testing"
	"time"
)

func TestParseReplayRequest(t *testing.T) {
	r, err := parseReplayRequest([]byte(`{"streams": ["cam-*"], "from": "2026-01-02T00:00:00Z", "to": "2026-01-02T01:00:00Z", "interval": "1s", "outputs": ["a"], "quota": "20%"}`))
	if err != nil || len(r.Streams) != 1 || r.To.Sub(r.From) != time.Hour || r.Interval != time.Second || r.Outputs[0] != "a" || r.Quota != "20%" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := parseReplayRequest([]byte(`{"cancel": "j1"}`)); err != nil || r.Cancel != "j1" {
		t.Errorf("%+v, %v", r, err)
	}
	for request, want := range map[string]string{
		`{}`: "streams is missing",
		`{"streams": ["a"], "from": "yesterday", "to": "2026-01-02T01:00:00Z"}`:                                "from",
		`{"streams": ["a"], "from": "2026-01-02T01:00:00Z"}`:                                                   "to",
		`{"streams": ["a"], "from": "2026-01-02T00:00:00Z", "to": "2026-01-02T01:00:00Z", "interval": "fast"}`: "interval",
		`{"stream": "a"}`: "stream",
	} {
		if _, err := parseReplayRequest([]byte(request)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", request, err)
		}
	}
}
