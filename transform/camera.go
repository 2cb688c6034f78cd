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

	mu     sync.Mutex
	covers map[coverKey]*Cover
	hidden map[image.Point][]bool
}

// Plain tells whether pictures are taken as they are.
func (c *Camera) Plain() bool { return c == nil || len(c.Masks) == 0 }

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
	key := coverKey{size, grain, eighths}
	found := c.covers[key]
	if found == nil {
		if len(c.covers) >= coversKept || c.covers == nil {
			c.covers = map[coverKey]*Cover{}
		}
		found = coverOf(c.Masks, size, grain, eighths)
		c.covers[key] = found
	}
	return found
}

// lumaSide is the side of the blocks whose means are the luma of a picture.
const lumaSide = 8

// Hidden tells which blocks of 8x8 pixels of a picture nobody is to see, for a gate: by rows,
// those at the right and lower edge may be smaller. It is nil where everything may be seen,
// and is not to be changed.
func (c *Camera) Hidden(size image.Point) []bool {
	if c == nil || len(c.Masks) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.hidden[size]
	if found == nil {
		if len(c.hidden) >= coversKept || c.hidden == nil {
			c.hidden = map[image.Point][]bool{}
		}
		unit := image.Pt(lumaSide, lumaSide)
		blocks := unitsOf(size, unit)
		found = make([]bool, blocks.X*blocks.Y)
		for y := range blocks.Y {
			for i := range c.Masks {
				c.Masks[i].touch(found[y*blocks.X:][:blocks.X], y, size, unit)
			}
		}
		c.hidden[size] = found
	}
	return found
}
