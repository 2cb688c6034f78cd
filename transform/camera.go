package transform

// A Camera is what is particular to the pictures of one camera, whichever output is made of
// them. It does not change once it is in use, so that streams and workers may share it. Nil
// and the zero value change nothing.
type Camera struct {
	// Masks are the parts of the pictures that nobody is to see.
	Masks []Mask
}

// Plain tells whether pictures are taken as they are.
func (c *Camera) Plain() bool { return c == nil || len(c.Masks) == 0 }
