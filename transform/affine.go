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
func (a Affine) Apply(x, y float64) (xs, ys float64) {
	return a[0]*x + a[1]*y + a[2], a[3]*x + a[4]*y + a[5]
}
