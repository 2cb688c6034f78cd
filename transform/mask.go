package transform

// A Mask is a part of a picture whose pixels are replaced before anything is made of it.
type Mask struct {
	// Polygon has the corners, in fractions of the picture's width and height. What is inside
	// is told by the even-odd rule.
	Polygon []Fraction
	// Fill is the red, green and blue that replaces the pixels, unless they are pixelated.
	Fill [3]uint8
	// Pixelate, unless 0, is the side in pixels of the blocks that are replaced by their mean.
	Pixelate int
}

// A Fraction is a point of a picture: (0, 0) is its top-left corner, and (1, 1) the
// bottom-right one.
type Fraction struct{ X, Y float64 }
