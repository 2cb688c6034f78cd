package quality

import "image"

// Sparse returns every other mean of every other row: what is measured of a picture, since four
// times as many tell hardly more.
func Sparse(luma *image.Gray) *image.Gray {
	size := luma.Rect.Size()
	m := image.NewGray(image.Rect(0, 0, (size.X+1)/2, (size.Y+1)/2))
	for y := range m.Rect.Max.Y {
		row := luma.Pix[2*y*luma.Stride:]
		for x := range m.Rect.Max.X {
			m.Pix[y*m.Stride+x] = row[2*x]
		}
	}
	return m
}

// A Mask has the blocks of a picture that do not count, as behind a privacy mask.
type Mask struct {
	size image.Point
	bits []uint64
}

// NewMask returns a mask of a picture of w x h blocks that hides nothing.
func NewMask(w, h int) *Mask {
	return &Mask{size: image.Pt(w, h), bits: make([]uint64, (w*h+63)/64)}
}

// Size returns the size of the picture in blocks.
func (m *Mask) Size() image.Point { return m.size }

// Hide hides a block.
func (m *Mask) Hide(x, y int) {
	i := y*m.size.X + x
	m.bits[i/64] |= 1 << (i % 64)
}

// Hides tells whether a block is hidden.
func (m *Mask) Hides(x, y int) bool {
	i := y*m.size.X + x
	return m.bits[i/64]>>(i%64)&1 != 0
}

// HidePolygon hides the blocks of which the middle or a corner lies within a polygon, by the
// even-odd rule. Its corners are in fractions of the picture's width and height.
func (m *Mask) HidePolygon(corners [][2]float64) {
	for y := range m.size.Y {
		for x := range m.size.X {
			for _, at := range [][2]float64{{0.5, 0.5}, {0.02, 0.02}, {0.98, 0.02}, {0.02, 0.98}, {0.98, 0.98}} {
				if within(corners, (float64(x)+at[0])/float64(m.size.X), (float64(y)+at[1])/float64(m.size.Y)) {
					m.Hide(x, y)
					break
				}
			}
		}
	}
}

// within tells whether a point lies within a polygon.
func within(corners [][2]float64, x, y float64) (inside bool) {
	for i, a := range corners {
		b := corners[(i+1)%len(corners)]
		if (a[1] > y) != (b[1] > y) && x < a[0]+(b[0]-a[0])*(y-a[1])/(b[1]-a[1]) {
			inside = !inside
		}
	}
	return inside
}
