// Package camerahealth tells whether a camera sees well, from measures of its pictures: whether
// they are black, frozen, blurred or flickering, and whether it is covered or was turned.
//
//	w := camerahealth.New(camerahealth.Options{…})
//	for _, c := range w.Look(slot.Time(), look) { … } // what has begun, or is over
//	now := w.State(time.Now())
//
// It knows nothing of whether frames come at all: that is what internal/health tells. It has no
// clock: the time is that of the pictures. A [Watch] takes less than 3 KB, and none of that before
// the first picture.
package camerahealth

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/transform/quality"
)

// A Condition is what is wrong with the pictures of a camera.
type Condition string

// The conditions.
const (
	Black      Condition = "black"
	Frozen     Condition = "frozen"
	Covered    Condition = "covered"
	Blurred    Condition = "blurred"
	Turned     Condition = "turned"
	Flickering Condition = "flickering"
	// Unknown is not told by [Watch.Look]: no picture has been looked at of late.
	Unknown Condition = "unknown"
)

// The places of the conditions in a verdict.
const (
	black = iota
	covered
	frozen
	turned
	blurred
	flickering
	conditions
)

// all are the conditions that a Watch tells, worst first, by their places.
var all = [conditions]Condition{Black, Covered, Frozen, Turned, Blurred, Flickering}

// A verdict tells which conditions are so.
type verdict [conditions]bool

// Conditions returns the conditions that a [Watch] tells, worst first.
func Conditions() []Condition { return slices.Clone(all[:]) }

// Means returns a sentence for people: what is so, and what to do.
func (c Condition) Means() string {
	return map[Condition]string{
		Black:      "the picture is dark all over: it is night without light, the lens cap is on, or the sensor is dead; look at the camera",
		Frozen:     "the camera sends the same picture again and again: restart the camera, or its encoder",
		Covered:    "there is hardly anything to be seen: something is before the lens, or thick fog; look at the camera",
		Blurred:    "the picture is much less sharp than usual: clean the lens, or focus it",
		Turned:     "the camera shows another view than usual: turn it back; what is shown is the usual view from the next start on, or after health.relearn",
		Flickering: "the brightness jumps to and fro: look at the lamps, and set the camera's exposure to the frequency of the mains",
		Unknown:    "no picture was looked at of late: frames that nobody listens to are not decoded",
	}[c]
}

// Options are what is looked for. What is 0 is not looked for.
type Options struct {
	// Every is the time between the pictures that are looked at, at least.
	Every time.Duration
	// After is how long a condition has to last before it is told. It is over when it has not
	// been so for a third of that.
	After time.Duration
	// Black is the mean brightness, in levels, below which a picture without contrast is black.
	Black float64
	// Frozen says that pictures that are the same are looked for.
	Frozen bool
	// Covered is the contrast, in relation to the mean brightness, below which nothing is to be
	// seen.
	Covered float64
	// Blurred is the share of the usual sharpness below which a picture is blurred.
	Blurred float64
	// Turned is how much like the usual view a picture has to be, 0 to 1.
	Turned float64
	// Flickering is by which share the brightness has to jump.
	Flickering float64
	// Relearn is after which time a view that was found to be turned is the usual one.
	Relearn time.Duration
}

// Default returns the options for a camera of which nothing is known.
func Default() Options {
	return Options{
		Every: time.Second, After: 15 * time.Second, Black: 20, Frozen: true, Covered: 0.12, Blurred: 0.25,
		Turned: usualTurned, Flickering: 0.12, Relearn: time.Hour,
	}
}

// A Change is a condition that has begun, or is over.
type Change struct {
	Condition Condition
	// Since is when it began, by the time of the pictures.
	Since time.Time
	// Over says that it is over, at the time At; Relearned that this is so because the view is
	// taken for the usual one from now on.
	Over, Relearned bool
	At              time.Time
}

// A State is how the pictures of a camera are.
type State struct {
	// At is the time of the last picture that was looked at, zero before the first.
	At time.Time
	// Known says that this was not too long ago to say anything.
	Known bool
	quality.Measures
	// Difference is by how many levels it differs from the one before it in the mean.
	Difference float64
	// Similarity is how much it is like the usual view, 0 to 1; NaN while that is learned, and if
	// it has no shapes.
	Similarity float64
	// Conditions are those that are told, worst first. If it is not known how the pictures are
	// now, they are those of the last one.
	Conditions []Active
	ever       verdict
}

// Ever tells whether a condition was told at any time since the start.
func (s *State) Ever(c Condition) bool {
	i := slices.Index(all[:], c)
	return i >= 0 && s.ever[i]
}

// An Active is a condition and when it began.
type Active struct {
	Condition Condition
	Since     time.Time
}

