package transform

// An Affine maps a point of the tensor to the source picture:
//
//	x_src = A·x + B·y + C
//	y_src = D·x + E·y + F
//
// in continuous pixel coordinates, whose origin is the top-left corner of the
// top-left pixel. The fields are in the order [A B C D E F].
type Affine [6]float64

// Apply returns the point of the source that (x, y) of the tensor shows.
//
// As everywhere in this package, a product that is added to something is converted, so that
// it is rounded first on every processor, and the result is the same to the last bit.
func (a Affine) Apply(x, y float64) (xs, ys float64) {
	return float64(a[0]*x) + float64(a[1]*y) + a[2], float64(a[3]*x) + float64(a[4]*y) + a[5]
}
