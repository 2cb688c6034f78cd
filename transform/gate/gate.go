// Package gate tells frames that show something new from those that do not, by the brightness
// of their pictures at an eighth of the size.
//
//	g := gate.New(gate.Options{Change: 0.02, Every: 10 * time.Second})
//	v := g.Decide(slot.Time(), interval, luma, nil, region)
//	if v.Pass { … }
//
// New is what differs from the last frame that passed, because that is what a consumer has
// seen. So somebody who crosses the picture passes in every frame; a car that parks passes
// until it stands, and then it is what the next frames are compared with; and when it leaves,
// that passes, too. What changes slowly adds up until it passes.
//
// What is the same in the whole picture is taken out first: a gain and an offset, as of a
// camera's exposure, the light of the day, or lamps that flicker. Then each block is compared
// with its own noise, which is learned: the median of the difference between one frame and the
// next, as the Σ-Δ filter estimates it (Manzanera and Richefeu, "A new motion detection
// algorithm based on Σ-Δ background estimation", Pattern Recognition Letters 28, 2007). Noise
// is believed up to a limit only, so a busy street does not come to be taken for noise. That
// a JPEG's DC coefficients suffice to see changes was shown by Yeo and Liu ("On the extraction
// of DC sequence from MPEG compressed video", ICIP 1995).
//
// Whatever it cannot compare passes: the first frame, one of another size, one that is not
// later than the one before it. The package has no clock, and one [Gate] is for one output of
// one stream, used by one goroutine at a time.
package gate

import (
	"image"
	"math"
	"time"
)

// The sensitivity, in levels of brightness of 0 to 255. A block of 8x8 pixels has an eighth of
// the noise of a pixel.
const (
	// leastDifference is what a block has to differ by at least: more than the rounding of a
	// JPEG of quality 50, and the steps between the key frames of a video.
	leastDifference = 5
	// mostDifference is what a block has to differ by at most, whatever its noise.
	mostDifference = 18
	// perNoise is how many times its noise a block has to differ by: 3.4 standard deviations,
	// as the noise is a median.
	perNoise = 5
	// mostShift is by how much the brightness as a whole may have changed since the last
	// frame that passed. What is more is news, such as a lamp that was turned on.
	mostShift = 24
	// leastGain and mostGain are the gains that are taken for the camera's or the light's.
	leastGain, mostGain = 0.75, 1.33
)

const (
	// mostCells bounds the cells that a region is divided into, and so the memory of a gate,
	// which is five bytes for each.
	mostCells = 1 << 14
	// noiseUnit is the unit of the noise that is kept: so many are one level.
	noiseUnit = 256
	// firstNoise is what a block's noise is taken to be at first.
	firstNoise = 1 * noiseUnit
	// steps is how quickly noise is learned, in levels a frame: after the first frames slowly,
	// so that somebody who passes by is not taken for noise.
	firstStep, lastStep = noiseUnit, noiseUnit / 32
)

// Options are what an output wants to see.
type Options struct {
	// Change is the share of the picture that has to differ, above 0 to 1.
	Change float64
	// Every is the longest time between frames that pass. 0 is any.
	Every time.Duration
}

// A Reason is why a frame passes.
type Reason uint8

// The reasons.
const (
	// Same, the zero value: it does not pass.
	Same Reason = iota
	// Changed: at least the share of the picture differs.
	Changed
	// Brighter: the picture as a whole became brighter or darker than what a camera does by
	// itself.
	Brighter
	// Due: nothing has passed for so long.
	Due
	// Unknown: there is nothing to compare it with.
	Unknown
)

// String returns the reason's name: "changed".
func (r Reason) String() string {
	return [...]string{"same", "changed", "brighter", "due", "unknown"}[r]
}

// A Verdict is what is said of a frame.
type Verdict struct {
	Pass bool
	Why  Reason
	// Share is how much of the region differs from the last frame that passed, 0 to 1. What is
	// hidden does not count.
	Share float64
}

// A Gate decides which frames of one output of one stream pass.
type Gate struct {
	opts Options

	region image.Rectangle // the cells are of this part of the last picture
	size   image.Point     // of the last picture
	grid   grid
	cells  []int     // those that are looked at: not hidden; nil for all
	passed time.Time // of the last frame that passed
	last   time.Time // of the last frame
	seen   int       // frames since the gate began

	every []uint8  // all cells of the frame, where some are hidden
	now   []uint8  // cells of the frame that is looked at
	ref   []uint8  // cells of the last frame that passed
	rest  []int8   // how much the last frame differed from that, by cell
	noise []uint16 // in noiseUnit, by cell
}

