package transform

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Clip says which frames of a stream become one tensor, for models that take video. Frames are
// counted in the stream's own slots: slot n is the n-th interval since the Unix epoch. The zero
// value makes a tensor of each frame.
type Clip struct {
	// Frames is how many frames a clip has; 0 for no clips.
	Frames int
	// Stride is how many slots a frame of a clip is after the one before: 1 takes each.
	Stride int
	// Every is how many slots a clip ends after the one before: at each slot whose number is a
	// multiple of it.
	Every int
	// Missing says what takes the place of a frame that is missing.
	Missing Missing
}

// A Missing is what takes the place of a missing frame.
type Missing string

// What can take its place.
const (
	MissingRepeat Missing = "repeat" // the frame before it in the clip, or else the first after it
	MissingBlack  Missing = "black"  // black pixels
	MissingDrop   Missing = "drop"   // the clip is not made
)

// Missings returns the values of [Missing]; the first is the zero value's.
func Missings() []Missing { return []Missing{MissingRepeat, MissingBlack, MissingDrop} }

// The limits of a clip.
const (
	maxFrames = 256
	maxSlots  = 3600 // from the first to the last frame
)

// withDefaults returns the clip with what is not set.
func (c Clip) withDefaults() Clip {
	c.Stride, c.Every = max(c.Stride, 1), max(c.Every, 1)
	if c.Missing == "" {
		c.Missing = MissingRepeat
	}
	return c
}

func (c Clip) validate(l Layout) error {
	switch video := l == NCTHW || l == NTCHW || l == NTHWC; {
	case c == Clip{} && video:
		return fmt.Errorf("layout %s is that of clips: set frames, such as 16, or use nchw or nhwc", l)
	case c == Clip{}:
		return nil
	case c.Frames == 0:
		return errors.New("there are no clips without frames: set frames, such as 16")
	case c.Frames < 0 || c.Frames > maxFrames:
		return fmt.Errorf("%d frames are out of range: 1 to %d", c.Frames, maxFrames)
	case c.Stride < 0 || c.Stride > maxSlots || (c.Frames-1)*c.Stride > maxSlots:
		return fmt.Errorf("%d frames with a stride of %d take more than %d slots", c.Frames, c.Stride, maxSlots)
	case c.Every < 0 || c.Every > maxSlots:
		return fmt.Errorf("every %d slots is out of range: 1 to %d", c.Every, maxSlots)
	case !video:
		return fmt.Errorf("a clip has frames, and layout %s has no place for them: set layout to ncthw, ntchw or nthwc, as the model takes it", l)
	}
	return oneOf(c.withDefaults().Missing, Missings())
}

// ParseClip reads a clip as the config file has it: "{frames: 16, stride: 2, every: 8}". The
// empty string is none.
func ParseClip(text string) (c Clip, err error) {
	for name, value := range flow(text) {
		switch name {
		case "frames":
			c.Frames, err = strconv.Atoi(value)
		case "stride":
			c.Stride, err = strconv.Atoi(value)
		case "every":
			c.Every, err = strconv.Atoi(value)
		case "missing":
			if c.Missing = Missing(value); c.Missing == MissingRepeat {
				c.Missing = ""
			}
		default:
			err = errors.New("it is not one of frames, stride, every and missing")
		}
		if err != nil {
			return Clip{}, fmt.Errorf("clip: %s: %w", name, err)
		}
	}
	return c, nil
}

