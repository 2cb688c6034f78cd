package transform

import (
	"encoding/json"
	"image"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTilesAreSAHIs compares tiles with those of SAHI's get_slice_bboxes: see testdata/tiles.py.
func TestTilesAreSAHIs(t *testing.T) {
	data, err := os.ReadFile("testdata/tiles.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Width, Height, Size int
		Overlap             float64
		Boxes               [][4]int
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 50 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		// Of a region, to see that tiles lie within it.
		at := image.Pt(7, 5)
		region := image.Rect(0, 0, c.Width, c.Height).Add(at)
		got, err := Tiles{Size: image.Pt(c.Size, c.Size), Overlap: c.Overlap}.tiles(region)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]image.Rectangle, len(c.Boxes))
		for i, b := range c.Boxes {
			want[i] = image.Rect(b[0], b[1], b[2], b[3]).Add(at)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%dx%d, tiles of %d, overlap %v (-want +got):\n%s", c.Width, c.Height, c.Size, c.Overlap, diff)
		}
	}
}

// TestGridOfTiles: the tiles of a grid have one size, overlap as much as they should, and leave
// nothing out.
func TestGridOfTiles(t *testing.T) {
	for _, side := range []int{1, 2, 7, 100, 1080, 1921} {
		for n := 1; n <= 9; n++ {
			for _, overlap := range []float64{0, 0.1, 0.2, 0.5, 0.9} {
				region := image.Rect(3, 4, 3+side, 4+side)
				all, err := Tiles{Grid: image.Pt(n, 1), Overlap: overlap}.tiles(region)
				if err != nil || len(all) != n {
					t.Fatalf("%d tiles of %d: %v, %v", n, side, all, err)
				}
				end := region.Min.X
				for i, tile := range all {
					least := int(float64(tile.Dx())*overlap) - 1 // for the rounding of two edges
					if tile.Size() != all[0].Size() || !tile.In(region) || tile.Min.X > end || i > 0 && end-tile.Min.X < least {
						t.Fatalf("%d tiles of %d that overlap by %v: tile %d is %v of %v", n, side, overlap, i, tile, all)
					}
					end = tile.Max.X
				}
				if end != region.Max.X {
					t.Fatalf("%d tiles of %d that overlap by %v end at %d: %v", n, side, overlap, end, all)
				}
			}
		}
	}
}

// TestTilesOfATensor: each tile is fitted as if it were the picture, and its map leads to its
// place in the source.
func TestTilesOfATensor(t *testing.T) {
	s := preset(t, "yolo")
	s.Tiles = Tiles{Size: image.Pt(640, 480), Overlap: 0.25}
	s.ROI = ROI{X: 100, Y: 50, W: 1500, H: 900}
	all, err := s.Geometries(image.Pt(1920, 1080))
	if err != nil || len(all) != 9 {
		t.Fatalf("%d tiles, %v", len(all), err)
	}
	if n, known := s.Bytes(); known {
		t.Errorf("%d bytes are known without a picture", n)
	}
	if n, err := s.BytesOf(image.Pt(1920, 1080)); n != 9*640*640*3*4 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if diff := cmp.Diff([]int{9, 3, 640, 640}, s.Shape(len(all), all[0])); diff != "" {
		t.Errorf("shape (-want +got):\n%s", diff)
	}
	for i, want := range []image.Point{{100, 50}, {580, 50}, {960, 50}, {100, 410}, {580, 410}, {960, 410}, {100, 470}, {580, 470}, {960, 470}} {
		// A tile of 640x480 lies in the middle of 640x640.
		if x, y := all[i].Affine.Apply(0, 80); x != float64(want.X) || y != float64(want.Y) {
			t.Errorf("tile %d begins at %v,%v of the source, want %v", i, x, y, want)
		}
	}
	s.ROI = ROI{}
	if shown, err := s.Shown(image.Pt(1920, 1080)); shown != image.Rect(0, 0, 1920, 1080) || err != nil {
		t.Errorf("%v is shown, %v", shown, err)
	}
}

// TestTooManyTiles: a picture that gives too many is refused, and not one that just fits.
func TestTooManyTiles(t *testing.T) {
	s := preset(t, "yolo")
	s.Tiles = Tiles{Size: image.Pt(100, 100)}
	if all, err := s.Geometries(image.Pt(1600, 1600)); len(all) != 256 || err != nil {
		t.Errorf("%d tiles, %v", len(all), err)
	}
	if _, err := s.Geometries(image.Pt(1601, 1600)); err == nil {
		t.Error("272 tiles")
	}
}

func TestTilesAsText(t *testing.T) {
	for _, text := range []string{"", "{size: 640}", "{size: 640x480, overlap: 0.2}", "{grid: 3x2}", "{grid: 1x1, overlap: 0.5}"} {
		var s Spec
		if err := s.Set("tiles", text); err != nil || s.Tiles.String() != text {
			t.Errorf("%q is read as %q, %v", text, s.Tiles, err)
		}
		if err := s.Tiles.validate(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"{size: big}", "{sizes: 640}", "640", "{overlap: lots}"} {
		if err := new(Spec).Set("tiles", text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
	for _, bad := range []Tiles{
		{Overlap: 0.2},
		{Size: image.Pt(640, 640), Grid: image.Pt(3, 2)},
		{Size: image.Pt(0, 640)},
		{Size: image.Pt(9000, 640)},
		{Grid: image.Pt(-1, 2)},
		{Grid: image.Pt(17, 16)},
		{Size: image.Pt(640, 640), Overlap: 0.91},
		{Size: image.Pt(640, 640), Overlap: 1},
		{Size: image.Pt(640, 640), Overlap: -0.1},
	} {
		if bad.validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
		if _, err := bad.tiles(image.Rect(0, 0, 1920, 1080)); err == nil {
			t.Errorf("%+v has tiles", bad)
		}
	}
}
