package tensor

import "math"

// A Box is a rectangle in continuous pixel coordinates, whose origin is the
// top-left corner of the top-left pixel.
type Box struct{ MinX, MinY, MaxX, MaxY float64 }

// ToSource returns the point of the camera's picture that (x, y) of the tensor
// shows, in the same coordinates as [Box].
func (t Tensor) ToSource(x, y float64) (xs, ys float64) { return t.Affine.Apply(x, y) }

// BoxToSource returns the box in the camera's picture that b of the tensor shows,
// cut to the picture: a box in the bars of a letterboxed tensor becomes empty,
// with no width or no height.
func (t Tensor) BoxToSource(b Box) Box {
	x0, y0 := t.ToSource(b.MinX, b.MinY)
	x1, y1 := t.ToSource(b.MaxX, b.MaxY)
	x2, y2 := t.ToSource(b.MinX, b.MaxY)
	x3, y3 := t.ToSource(b.MaxX, b.MinY)
	cut := func(v float64, most int) float64 { return math.Min(math.Max(v, 0), float64(most)) }
	return Box{
		MinX: cut(min(x0, x1, x2, x3), t.Source.X), MinY: cut(min(y0, y1, y2, y3), t.Source.Y),
		MaxX: cut(max(x0, x1, x2, x3), t.Source.X), MaxY: cut(max(y0, y1, y2, y3), t.Source.Y),
	}
}