// New returns a gate that has seen nothing yet.
func New(o Options) *Gate { return &Gate{opts: o} }

// Forget has the next frame pass, because the one that passed last was not delivered.
func (g *Gate) Forget() { g.passed = time.Time{} }

// Decide tells whether a frame passes. luma is its brightness, at is when it is of, next is how
// much later the next one will probably be, and region is the part of luma that the output shows.
// hidden tells which blocks of luma nobody is to see, by rows: what changes there opens no gate.
// Nil hides nothing; it is always the same for pictures of one size.
// A frame is due if the next one would come too late. Of a frame that passes, it is taken for
// granted that it is delivered; otherwise call [Gate.Forget].
func (g *Gate) Decide(at time.Time, next time.Duration, luma *image.Gray, hidden []bool, region image.Rectangle) Verdict {
	region = region.Intersect(luma.Rect)
	if region.Empty() {
		g.region = image.Rectangle{}
		return Verdict{Pass: true, Why: Unknown}
	}
	if region != g.region || luma.Rect.Size() != g.size || !at.After(g.last) {
		g.begin(luma.Rect, hidden, region)
	}
	g.last = at
	g.look(luma, region)
	if g.seen == 0 {
		return g.pass(at, Verdict{Why: Unknown})
	}
	light := fit(g.ref, g.now)
	changed := g.compare(light)
	v := Verdict{Share: float64(changed) / float64(max(len(g.now), 1))}
	switch shift := light.shift(g.ref); {
	case g.passed.IsZero():
		v.Why = Unknown
	case changed > 0 && v.Share >= g.opts.Change:
		v.Why = Changed
	case math.Abs(shift) > mostShift:
		v.Why = Brighter
	case g.opts.Every > 0 && at.Sub(g.passed)+next > g.opts.Every:
		v.Why = Due
	}
	if v.Why != Same {
		return g.pass(at, v)
	}
	g.seen++
	return v
}

// begin forgets all that was seen.
func (g *Gate) begin(luma image.Rectangle, hidden []bool, region image.Rectangle) {
	g.size, g.region, g.seen = luma.Size(), region, 0
	g.grid = gridOf(region.Size())
	n := g.grid.size.X * g.grid.size.Y
	g.cells, g.every = nil, nil
	if hidden != nil {
		g.cells, g.every = g.grid.visible(hidden, luma, region), make([]uint8, n)
		n = len(g.cells)
	}
	g.now, g.ref, g.rest, g.noise = make([]uint8, n), make([]uint8, n), make([]int8, n), make([]uint16, n)
	for i := range g.noise {
		g.noise[i] = firstNoise
	}
}

// look sets the cells of a frame.
func (g *Gate) look(luma *image.Gray, region image.Rectangle) {
	if g.every == nil {
		g.grid.shrink(g.now, luma, region)
		return
	}
	g.grid.shrink(g.every, luma, region)
	for i, at := range g.cells {
		g.now[i] = g.every[at]
	}
}

// pass makes the frame the one that others are compared with.
func (g *Gate) pass(at time.Time, v Verdict) Verdict {
	g.now, g.ref = g.ref, g.now
	clear(g.rest)
	g.passed = at
	g.seen++
	v.Pass = true
	return v
}

// compare counts the cells that differ from the last frame that passed, and learns their
// noise.
func (g *Gate) compare(l light) (changed int) {
	step := max(lastStep, firstStep/(g.seen+1))
	table := l.table()
	for i, v := range g.now {
		rest := int(v) - int(table[g.ref[i]])
		noise := int(g.noise[i])
		if difference := max(rest, -rest) * noiseUnit; difference > limit(noise) {
			changed++
		}
		kept := max(math.MinInt8, min(math.MaxInt8, rest))
		moved := kept - int(g.rest[i])
		if moved = max(moved, -moved) * noiseUnit; moved > noise {
			noise = min(noise+step, math.MaxUint16)
		} else {
			noise = max(noise-step, 0)
		}
		g.noise[i], g.rest[i] = uint16(noise), int8(kept)
	}
	return changed
}

// limit returns what a cell with so much noise has to differ by, in noiseUnit.
func limit(noise int) int {
	return max(leastDifference*noiseUnit, min(mostDifference*noiseUnit, perNoise*noise))
}
