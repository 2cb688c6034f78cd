package preflight

import (
	"testing"

	"github.com/cvfeeder/cvfeeder/transform"
)

// TestTensorText: a tensor's size is said where it is known, and for which picture where it
// follows from it.
func TestTensorText(t *testing.T) {
	for name, want := range map[string]string{
		"yolo": "1x3x640x640",
		"raw":  "as large as the picture",
		"detr": "1x3x750x1333 of a picture of 1920x1080,",
	} {
		s, err := transform.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		if shape, _ := tensorText(&s, 1); shape != want {
			t.Errorf("%s: %q, want %q", name, shape, want)
		}
	}
}