// A Watch judges the pictures of one camera. Its methods may be called by several goroutines.
type Watch struct {
	opts Options

	mu     sync.Mutex
	memory *memory // nil before the first picture
}

// New returns a watch that has seen nothing yet.
func New(o Options) *Watch { return &Watch{opts: o} }

// Every returns the time between the pictures that are to be looked at.
func (w *Watch) Every() time.Duration { return w.opts.Every }

// Look judges a picture of a time, and returns the conditions that have begun with it, or are over.
// One that is not later than the last one is left out.
func (w *Watch) Look(at time.Time, l *quality.Look) []Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.memory == nil {
		w.memory = &memory{similarity: math.NaN()}
	}
	m := w.memory
	if !at.After(m.at) {
		return nil
	}
	if at.Sub(m.at) > w.Patience() {
		m.interrupt()
	}
	return m.look(&w.opts, at, l)
}

// State returns how the pictures are at a time, by their clock.
func (w *Watch) State(now time.Time) State {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.memory
	if m == nil {
		return State{Similarity: math.NaN()}
	}
	s := State{
		At: m.at, Known: now.Sub(m.at) <= w.Patience(), Measures: m.measures,
		Difference: m.difference, Similarity: m.similarity,
	}
	for i, c := range all {
		has := &m.conditions[i]
		if has.told {
			s.Conditions = append(s.Conditions, Active{c, has.since})
		}
		s.ever[i] = has.ever
	}
	return s
}

// Patience returns how old the last picture may be to say anything about now.
func (w *Watch) Patience() time.Duration { return max(30*time.Second, 3*w.opts.Every) }

// A memory is what is kept of a camera's pictures.
type memory struct {
	at       time.Time
	measures quality.Measures
	// difference and similarity are those of [State].
	difference, similarity float64

	last   quality.Thumb
	prints quality.Prints
	usual  quality.Thumb // the usual view
	shapes float64       // how much of shapes it has
	sharp  float64       // the usual sharpness of light that the contrast is 1 of
	looks  int           // at the usual view, up to learned

	seen   int       // pictures that follow each other
	shift  float64   // of the last jump of the brightness
	jumped uint32    // of the last pictures: the brightness jumped back; the lowest bit is the last
	began  time.Time // when the first of these did

	conditions [conditions]lasting
}

// A lasting condition is so, or was so lately.
type lasting struct {
	is, told, ever bool
	since          time.Time // when it began
	last           time.Time // when it was last so
	looks          int       // how often in a row
}

const (
	// learned is after how many pictures the usual view is known.
	learned = 10
	// leastLooks is in how many pictures in a row a condition has to be seen, however far they
	// are apart.
	leastLooks = 3
	// visible is the spread, in levels, that a picture has to have for its shapes to be more than
	// noise.
	visible = 8
	// even is the spread, in levels, of a picture that shows nothing but noise.
	even = 6
	// jumps is how often the brightness has to jump back among the last jumpsOf pictures; calm
	// is how often it may for the flicker to be over.
	jumps, jumpsOf, calm = 4, 16, 2
	// perStep is how many pictures it takes until the usual view follows by a level.
	perStep = 4
	// usualTurned is how much like the usual view a picture has to be, where that is not set.
	usualTurned = 0.3
	// shapely is how much of shapes the usual view has to have to tell it from another one: a wall
	// has less.
	shapely = 0.25
	// learnSharp is the share that a picture has in the usual sharpness: it follows within
	// about a quarter of an hour at one a second.
	learnSharp = 1.0 / 1024
	// lost is the share of the usual sharpness that is left of a view that is covered, if its
	// shapes are gone as well.
	lost = 0.1
)

// interrupt forgets what holds only for pictures that follow each other.
func (m *memory) interrupt() {
	m.seen, m.jumped, m.shift = 0, 0, 0
	for i := range m.conditions {
		if c := &m.conditions[i]; !c.told {
			*c = lasting{ever: c.ever}
		}
	}
}

func (m *memory) look(o *Options, at time.Time, l *quality.Look) []Change {
	is := m.judge(o, at, l)
	var changes []Change
	for i, c := range all {
		since := at
		if i == flickering {
			since = m.began
		}
		if ch, some := m.conditions[i].settle(o, since, at, is[i]); some {
			ch.Condition = c
			changes = append(changes, ch)
		}
	}
	changes = append(changes, m.relearn(o, at)...)
	m.learn(l, is)
	m.last, m.prints, m.measures, m.at = l.Thumb, l.Prints, l.Measures, at
	m.seen++
	return changes
}

