package docstest

import (
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/health"
)

// TestReasons: docs/reasons.md has a paragraph for each reason, and for nothing else.
func TestReasons(t *testing.T) {
	var have, want []string
	paragraphs := regexp.MustCompile("(?m)^### `([a-z_]+)`\n\n([A-Z].{40,})$").FindAllStringSubmatch(read(t, filepath.Join(root, "docs/reasons.md")), -1)
	for _, m := range paragraphs {
		have = append(have, m[1])
	}
	for _, c := range health.Codes() {
		want = append(want, string(c))
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("docs/reasons.md explains %q, and there are %q", have, want)
	}
}
