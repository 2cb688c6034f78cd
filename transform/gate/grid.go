package gate

import "image"

// A grid divides a region into cells of side x side blocks, those at the right and lower edge
// may have fewer.
type grid struct {
	side int
	size image.Point // in cells
}

// gridOf returns the finest grid for a region with at most mostCells.
func gridOf(region image.Point) grid {
	g := grid{}
	for g.side = 1; ; g.side++ {
		g.size = image.Pt((region.X+g.side-1)/g.side, (region.Y+g.side-1)/g.side)
		if g.size.X*g.size.Y <= mostCells {
			return g
		}
	}
}

// shrink sets the cells to the mean brightness of their blocks.
func (g grid) shrink(cells []uint8, luma *image.Gray, region image.Rectangle) {
	for cy := range g.size.Y {
		row := cells[cy*g.size.X:][:g.size.X]
		y0 := region.Min.Y + cy*g.side
		y1 := min(y0+g.side, region.Max.Y)
		if g.side == 1 {
			copy(row, luma.Pix[luma.PixOffset(region.Min.X, y0):][:g.size.X])
			continue
		}
		for cx := range row {
			x0 := region.Min.X + cx*g.side
			x1 := min(x0+g.side, region.Max.X)
			sum := 0
			for y := y0; y < y1; y++ {
				for _, v := range luma.Pix[luma.PixOffset(x0, y):][:x1-x0] {
					sum += int(v)
				}
			}
			n := (x1 - x0) * (y1 - y0)
			row[cx] = uint8((sum + n/2) / n)
		}
	}
}

// visible returns the cells of which no block is hidden.
func (g grid) visible(hidden []bool, luma, region image.Rectangle) []int {
	some := make([]bool, g.size.X*g.size.Y)
	for y := region.Min.Y; y < region.Max.Y; y++ {
		for x := region.Min.X; x < region.Max.X; x++ {
			if hidden[(y-luma.Min.Y)*luma.Dx()+x-luma.Min.X] {
				some[(y-region.Min.Y)/g.side*g.size.X+(x-region.Min.X)/g.side] = true
			}
		}
	}
	cells := []int{}
	for i, h := range some {
		if !h {
			cells = append(cells, i)
		}
	}
	return cells
}
