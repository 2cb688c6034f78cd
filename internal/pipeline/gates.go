package pipeline

import (
	"image"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/gate"
	"github.com/cvfeeder/cvfeeder/transform/quality"
)

// A Gate holds back the frames of an output that show nothing new.
type Gate struct {
	gate.Options
	// Relax is the time between slots that is enough while nothing has changed for Every;
	// 0 keeps the stream's.
	Relax time.Duration
}

// Gates are those of one stream's outputs, and what they have seen. The stream's frames pass
// them in the order of their slots. Frames that turned up late, that somebody asked for, and
// those of excursions do not pass them.
type Gates struct {
	outputs []*outputGate // by route; nil for an output without a gate
	woken   func(source.Slot)
}

// NewGates returns the gates of a stream's routes, nil for a route without one. woken, unless
// nil, is told of the slot in which something has changed after the stream's pace was wider: it
// is called by a worker, which it must not keep. Without any gate, NewGates returns nil.
func NewGates(gates []*Gate, woken func(source.Slot)) *Gates {
	all, some := &Gates{outputs: make([]*outputGate, len(gates)), woken: woken}, false
	for i, g := range gates {
		if g != nil {
			all.outputs[i], some = &outputGate{Gate: *g, gate: gate.New(g.Options)}, true
		}
	}
	if !some {
		return nil
	}
	return all
}

// Pace returns the time between slots that is enough for all outputs now; 0 is the stream's
// own. An output that nobody listens to has no say, unless it is so of all of them.
func (gs *Gates) Pace() time.Duration {
	var pace time.Duration
	for _, g := range gs.outputs {
		switch {
		case g == nil:
			return 0
		case mood(g.mood.Load()) == unwatched:
			continue
		case mood(g.mood.Load()) == lively || g.Relax <= 0:
			return 0
		case pace == 0 || g.Relax < pace:
			pace = g.Relax
		}
	}
	return pace
}

// undelivered has the next frame of an output pass, because one that passed has not reached
// anybody.
func (gs *Gates) undelivered(route int) {
	if gs != nil && gs.outputs[route] != nil {
		gs.outputs[route].again.Store(true)
	}
}

// A mood is what an output's frames are like at present.
type mood int32

const (
	lively    mood = iota // something has changed, or it is not known
	quiet                 // nothing has changed for as long as its gate's Every
	unwatched             // nobody listens to it
)

// An outputGate is the gate of one output.
type outputGate struct {
	Gate
	again atomic.Bool  // see undelivered
	mood  atomic.Int32 // a mood

	// What follows belongs to the job whose turn it is.
	gate    *gate.Gate
	passed  source.Slot // the last one that passed, 0 before the first
	changed source.Slot // the last one in which something changed
}

// decide tells whether a frame passes. luma is nil where the picture has none: it passes.
func (g *outputGate) decide(at source.Slot, next time.Duration, o *transform.Output, c *transform.Camera, luma *image.Gray, size image.Point) gate.Verdict {
	if g.again.Swap(false) {
		g.gate.Forget()
	}
	v := gate.Verdict{Pass: true, Why: gate.Unknown}
	if shown, err := o.Spec.Shown(size); luma != nil && err == nil {
		v = g.gate.Decide(at.Time(), next, luma, c.Hidden(size), eighth(shown))
	} else {
		g.gate.Forget() // what passes now is not what the next one is compared with
	}
	if g.changed > at || v.Pass && v.Why != gate.Due {
		g.changed = at
	}
	now := lively
	if at.Sub(g.changed) >= g.Every {
		now = quiet
	}
	g.mood.Store(int32(now))
	return v
}

// eighth returns the pixels of a picture at an eighth of the size that show a part of it.
func eighth(r image.Rectangle) image.Rectangle {
	return image.Rect(r.Min.X/8, r.Min.Y/8, (r.Max.X+7)/8, (r.Max.Y+7)/8)
}

// A gated job takes its turn at the gates after the one before it, whichever worker is ready
// first.
type gated struct {
	*Gates
	before  <-chan struct{} // closed when the job before it has passed; nil for none
	decided chan struct{}   // closed when this one has
	held    []bool          // by route: its gate has held the frame back
	since   []source.Slot   // by route: the last slot that passed before this one, 0 for none
}

// gate puts a job in line behind the one before it.
func (s *stream) gate(j *job) {
	if s.Gates != nil && !s.outing && !j.frame.Late {
		j.gated = &gated{Gates: s.Gates, before: s.lastGated, decided: make(chan struct{})}
	}
}

// leave lets the next job pass.
func (g *gated) leave() {
	if g != nil {
		close(g.decided)
	}
}

// pass asks the gates of the outputs that somebody listens to. It returns what there is to be seen
// of the camera's health, if that is due: what the gates compare is what it takes.
func (g *gated) pass(w Worker, j *job, watched []bool) (look *quality.Look) {
	if g == nil {
		return nil
	}
	g.held, g.since = make([]bool, len(j.routes)), make([]source.Slot, len(j.routes))
	var luma *image.Gray
	var size image.Point
	looks := false
	for i, o := range g.outputs {
		looks = looks || o != nil && watched[i]
	}
	begin := time.Now()
	if looks {
		// An error leaves it to Decode to say what is wrong.
		luma, size, _ = w.Luma(j.frame, j.camera.Camera)
		// That of a rectified picture is another view than the camera's own.
		if luma != nil && !j.camera.Camera.Rectifies() && j.looks() {
			look = j.look(quality.Sparse(luma), size)
		}
	}
	took := time.Since(begin)
	if g.before != nil {
		<-g.before
	}
	begin = time.Now()
	changed := map[string]float64{}
	pace, woken := g.Pace(), false
	next := max(pace, j.camera.Grid.Interval())
	for i, o := range g.outputs {
		switch {
		case o == nil:
		case !watched[i]:
			o.gate.Forget()
			o.mood.Store(int32(unwatched))
		default:
			v := o.decide(j.frame.Slot, next, j.routes[i].Output, j.camera.Camera, luma, size)
			if v.Why != gate.Unknown {
				changed[j.routes[i].Output.Name] = v.Share
			}
			woken = woken || v.Why == gate.Changed || v.Why == gate.Brighter
			if o.passed < j.frame.Slot {
				g.since[i] = o.passed
			}
			if g.held[i] = !v.Pass; v.Pass {
				o.passed = j.frame.Slot
			}
		}
	}
	if looks {
		j.seen.gated(took+time.Since(begin), changed)
	}
	if pace > 0 && woken && g.woken != nil {
		g.woken(j.frame.Slot)
	}
	return look
}

// holds tells whether a route's gate has held the frame back.
func (g *gated) holds(route int) bool { return g != nil && g.held != nil && g.held[route] }

// sinceOf returns the last slot of a route that passed before this one, 0 for none.
func (g *gated) sinceOf(route int) source.Slot {
	if g == nil || g.since == nil {
		return 0
	}
	return g.since[route]
}

// lost notes that a frame that passed did not reach those who listen to a route.
func (g *gated) lost(route int) {
	if g != nil && g.held != nil && !g.held[route] {
		g.undelivered(route)
	}
}

// lostAll notes that the frame reached nobody.
func (j *job) lostAll() {
	for i := range j.routes {
		j.gated.lost(i)
	}
}
