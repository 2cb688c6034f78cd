package publish_test

import (
	"image"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/transform"
)

// TestRowsOfABatch: what the headers of a batch say is read back, also of names that a list would
// misread.
func TestRowsOfABatch(t *testing.T) {
	of := tensor(t, "yolo", nil)
	of.Stream, of.Source = "yard", image.Point{}
	of.Shape[0] = 3
	of.Affines = []transform.Affine{{3, 0, 0, 0, 3, -420}, {}, {1, 0, 0, 0, 1, 0}}
	of.Batch = []transform.Row{
		{Stream: "cam-1", Source: image.Pt(1920, 1080)},
		{Stream: "!a,b;%2C ö", Missing: true},
		{Stream: "!c", Source: image.Pt(1280, 720)},
	}
	of.Data = make([]byte, 3*len(of.Data))
	m := publish.NewMessage("cvf.t.yard.detector", of)
	for name, want := range map[string]string{
		publish.HeaderStream: "yard",
		publish.HeaderShape:  "3,3,4,6",
		publish.HeaderBatch:  "cam-1,!%21a%2Cb%3B%252C%20%C3%B6,%21c",
		publish.HeaderSource: "1920x1080;0x0;1280x720",
		publish.HeaderAffine: "3,0,0,0,3,-420;0,0,0,0,0,0;1,0,0,0,1,0",
	} {
		if got := m.Header[name][0]; got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	e, err := publish.ParseEnvelope(m.Header)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(of.Batch, e.Rows); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(of.Affines, e.Affines); diff != "" {
		t.Error(diff)
	}
	if err := e.Check(len(m.Data)); err != nil || e.Pictures() != 3 {
		t.Errorf("%d pictures, %v", e.Pictures(), err)
	}
}
