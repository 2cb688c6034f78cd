package transform

import "image"

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

// shift returns how far from where a resized picture's pixels are the pixels of the picture
// lie that they are made of, on average, in pixels of the picture. Most methods look around
// the centre of where a pixel comes from. These two of OpenCV do not:
//
//   - opencv-nearest takes pixel floor(k·x) for pixel x, where the picture is k times as
//     large. With k = p/q in lowest terms, its centre is (1-p)/2q from that of where x comes
//     from, on average over x: 7 pixels for k = 15.
//   - opencv-area, where one side grows and the other shrinks, interpolates between the pixels
//     floor(k·x) and the next with weights that suit growing only.
func (r Resize) shift(from, to image.Point) (x, y float64) {
	switch {
	case r == OpenCVNearest:
		return nearestShift(from.X, to.X), nearestShift(from.Y, to.Y)
	case r == OpenCVArea && (from.X < to.X && from.Y > to.Y || from.X > to.X && from.Y < to.Y):
		return areaShift(from.X, to.X), areaShift(from.Y, to.Y)
	}
	return 0, 0
}

func nearestShift(from, to int) float64 {
	p, q := lowest(from, to)
	return float64(1-p) / float64(2*q)
}

// areaShift is exact for shrinking sides. Those that grow are not shifted.
func areaShift(from, to int) float64 {
	if from <= to {
		return 0
	}
	p, q := lowest(from, to)
	k := float64(p) / float64(q)
	part := float64(q-1) / float64(2*q) // of a pixel, that k·x is beyond a whole one, on average
	return 1.5 - part - (1-part)/k - float64(k/2)
}

// lowest returns a fraction in its lowest terms.
func lowest(num, denom int) (p, q int) {
	a, b := num, denom
	for b != 0 {
		a, b = b, a%b
	}
	return num / a, denom / a
}
