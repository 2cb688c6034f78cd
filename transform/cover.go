package transform

import (
	"image"
	"slices"
)

// A Grain is how a picture's pixels hang together in its encoding, so that a mask can cover
// all those that what is under it has a part in.
type Grain struct {
	// Unit is the size in pixels of the blocks that are encoded as one. Of a JPEG it is that of
	// an MCU, 8x8 to 32x32: each pixel depends on all of the block's. Of a PNG it is 1x1.
	Unit image.Point
	// Blended says that the colors of a pixel at the edge of a block depend on the next one's:
	// those of a JPEG are interpolated where there are fewer samples of them.
	Blended bool
}

// A Cover is what masks cover of pictures of one size, decoded at one scale: for each row, spans
// of pixels and what replaces them.
//
// A mask covers every pixel that its polygon touches, with the whole [Grain.Unit] that this
// lies in, and where colors are blended one more pixel (at the decoded scale) all around. So
// pictures whose encodings differ in these blocks only, and pictures that differed only there
// before they were encoded, are the same once they are covered.
type Cover struct {
	// Size is that of the decoded picture.
	Size image.Point
	// Spans are those of all rows, from the top. Those of row y are Spans[Rows[y]:Rows[y+1]].
	// Where two overlap, the later one counts.
	Spans []Span
	Rows  []int32
	// Mosaics are the pixelated parts, in the order of the masks.
	Mosaics []Mosaic
}

// A Span replaces the pixels of a row from From to before To.
type Span struct {
	From, To int32
	BGR      [4]uint8 // blue, green, red, and 0
}

// A Mosaic is what one mask pixelates: blocks of Side x Side pixels of the decoded picture; those
// at its right and lower edge may be smaller.
type Mosaic struct {
	Side   int
	Blocks []image.Point // by rows, counted in blocks
}

// coverOf returns the cover of masks for a picture of the size that is decoded at eighths/8.
func coverOf(masks []Mask, size image.Point, grain Grain, eighths int) *Cover {
	c := &Cover{Size: image.Pt((size.X*eighths+7)/8, (size.Y*eighths+7)/8)}
	var fills []Mask
	for _, m := range masks {
		if m.Pixelate > 0 {
			c.Mosaics = append(c.Mosaics, m.mosaic(size, grain, eighths))
		} else {
			fills = append(fills, m)
		}
	}
	c.fill(fills, size, grain, eighths)
	return c
}

// mosaic returns the blocks that a mask pixelates.
func (m *Mask) mosaic(size image.Point, grain Grain, eighths int) Mosaic {
	out := Mosaic{Side: m.Pixelate * eighths / 8}
	across := (size.X + m.Pixelate - 1) / m.Pixelate
	row, last := make([]bool, across), -1
	flush := func() {
		for x, on := range row {
			if on {
				out.Blocks = append(out.Blocks, image.Pt(x, last))
			}
		}
		clear(row)
	}
	units := unitsOf(size, grain.Unit)
	touched := make([]bool, units.X)
	for u := range units.Y {
		clear(touched)
		m.touch(touched, u, size, grain.Unit)
		// The blocks that the row of units reaches into.
		first, end := u*grain.Unit.Y/m.Pixelate, min((u+1)*grain.Unit.Y-1, size.Y-1)/m.Pixelate
		for y := first; y <= end; y++ {
			if y != last {
				flush()
				last = y
			}
			for x, on := range touched {
				if !on {
					continue
				}
				for b := x * grain.Unit.X / m.Pixelate; b <= min((x+1)*grain.Unit.X-1, size.X-1)/m.Pixelate; b++ {
					row[b] = true
				}
			}
		}
	}
	flush()
	return out
}

// unitsOf returns how many units a picture has, across and down.
func unitsOf(size, unit image.Point) image.Point {
	return image.Pt((size.X+unit.X-1)/unit.X, (size.Y+unit.Y-1)/unit.Y)
}

// fill sets the spans.
func (c *Cover) fill(masks []Mask, size image.Point, grain Grain, eighths int) {
	c.Rows = make([]int32, c.Size.Y+1)
	if len(masks) == 0 {
		return
	}
	units, side := unitsOf(size, grain.Unit), grain.Unit.Mul(eighths)
	side = image.Pt(max(side.X/8, 1), max(side.Y/8, 1))
	more := 0
	if grain.Blended {
		more = 1
	}
	rows := make([][]Span, units.Y)
	for u := range rows {
		rows[u] = runs(masks, u, size, grain.Unit, units.X)
		for i := range rows[u] {
			s := &rows[u][i]
			s.From, s.To = int32(max(int(s.From)*side.X-more, 0)), int32(min(int(s.To)*side.X+more, c.Size.X))
		}
	}
	for y := range c.Size.Y {
		c.Rows[y] = int32(len(c.Spans))
		own := min(y/side.Y, units.Y-1)
		for _, u := range []int{max(y-more, 0) / side.Y, min((y+more)/side.Y, units.Y-1)} {
			if u != own {
				c.Spans = append(c.Spans, rows[u]...)
			}
		}
		c.Spans = append(c.Spans, rows[own]...)
	}
	c.Rows[c.Size.Y] = int32(len(c.Spans))
}

// runs returns the spans of units that are covered in row u of units.
func runs(masks []Mask, u int, size, unit image.Point, across int) (all []Span) {
	touched, by := make([]bool, across), make([]int, across) // by: 1 and more are masks
	for i := range masks {
		clear(touched)
		masks[i].touch(touched, u, size, unit)
		for x, on := range touched {
			if on {
				by[x] = i + 1
			}
		}
	}
	for x := 0; x < across; {
		end := x + 1
		for end < across && by[end] == by[x] {
			end++
		}
		if by[x] > 0 {
			f := masks[by[x]-1].Fill
			all = append(all, Span{From: int32(x), To: int32(end), BGR: [4]uint8{f[2], f[1], f[0]}})
		}
		x = end
	}
	return all
}

// touch marks the units of row u that the polygon touches: those that an edge passes through,
// and those inside. A unit without an edge is inside as a whole if its middle is. What only
// meets a unit's border does not touch it.
func (m *Mask) touch(units []bool, u int, size, unit image.Point) {
	top, bottom := float64(u*unit.Y), float64(min((u+1)*unit.Y, size.Y))
	mark := func(from, to float64) {
		for x := max(int(from)/unit.X, 0); x < len(units) && float64(x*unit.X) < to; x++ {
			units[x] = true
		}
	}
	var crossings []float64
	middle := float64((top + bottom) / 2)
	for i, p := range m.Polygon {
		q := m.Polygon[(i+1)%len(m.Polygon)]
		ax, ay := float64(p.X*float64(size.X)), float64(p.Y*float64(size.Y))
		bx, by := float64(q.X*float64(size.X)), float64(q.Y*float64(size.Y))
		if ay > by {
			ax, ay, bx, by = bx, by, ax, ay
		}
		if by <= top || ay >= bottom {
			continue
		}
		from, to := ax, bx
		if ay < by {
			at := func(y float64) float64 { return along(y, ax, ay, bx, by) }
			from, to = at(max(ay, top)), at(min(by, bottom))
			if ay <= middle && middle < by {
				crossings = append(crossings, at(middle))
			}
		}
		mark(min(from, to), max(from, to))
	}
	slices.Sort(crossings)
	for i := 0; i+1 < len(crossings); i += 2 {
		mark(crossings[i], crossings[i+1])
	}
}

// along returns where the edge from (ax, ay) to (bx, by), which is not level, is at y.
func along(y, ax, ay, bx, by float64) float64 { return ax + float64((y-ay)/(by-ay)*(bx-ax)) }