// judge tells what is so of a picture by itself, and compared with the last one and the usual
// view.
func (m *memory) judge(o *Options, at time.Time, l *quality.Look) (is verdict) {
	is[black] = l.Mean < o.Black*m.ease(black) && l.Spread < even*m.ease(black)
	flat := o.Covered > 0 && l.Spread < max(even, o.Covered*l.Mean)*m.ease(covered)
	same := m.seen > 0 && l.Prints.Same(&m.prints)
	is[frozen] = o.Frozen && same
	m.similarity = math.NaN()
	if m.looks >= learned && m.shapes >= shapely {
		m.similarity = quality.Similarity(&l.Thumb, &m.usual)
	}
	m.difference = math.NaN()
	if m.seen > 0 {
		m.difference = quality.Difference(&l.Thumb, &m.last)
		m.flicker(o, at, l)
	}
	n := bits.OnesCount32(m.jumped)
	is[flickering] = n >= jumps || n > calm && m.conditions[flickering].is
	if is[black] {
		return is
	}
	is[covered] = flat
	if flat || m.looks < learned {
		return is
	}
	sharp := relative(l) / m.sharp
	other := m.similarity < cmp.Or(o.Turned, usualTurned)*m.ease(turned) && l.Spread >= visible
	switch {
	case other && sharp < lost:
		is[covered] = o.Covered > 0
	case other:
		is[turned] = o.Turned > 0
	case l.Spread >= visible:
		is[blurred] = sharp < o.Blurred*m.ease(blurred)
	}
	return is
}

// ease returns what the limit of a condition is multiplied by: once it is told, it has to be clearly
// over, so that it does not come and go at the limit.
func (m *memory) ease(condition int) float64 {
	if m.conditions[condition].told {
		return 1.25
	}
	return 1
}

// relative returns the sharpness of light that the contrast is 1 of.
func relative(l *quality.Look) float64 { return l.Sharpness / max(1, l.Contrast*l.Contrast) }

// flicker notes whether the brightness has jumped back.
func (m *memory) flicker(o *Options, at time.Time, l *quality.Look) {
	m.jumped = m.jumped << 1 & (1<<jumpsOf - 1)
	shift := quality.Shift(&m.last, &l.Thumb)
	if o.Flickering <= 0 || math.Abs(shift) < o.Flickering {
		return
	}
	if shift*m.shift < 0 {
		if m.jumped == 0 {
			m.began = at
		}
		m.jumped |= 1
	}
	m.shift = shift
}

// settle takes note of whether a condition is so, and tells whether it has begun or is over. since
// is when it began, if it was not so before.
func (c *lasting) settle(o *Options, since, at time.Time, is bool) (Change, bool) {
	if is {
		if !c.is {
			c.looks = 0
			if !c.told && (c.last.IsZero() || at.Sub(c.last) > o.After/3) {
				c.since = since
			}
		}
		c.is, c.last = true, at
		c.looks++
		if !c.told && c.looks >= leastLooks && at.Sub(c.since) >= o.After {
			c.told, c.ever = true, true
			return Change{Since: c.since, At: at}, true
		}
		return Change{}, false
	}
	c.is = false
	if c.told && at.Sub(c.last) >= o.After/3 {
		c.told = false
		return Change{Since: c.since, Over: true, At: at}, true
	}
	return Change{}, false
}

// relearn takes a view for the usual one that has been another for long.
func (m *memory) relearn(o *Options, at time.Time) []Change {
	c := &m.conditions[turned]
	if !c.told || !c.is || o.Relearn <= 0 || at.Sub(c.since) < o.Relearn {
		return nil
	}
	over := Change{Condition: Turned, Since: c.since, Over: true, Relearned: true, At: at}
	*c, m.looks = lasting{ever: true}, 0
	return []Change{over}
}

// learn has the usual view follow a picture in which nothing is wrong.
func (m *memory) learn(l *quality.Look, is verdict) {
	if is[black] || is[covered] || is[blurred] || is[turned] || l.Spread < visible {
		return
	}
	if m.looks < learned {
		if m.looks == 0 {
			m.usual, m.sharp = l.Thumb, 0
		}
		m.looks++
		m.sharp += (relative(l) - m.sharp) / float64(m.looks)
		m.follow(&l.Thumb)
		return
	}
	m.sharp += (relative(l) - m.sharp) * learnSharp
	if m.seen%perStep == 0 {
		m.follow(&l.Thumb)
	}
}

// follow moves each part of the usual view by a level towards a picture: it comes to the median, as the Σ-Δ
// filter does (Manzanera and Richefeu, "A new motion detection algorithm based on Σ-Δ background
// estimation", Pattern Recognition Letters 28, 2007).
func (m *memory) follow(now *quality.Thumb) {
	usual := &m.usual
	for i, v := range now {
		switch {
		case v > usual[i]:
			usual[i]++
		case v < usual[i]:
			usual[i]--
		}
	}
	m.shapes = quality.Shapes(usual)
}
