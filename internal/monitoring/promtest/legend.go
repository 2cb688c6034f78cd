package promtest

import (
	"maps"
	"slices"
	"strings"
)

// Unnamed returns the labels of a series that the legend of its query does not name, so that
// two lines could have one name, such as those of two instances. The labels that are the
// same in the whole panel do not count.
func Unnamed(labels map[string]string, legend string, same ...string) (missing []string) {
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		if label != "__name__" && label != "job" && !slices.Contains(same, label) && !strings.Contains(legend, "{{"+label+"}}") {
			missing = append(missing, label)
		}
	}
	return missing
}
