package transform

import (
	"errors"
	"fmt"
	"image"
	"math"
	"strconv"
	"strings"
)

// Tiles say how the picture, or its ROI, is cut into parts of one size, each of which becomes
// one picture of the tensor: rows of tiles from top to bottom, each from left to right. The
// zero value cuts nothing.
type Tiles struct {
	// Size is the width and height of a tile in pixels of the source. A tile is never larger
	// than the picture.
	Size image.Point
	// Grid is the number of columns and rows, in place of Size.
	Grid image.Point
	// Overlap is the part of a tile, from 0 to 0.9, by which it overlaps the next one, at
	// least. The last tile of a row or column ends where the picture does, and may overlap
	// more.
	Overlap float64
}

const (
	// maxTiles is how many tiles a tensor has at most.
	maxTiles   = 256
	maxOverlap = 0.9
)

// tiles returns the tiles of a region. Those of a given size are where get_slice_bboxes of SAHI
// has them. Those of a grid are spread evenly, and as large as they have to be to overlap and
// to leave nothing out.
func (t Tiles) tiles(region image.Rectangle) ([]image.Rectangle, error) {
	if t == (Tiles{}) {
		return []image.Rectangle{region}, nil
	}
	if err := t.validate(); err != nil {
		return nil, err
	}
	var xs, ys []int
	size := t.Size
	if t.Grid == (image.Point{}) {
		size = image.Pt(min(size.X, region.Dx()), min(size.Y, region.Dy()))
		xs = sliced(region.Dx(), size.X, t.Size.X-int(float64(t.Size.X)*t.Overlap))
		ys = sliced(region.Dy(), size.Y, t.Size.Y-int(float64(t.Size.Y)*t.Overlap))
	} else {
		size = image.Pt(cell(region.Dx(), t.Grid.X, t.Overlap), cell(region.Dy(), t.Grid.Y, t.Overlap))
		xs, ys = spread(region.Dx(), size.X, t.Grid.X), spread(region.Dy(), size.Y, t.Grid.Y)
	}
	if n := len(xs) * len(ys); n > maxTiles {
		return nil, fmt.Errorf("picture of %dx%d gives %d tiles: at most %d, so make them larger, or their overlap less", region.Dx(), region.Dy(), n, maxTiles)
	}
	all := make([]image.Rectangle, 0, len(xs)*len(ys))
	for _, y := range ys {
		for _, x := range xs {
			all = append(all, image.Rectangle{Max: size}.Add(region.Min).Add(image.Pt(x, y)))
		}
	}
	return all, nil
}

// sliced returns where tiles of a size begin in a side, so many pixels apart. The last one ends
// where the side does.
func sliced(side, size, apart int) []int {
	var at []int
	for x := 0; ; x += apart {
		if x+size >= side || len(at) == maxTiles { // which are too many by then
			return append(at, side-size)
		}
		at = append(at, x)
	}
}

// cell returns the size of n tiles in a side that overlap by a part of them.
func cell(side, n int, overlap float64) int {
	return min(side, int(math.Ceil(float64(side)/(float64(n)-float64(float64(n-1)*overlap)))))
}

// spread returns where n tiles of a size begin that are spread over a side.
func spread(side, size, n int) []int {
	at := make([]int, n)
	for i := range at {
		if i > 0 {
			at[i] = (2*i*(side-size) + n - 1) / (2 * (n - 1)) // rounded
		}
	}
	return at
}

// count returns how many tiles every picture gives, and false where that depends on it.
func (t Tiles) count() (n int, known bool) {
	switch {
	case t == Tiles{}:
		return 1, true
	case t.Grid != image.Point{}:
		return t.Grid.X * t.Grid.Y, true
	}
	return 0, false
}

func (t Tiles) validate() error {
	side := func(v int) bool { return v >= 1 && v <= maxSide }
	switch {
	case t == Tiles{}:
		return nil
	case t.Size == image.Point{} && t.Grid == image.Point{}:
		return errors.New("overlap has no effect without tiles: set size, such as 640, or grid, such as 3x2")
	case t.Size != image.Point{} && t.Grid != image.Point{}:
		return errors.New("size and grid exclude each other: remove one of them")
	case t.Grid == image.Point{} && !(side(t.Size.X) && side(t.Size.Y)):
		return fmt.Errorf("a size of %dx%d: width and height must be 1 to %d", t.Size.X, t.Size.Y, maxSide)
	case t.Size == image.Point{} && (t.Grid.X < 1 || t.Grid.Y < 1 || t.Grid.X*t.Grid.Y > maxTiles):
		return fmt.Errorf("a grid of %dx%d: at least 1x1, and at most %d tiles", t.Grid.X, t.Grid.Y, maxTiles)
	case !(t.Overlap >= 0 && t.Overlap <= maxOverlap):
		return fmt.Errorf("an overlap of %v is out of range: 0 to %v, such as 0.2", t.Overlap, maxOverlap)
	}
	return nil
}

// ParseTiles reads tiles as the config file has them: "{size: 640, overlap: 0.2}", or
// "{grid: 3x2}". The empty string is no tiles.
func ParseTiles(text string) (t Tiles, err error) {
	for name, value := range flow(text) {
		switch name {
		case "size":
			t.Size, err = ParseBox(value)
		case "grid":
			t.Grid, err = ParseBox(value)
		case "overlap":
			t.Overlap, err = strconv.ParseFloat(value, 64)
		default:
			err = errors.New("it is not one of size, grid and overlap")
		}
		if err != nil {
			return Tiles{}, fmt.Errorf("tiles: %s: %w", name, err)
		}
	}
	return t, nil
}

// String returns the tiles as [ParseTiles] reads them.
func (t Tiles) String() string {
	var parts []string
	if t.Size != (image.Point{}) {
		parts = append(parts, "size: "+FormatBox(t.Size))
	}
	if t.Grid != (image.Point{}) {
		parts = append(parts, "grid: "+sizeText(t.Grid.X, t.Grid.Y))
	}
	if t.Overlap != 0 {
		parts = append(parts, "overlap: "+number(t.Overlap))
	}
	if parts == nil {
		return ""
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
