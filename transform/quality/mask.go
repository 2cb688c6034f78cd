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

// SparseMask returns the mask of the [Sparse] means of a picture of w x h blocks, of which hidden has an
// entry for each, row by row.
func SparseMask(hidden []bool, w, h int) *Mask {
	m := NewMask((w+1)/2, (h+1)/2)
	for y := 0; y < h; y += 2 {
		for x := 0; x < w; x += 2 {
			if hidden[y*w+x] {
				m.Hide(x/2, y/2)
			}
		}
	}
	return m
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
