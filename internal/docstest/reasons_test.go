package docstest

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/health"
)

// TestReasons: docs/reasons.md has a paragraph for each reason, and for nothing else. It names
// an alert that there is, or says why there is none.
func TestReasons(t *testing.T) {
	var have, want []string
	paragraphs := regexp.MustCompile("(?m)^### `([a-z_]+)`\n\n([A-Z].{40,})\n\n(.+)$").FindAllStringSubmatch(read(t, filepath.Join(root, "docs/reasons.md")), -1)
	alerts := read(t, filepath.Join(root, "docker/prometheus/alerts.yml"))
	for _, m := range paragraphs {
		have = append(have, m[1])
		named := regexp.MustCompile(`\[(Cvfeeder\w+)\]`).FindAllStringSubmatch(m[3], -1)
		for _, n := range named {
			if !strings.Contains(alerts, "- alert: "+n[1]+"\n") {
				t.Errorf("%s: there is no alert %s", m[1], n[1])
			}
		}
		if !regexp.MustCompile(`^(Alert: \[Cvfeeder|No alert: .{20,})`).MatchString(m[3]) {
			t.Errorf("%s names no alert, and does not say why there is none: %q", m[1], m[3])
		}
	}
	for _, c := range health.Codes() {
		want = append(want, string(c))
	}
	for _, m := range regexp.MustCompile(`cvfeeder_not_ready\{reason=~?"([^"]+)"\}`).FindAllStringSubmatch(alerts, -1) {
		for code := range strings.SplitSeq(m[1], "|") {
			if !slices.Contains(health.Codes(), health.Code(code)) {
				t.Errorf("an alert is for %s, which is no reason", code)
			}
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("docs/reasons.md explains %q, and there are %q", have, want)
	}
}
