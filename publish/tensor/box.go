package tensor

import "math"

// A Box is a rectangle in continuous pixel coordinates, whose origin is the
// top-left corner of the top-left pixel.
type Box struct{ MinX, MinY, MaxX, MaxY float64 }

// ToSource maps the point (x, y) of the tensor's first picture to the point of the camera's
// picture that it shows. Both are in the coordinates of [Box]. Where the picture was rectified, it
// is the point of the camera's own picture, and NaN for what has none.
func (t Tensor) ToSource(x, y float64) (xs, ys float64) { return t.TileToSource(0, x, y) }

// TileToSource does what [Tensor.ToSource] does for the picture with index tile of the tensor,
// from 0 to t.Pictures()-1: a tile, a row of a batch across cameras, or a frame of a clip.
func (t Tensor) TileToSource(tile int, x, y float64) (xs, ys float64) {
	if t.Clip != nil {
		tile = 0 // all frames have the same map
	}
	xs, ys = t.Affines[tile].Apply(x, y)
	if t.Map != nil {
		xs, ys = t.Map.ToSource(xs, ys)
	}
	return xs, ys
}

// BoxToSource maps the box b of the tensor's first picture to the camera's picture, and clips it
// to that. A box in the bars of a letterboxed tensor becomes empty: its width or its height is 0.
func (t Tensor) BoxToSource(b Box) Box { return t.TileBoxToSource(0, b) }

// TileBoxToSource does what [Tensor.BoxToSource] does for the picture with index tile.
func (t Tensor) TileBoxToSource(tile int, b Box) Box {
	x0, y0 := t.TileToSource(tile, b.MinX, b.MinY)
	x1, y1 := t.TileToSource(tile, b.MaxX, b.MaxY)
	x2, y2 := t.TileToSource(tile, b.MinX, b.MaxY)
	x3, y3 := t.TileToSource(tile, b.MaxX, b.MinY)
	source := t.Source
	switch {
	case t.Map != nil:
		source = t.Map.Source
	case t.Rows != nil:
		source = t.Rows[tile].Source
	}
	clip := func(v float64, side int) float64 { return math.Min(math.Max(v, 0), float64(side)) }
	return Box{
		MinX: clip(min(x0, x1, x2, x3), source.X), MinY: clip(min(y0, y1, y2, y3), source.Y),
		MaxX: clip(max(x0, x1, x2, x3), source.X), MaxY: clip(max(y0, y1, y2, y3), source.Y),
	}
}
