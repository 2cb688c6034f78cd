package transform

import (
	"fmt"
	"image"
	"slices"
	"strings"
	"sync"
)

// A Camera is what is particular to the pictures of one camera, whichever output is made of
// them. Its fields do not change once it is in use, so that streams and workers may share it.
// Nil and the zero value change nothing.
type Camera struct {
	// Masks are the parts of the pictures that nobody is to see. They are burnt in before
	// anything else is made of a picture: fills first, then what is pixelated, so that nothing
	// of a filled part has a part in the mean of a block.
	Masks []Mask
	// Lens, unless nil, is how the pictures are rectified after that. Everything else is made of
	// the rectified picture, as if it were the camera's.
	Lens *Lens

	mu     sync.Mutex
	lenses map[image.Point]*Rectified
	covers map[coverKey]*Cover
	hidden map[image.Point][]bool
}

// Plain tells whether pictures are taken as they are.
func (c *Camera) Plain() bool { return c == nil || len(c.Masks) == 0 && c.Lens == nil }

// Whole tells whether a picture has to be in memory as a whole before anything is made of it.
func (c *Camera) Whole() bool { return c.Rectifies() || c.Mosaics() }

// Rectifies tells whether outputs are made of rectified pictures.
func (c *Camera) Rectifies() bool { return c != nil && c.Lens != nil }

// Shown returns the size of the picture that outputs are made of, for a picture of a size.
func (c *Camera) Shown(size image.Point) image.Point {
	if c == nil || c.Lens == nil || c.Lens.Model != Homography {
		return size
	}
	return c.Lens.Output
}

// A Rectified is a rectification and its table.
type Rectified struct {
	*Rectification
	*RemapTable
	// Luma has for each block of 8x8 pixels of the rectified picture, by rows, the index of the
	// source's block that its middle shows, or -1.
	Luma []int32
}

// lensesKept bounds the tables that a camera remembers, which are large.
const lensesKept = 2

// Rectified returns how pictures of a size are rectified; nil where they are not. It is not to be
// changed.
func (c *Camera) Rectified(size image.Point) *Rectified {
	if c == nil || c.Lens == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return remembered(&c.lenses, size, lensesKept, func() *Rectified {
		r := c.Lens.Of(size)
		return &Rectified{r, r.table(), r.luma()}
	})
}

// remembered returns what is known for a key, or else makes it and remembers it. Where most are
// known already, these are forgotten.
func remembered[K comparable, V any](known *map[K]V, key K, most int, build func() V) V {
	if found, ok := (*known)[key]; ok {
		return found
	}
	if len(*known) >= most || *known == nil {
		*known = map[K]V{}
	}
	(*known)[key] = build()
	return (*known)[key]
}

// Of returns an output as it is made of the camera's pictures. Where these are not taken as they
// are, it is another value, whose fingerprint stands for the camera, too: pictures of other masks
// make other tensors.
func (c *Camera) Of(o *Output) *Output {
	if c.Plain() || o == nil {
		return o
	}
	of := *o
	var b strings.Builder
	fmt.Fprintf(&b, "camera=1\noutput=%s\n", o.Fingerprint)
	if l := c.Lens; l != nil {
		fmt.Fprintf(&b, "lens=%s %v %v %v %v %v %v\n", l.Model, l.Size, l.Matrix, l.New, l.Distortion, l.Plane, l.Output)
	}
	for i := range c.Masks {
		fmt.Fprintf(&b, "mask=%s\n", &c.Masks[i])
	}
	of.Fingerprint = hashed(b.String())
	return &of
}

// Mosaics tells whether a part of the pictures is pixelated.
func (c *Camera) Mosaics() bool {
	return c != nil && slices.ContainsFunc(c.Masks, func(m Mask) bool { return m.Pixelate > 0 })
}

// coversKept bounds what a camera remembers: its pictures have one size, or a few.
const coversKept = 8

type coverKey struct {
	size    image.Point
	grain   Grain
	eighths int
}

// Cover returns what the masks cover of a picture of the size, which is decoded at eighths/8;
// nil where there are no masks. It is not to be changed.
func (c *Camera) Cover(size image.Point, grain Grain, eighths int) *Cover {
	if c == nil || len(c.Masks) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return remembered(&c.covers, coverKey{size, grain, eighths}, coversKept, func() *Cover {
		return coverOf(c.Masks, size, grain, eighths)
	})
}

// lumaSide is the side of the blocks whose means are the luma of a picture.
const lumaSide = 8

// Hidden tells which blocks of 8x8 pixels of a picture nobody is to see, for a gate: by rows,
// those at the right and lower edge may be smaller. The size is that of the picture that outputs
// are made of. It is nil where everything may be seen, and is not to be changed.
func (c *Camera) Hidden(size image.Point) []bool {
	if c.Plain() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return remembered(&c.hidden, size, coversKept, func() []bool {
		if c.Lens != nil {
			return c.behind(size)
		}
		return c.Masked(size)
	})
}

// Masked tells which blocks of 8x8 pixels of the camera's own picture of a size the masks touch, by
// rows. It is nil where there are no masks.
func (c *Camera) Masked(size image.Point) []bool {
	if c == nil || len(c.Masks) == 0 {
		return nil
	}
	unit := image.Pt(lumaSide, lumaSide)
	blocks := unitsOf(size, unit)
	found := make([]bool, blocks.X*blocks.Y)
	for y := range blocks.Y {
		for i := range c.Masks {
			c.Masks[i].touch(found[y*blocks.X:][:blocks.X], y, size, unit)
		}
	}
	return found
}

// behind tells which blocks of a rectified picture show a block that the masks touch, or one next
// to it: the size of the source is only known for that of the calibration. Those that show nothing
// are hidden, too.
func (c *Camera) behind(shown image.Point) []bool {
	source := shown
	if c.Lens.Model == Homography {
		source = c.Lens.Size
	}
	masked, across := c.Masked(source), unitsOf(source, image.Pt(lumaSide, lumaSide))
	luma := c.Lens.Of(source).luma()
	found := make([]bool, len(luma))
	for i, at := range luma {
		found[i] = at < 0
		for n := range 9 {
			x, y := int(at)%across.X+n%3-1, int(at)/across.X+n/3-1
			if at >= 0 && image.Pt(x, y).In(image.Rectangle{Max: across}) {
				found[i] = found[i] || masked != nil && masked[y*across.X+x]
			}
		}
	}
	return found
}

// luma returns the blocks of the source that those of the rectified picture show: see
// [Rectified].
func (r *Rectification) luma() []int32 {
	unit := image.Pt(lumaSide, lumaSide)
	to, from := unitsOf(r.Size, unit), unitsOf(r.Source, unit)
	all := make([]int32, 0, to.X*to.Y)
	for y := range to.Y {
		for x := range to.X {
			u, v := r.ToSource(float64((float64(x)+0.5)*lumaSide), float64((float64(y)+0.5)*lumaSide))
			at := int32(-1)
			if u >= 0 && v >= 0 && u < float64(r.Source.X) && v < float64(r.Source.Y) {
				at = int32(int(v)/lumaSide*from.X + int(u)/lumaSide)
			}
			all = append(all, at)
		}
	}
	return all
}
