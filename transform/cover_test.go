package transform

import (
	"image"
	"math"
	"testing"
)

// TestCoverIsWhatAMaskTouches: of a triangle, a box and a pentagram, in pixels.
func TestCoverIsWhatAMaskTouches(t *testing.T) {
	star := Mask{}
	for i := range 5 {
		sin, cos := math.Sincos(float64(i) * 4 * math.Pi / 5)
		star.Polygon = append(star.Polygon, Fraction{0.5 + 0.5*sin, 0.5 - 0.5*cos})
	}
	for _, tc := range []struct {
		name string
		mask Mask
		size image.Point
		unit image.Point
		want []string
	}{
		{"box", Mask{Polygon: BoxPolygon([4]float64{0.25, 0.5, 0.5, 0.5})}, image.Pt(8, 4), image.Pt(1, 1), []string{
			"        ", "        ", "  ####  ", "  ####  ",
		}},
		{"parts of pixels", Mask{Polygon: BoxPolygon([4]float64{0.3, 0.3, 0.4, 0.2})}, image.Pt(8, 4), image.Pt(1, 1), []string{
			"        ", "  ####  ", "        ", "        ",
		}},
		{"triangle", Mask{Polygon: []Fraction{{0, 0}, {1, 0}, {0, 1}}}, image.Pt(4, 4), image.Pt(1, 1), []string{
			"####", "### ", "##  ", "#   ",
		}},
		{"units", Mask{Polygon: BoxPolygon([4]float64{0.5, 0.9, 0.01, 0.1})}, image.Pt(20, 10), image.Pt(8, 8), []string{
			"", "", "", "", "", "", "", "", "        ########    ", "        ########    ",
		}},
		{"edges cross", star, image.Pt(21, 21), image.Pt(1, 1), nil},
	} {
		c := (&Camera{Masks: []Mask{tc.mask}}).Cover(tc.size, Grain{Unit: tc.unit}, 8)
		got := make([]string, tc.size.Y)
		for y := range got {
			row := []byte("                                "[:tc.size.X])
			for _, s := range c.Spans[c.Rows[y]:c.Rows[y+1]] {
				for x := s.From; x < s.To; x++ {
					row[x] = '#'
				}
			}
			got[y] = string(row)
		}
		if tc.want == nil { // the middle of a pentagram is outside
			if got[10][10] != ' ' || got[1][10] != '#' || got[7][1] != '#' {
				t.Errorf("%s: %q", tc.name, got)
			}
			continue
		}
		for y, want := range tc.want {
			if len(want) == 0 {
				want = "                                "[:tc.size.X]
			}
			if got[y] != want {
				t.Errorf("%s: row %d is %q, want %q", tc.name, y, got[y], want)
			}
		}
	}
}

// TestCoverIsRemembered: for each size of pictures once, and not for any number of them.
func TestCoverIsRemembered(t *testing.T) {
	c := &Camera{Masks: []Mask{{Polygon: BoxPolygon([4]float64{0, 0, 1, 1})}}}
	grain := Grain{Unit: image.Pt(16, 16), Blended: true}
	first := c.Cover(image.Pt(64, 48), grain, 8)
	if c.Cover(image.Pt(64, 48), grain, 8) != first || c.Cover(image.Pt(64, 48), grain, 4) == first {
		t.Error("it is not the one of this size and scale")
	}
	for i := range 100 {
		c.Cover(image.Pt(64, 48+i), grain, 8)
		c.Hidden(image.Pt(64, 48+i))
	}
	if len(c.covers) > coversKept || len(c.hidden) > coversKept {
		t.Errorf("%d and %d are kept", len(c.covers), len(c.hidden))
	}
	var none *Camera
	if !none.Plain() || none.Cover(image.Pt(1, 1), grain, 8) != nil || none.Hidden(image.Pt(1, 1)) != nil {
		t.Error("no camera has masks")
	}
}

// TestMaskValidate: what is wrong with a mask is said.
func TestMaskValidate(t *testing.T) {
	triangle := []Fraction{{0, 0}, {1, 0}, {0, 1}}
	for _, tc := range []struct {
		mask Mask
		want string
	}{
		{Mask{Polygon: triangle}, ""},
		{Mask{Polygon: triangle, Pixelate: 16}, ""},
		{Mask{Polygon: []Fraction{{0, 0}, {1, 1}, {1, 0}, {0, 1}}}, ""}, // a bow tie
		{Mask{Polygon: triangle[:2]}, "a polygon of 2 points has no inside; at least 3"},
		{Mask{Polygon: []Fraction{{0, 0}, {1.1, 0}, {0, 1}}}, "the point [1.1, 0] is outside of the picture; fractions of its width and height, from 0 to 1"},
		{Mask{Polygon: []Fraction{{0, 0}, {math.NaN(), 0}, {0, 1}}}, "the point [NaN, 0] is outside of the picture; fractions of its width and height, from 0 to 1"},
		{Mask{Polygon: []Fraction{{0, 0}, {0, 0.5}, {0, 1}}}, "all points are on one line, so nothing is inside"},
		{Mask{Polygon: make([]Fraction, 300)}, "a polygon of 300 points; at most 256"},
		{Mask{Polygon: triangle, Pixelate: 12}, "blocks of 12 pixels; a multiple of 8 from 8 to 512"},
		{Mask{Polygon: triangle, Pixelate: 1024}, "blocks of 1024 pixels; a multiple of 8 from 8 to 512"},
	} {
		got := ""
		if err := tc.mask.Validate(); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

// TestOfACamera: outputs of pictures with masks have another fingerprint, for each way to mask
// them, and without masks they are the same value.
func TestOfACamera(t *testing.T) {
	o := &Output{Name: "a", Fingerprint: "0123456789abcdef"}
	if (*Camera)(nil).Of(o) != o || (&Camera{}).Of(o) != o {
		t.Error("an output changes without masks")
	}
	seen := map[string]bool{o.Fingerprint: true}
	for _, m := range []Mask{
		{Polygon: BoxPolygon([4]float64{0, 0, 1, 1})},
		{Polygon: BoxPolygon([4]float64{0, 0, 1, 0.5})},
		{Polygon: BoxPolygon([4]float64{0, 0, 1, 1}), Fill: [3]uint8{0, 0, 1}},
		{Polygon: BoxPolygon([4]float64{0, 0, 1, 1}), Pixelate: 16},
	} {
		got := (&Camera{Masks: []Mask{m}}).Of(o)
		if got.Name != "a" || len(got.Fingerprint) != 16 || seen[got.Fingerprint] {
			t.Errorf("%v has the fingerprint %s", m, got.Fingerprint)
		}
		seen[got.Fingerprint] = true
	}
}