// String returns the clip as [ParseClip] reads it.
func (c Clip) String() string {
	var parts []string
	for _, p := range []struct {
		name  string
		value int
	}{{"frames", c.Frames}, {"stride", c.Stride}, {"every", c.Every}} {
		if p.value != 0 {
			parts = append(parts, fmt.Sprintf("%s: %d", p.name, p.value))
		}
	}
	if c.Missing != "" {
		parts = append(parts, "missing: "+string(c.Missing))
	}
	if parts == nil {
		return ""
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// needed tells by the number of a slot modulo Every whether some clip has its frame. The clip has
// its defaults.
func (c Clip) needed() []bool {
	needed := make([]bool, c.Every)
	for k := range c.Frames {
		n := -k * c.Stride % c.Every
		needed[(n+c.Every)%c.Every] = true
	}
	return needed
}

// Kept returns how many frames of a stream are kept at most for its next clips; 0 without clips,
// and for those that are not valid.
func (c Clip) Kept() (n int) {
	if c.Frames == 0 || c.validate(NCTHW) != nil {
		return 0
	}
	c = c.withDefaults()
	needed := c.needed()
	for slot := range (c.Frames-1)*c.Stride + c.Every {
		if needed[(slot+1)%c.Every] {
			n++
		}
	}
	return n
}

// A ClipFrame is one frame of a clip.
type ClipFrame struct {
	Slot source.Slot
	// Missing is what took the place of the frame, "" if it is there.
	Missing Missing
}

// Clips makes the clips of one stream and output of its frames, which come in the order of their
// slots. It keeps each frame until no clip needs it any more. Only one goroutine may use it at a
// time, but for Wants and Ends.
type Clips struct {
	output  *Output
	clip    Clip
	grid    source.Grid
	buffers *Buffers
	needed  []bool // by the number of a slot modulo clip.Every

	frames []*Tensor   // by slot
	since  source.Slot // frames have been kept since this slot: no clip begins before
	next   source.Slot // the next clip ends here; 0 before the first frame
}

// NewClips returns the clips of an output whose spec has some. The buffers give them their
// memory.
func NewClips(o *Output, grid source.Grid, buffers *Buffers) *Clips {
	c := &Clips{output: o, clip: o.Spec.Clip.withDefaults(), grid: grid, buffers: buffers}
	c.needed = c.clip.needed()
	return c
}

// number returns the number of a slot.
func (c *Clips) number(s source.Slot) int64 { return int64(s) / c.grid.Interval().Milliseconds() }

// Wants tells whether some clip has the frame of a slot. It may be called at any time.
func (c *Clips) Wants(s source.Slot) bool {
	return c.needed[c.number(s)%int64(c.clip.Every)]
}

// Ends tells whether a clip ends at a slot. It may be called at any time.
func (c *Clips) Ends(s source.Slot) bool { return c.number(s)%int64(c.clip.Every) == 0 }

// apart returns so many slots.
func (c *Clips) apart(slots int) source.Slot {
	return source.Slot(int64(slots) * c.grid.Interval().Milliseconds())
}

// first returns the slot of the first frame of the clip that ends at a slot.
func (c *Clips) first(end source.Slot) source.Slot {
	return end - c.apart((c.clip.Frames-1)*c.clip.Stride)
}

// Add adds the frame of a slot, which it then owns. It returns the clips that are complete with
// it: those that end before it, without their last frames, and the one that ends with it.
func (c *Clips) Add(t *Tensor) (made []*Tensor) {
	if c.next == 0 {
		c.since, c.next = t.Slot, c.nextEnd(t.Slot)
	}
	for c.next < t.Slot {
		if kept := len(c.frames); kept == 0 || c.frames[kept-1].Slot < c.first(c.next) {
			c.next = c.nextEnd(t.Slot) // after a long silence, no clip has a frame
			break
		}
		made = c.end(made)
		c.next += c.apart(c.clip.Every)
	}
	c.frames = append(c.frames, t)
	if c.next == t.Slot {
		made = c.end(made)
		c.next += c.apart(c.clip.Every)
	}
	c.forget(c.first(c.next))
	return made
}

// nextEnd returns the first slot from another one on at which a clip ends.
func (c *Clips) nextEnd(from source.Slot) source.Slot {
	if n := c.number(from) % int64(c.clip.Every); n > 0 {
		return from + c.apart(c.clip.Every-int(n))
	}
	return from
}

// end appends the clip that ends at c.next, unless there is none.
func (c *Clips) end(made []*Tensor) []*Tensor {
	if c.first(c.next) < c.since {
		return made
	}
	if t := c.make(); t != nil {
		made = append(made, t)
	}
	return made
}

// forget releases the frames before a slot.
func (c *Clips) forget(before source.Slot) {
	keep := slices.IndexFunc(c.frames, func(t *Tensor) bool { return t.Slot >= before })
	if keep < 0 {
		keep = len(c.frames)
	}
	for _, t := range c.frames[:keep] {
		t.Release()
	}
	c.frames = slices.Delete(c.frames, 0, keep)
}

// Reset releases all frames. The next clip begins with the next frame at the earliest.
func (c *Clips) Reset() {
	c.forget(math.MaxInt64)
	c.next = 0
}

// Bytes returns how many bytes the kept frames take.
func (c *Clips) Bytes() (n int64) {
	for _, t := range c.frames {
		n += int64(len(t.Data))
	}
	return n
}

// make returns the clip that ends at c.next; nil where a frame is missing and the clip is to be
// dropped, where all are, or where the picture's size has changed within it.
func (c *Clips) make() *Tensor {
	frames, info := make([]*Tensor, c.clip.Frames), make([]ClipFrame, c.clip.Frames)
	var last *Tensor
	for i := range frames {
		info[i].Slot = c.first(c.next) + c.apart(i*c.clip.Stride)
		at, found := slices.BinarySearchFunc(c.frames, info[i].Slot, func(t *Tensor, s source.Slot) int { return int(t.Slot - s) })
		if found {
			frames[i], last = c.frames[at], c.frames[at]
			continue
		}
		if info[i].Missing = c.clip.Missing; c.clip.Missing == MissingDrop {
			return nil
		}
	}
	if last == nil {
		return nil
	}
	for _, t := range frames {
		if t != nil && (!slices.Equal(t.Shape, last.Shape) || t.Source != last.Source) {
			return nil
		}
	}
	made, _ := c.buffers.Tensor(len(frames)*len(last.Data), Padding{})
	made.Stream, made.Slot, made.Capture, made.Output = last.Stream, c.next, last.Capture, c.output
	made.Source, made.Affines, made.Clip = last.Source, last.Affines, info
	made.Shape = clipShape(c.output.Spec.Layout, len(frames), last.Shape)
	c.fill(made.Data, frames, last)
	return made
}

// fill writes the frames of a clip, nil for those that are missing.
func (c *Clips) fill(dst []byte, frames []*Tensor, last *Tensor) {
	planes := 1 // of a frame that lie apart from each other
	if c.output.Spec.Layout == NCTHW {
		planes = c.output.Spec.Color.Channels()
	}
	n := len(last.Data) / planes
	var black []byte
	if slices.Contains(frames, nil) && c.clip.Missing == MissingBlack {
		black = c.output.Spec.black(last)
	}
	before := frames[slices.IndexFunc(frames, func(t *Tensor) bool { return t != nil })]
	for i, t := range frames {
		data := black
		switch {
		case t != nil:
			data, before = t.Data, t
		case black == nil:
			data = before.Data
		}
		for p := range planes {
			copy(dst[(p*len(frames)+i)*n:], data[p*n:][:n])
		}
	}
}

// MessageShape returns the shape of the tensor that is made of a frame of a shape, as [Spec.Shape]
// returns it: with clips, that of a clip.
func (s *Spec) MessageShape(frame []int) []int {
	if s.Clip.Frames == 0 {
		return frame
	}
	return clipShape(s.Layout, s.Clip.Frames, frame)
}

// Messages returns how many messages there are for each slot: with clips, fewer than one.
func (s *Spec) Messages() float64 { return 1 / float64(max(s.Clip.Every, 1)) }

// clipShape returns the shape of a clip of frames of a shape, [1 C H W] or [1 H W C].
func clipShape(l Layout, frames int, frame []int) []int {
	if l == NCTHW {
		return []int{1, frame[1], frames, frame[2], frame[3]}
	}
	return append([]int{1, frames}, frame[1:]...)
}
