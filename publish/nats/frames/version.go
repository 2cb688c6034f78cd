package frames

import (
	"regexp"
	"strings"
)

var (
	semanticVersion = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9]+-g[0-9a-f]+)?(-dirty)?$`)
	notInVersion    = regexp.MustCompile(`[^0-9A-Za-z-]+`)
)

// semver returns a version in the form that micro accepts. The version of a build without
// a tag is appended to 0.0.0.
func semver(version string) string {
	if v := strings.TrimPrefix(version, "v"); semanticVersion.MatchString(v) {
		return v
	}
	if v := strings.Trim(notInVersion.ReplaceAllString(version, "-"), "-"); v != "" {
		return "0.0.0+" + v
	}
	return "0.0.0"
}
