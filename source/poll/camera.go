package poll

import (
	"context"
	"errors"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source"
)

// A Trailer is a [Fetcher] whose media may be stamped by the camera's clock, which may be
// wrong by any amount, and may be set at any time.
type Trailer interface {
	// Producer tells whether images are asked for by the camera's clock.
	Producer() bool
	// Trail returns how far the camera's clock is behind the service's, negative if it is
	// ahead, by the media that the service began to receive between two instants of its
	// own clock. It returns false if the service received none. An error that wraps
	// [source.ErrRefused] says that this is not permitted: a [Poller] then compares images.
	Trail(ctx context.Context, from, to source.Slot) (time.Duration, bool, error)
	// Received returns the fetcher of the same images by the service's clock.
	Received() Fetcher
}

const (
	// The pauses between two looks for the camera's clock grow from minLook to maxLook.
	minLook = 2 * time.Second
	maxLook = 2 * time.Minute
	// measureAgain is how often the camera's clock is compared with the service's while
	// media flows, if fragments may be listed.
	measureAgain = 5 * time.Minute
	// recently is how long ago media that is received now may have begun.
	recently = 2 * time.Minute
	// A clock that is off by less than tolerance, or has changed by less, is left alone:
	// the delay that is learned includes that, and graces do not become shorter when the
	// clock wanders. Where only images tell, a change of the delay by mostDrift is taken for
	// one of the clock.
	tolerance = 2500 * time.Millisecond
	mostDrift = 5 * time.Second
	// leastDelay is what no real delay is below.
	leastDelay = 200 * time.Millisecond
)

// A cameraClock is what is known of the clock that stamps a stream's media.
type cameraClock struct {
	trailer  Trailer // nil where it is the service's clock
	received Fetcher
	listing  bool        // the trailer may be asked
	found    bool        // where the clock stands is known, or assumed
	live     bool        // media of that clock has been seen to arrive
	empty    int         // looks in a row that found that the service receives nothing
	off      bool        // so many of them that the camera is off
	emptyAt  source.Slot // when the first of these was, by the service's clock

	trail   time.Duration // how far the present is behind the service's, while media flows
	edge    source.Slot   // the newest media
	delay   time.Duration // the first that was learned since the trail is known
	silent  bool          // media has failed to appear
	next    source.Slot   // the next look, by the service's clock
	measure source.Slot   // the next comparison while media flows
	pause   pacing.Backoff
	looks   int  // since media has failed to appear
	waiting bool // for the next look
}

// follow keeps the poller's present at that of the camera's clock. It looks where that
// stands if media does not appear: at the start, and when the camera is off or its clock
// was set. It returns false while there is nothing to do but to wait for the next look.
func (p *Poller) follow(ctx context.Context) (ready bool, err error) {
	c := &p.camera
	if c.trailer == nil {
		return true, nil
	}
	defer func() { c.waiting = !ready }()
	c.edge = max(c.edge, p.newest)
	if p.unsure() { // the comparison would be wrong as well
		return c.found, p.clearUp(ctx)
	}
	if c.found && !p.overdue() {
		c.silent = false
		p.setOffset(c.trail)
		p.followDrift(ctx)
		return true, nil
	}
	if !c.silent {
		c.silent, c.off, c.empty, c.next, c.looks = true, false, 0, p.serviceNow(), 0
		c.pause.Reset()
	}
	if p.serviceNow() >= c.next {
		found, err := p.look(ctx)
		c.looks++
		c.next = p.serviceNow().Add(c.pause.Next())
		if found || err != nil {
			return found, err
		}
	}
	return p.freeze(), nil
}

// clearUp asks for something while the service's time is in doubt and nothing else is asked
// for: only answers tell it.
func (p *Poller) clearUp(ctx context.Context) error {
	c := &p.camera
	now := p.serviceNow()
	if c.next = min(c.next, now.Add(minLook)); c.found || now < c.next {
		return nil
	}
	_, err := p.newestReceived(ctx)
	c.next = p.serviceNow().Add(minLook)
	return err
}

// nothing takes note of whether a look showed that the service receives nothing. Single
// answers have no media although there is some, so several must agree that the camera is off.
func (p *Poller) nothing(received bool) {
	c := &p.camera
	if c.empty++; received {
		c.empty = 0
	}
	now := p.serviceNow()
	if c.empty == 1 {
		c.emptyAt = now
	}
	// While the clock has never been known, taking the camera for off would be taking its clock
	// for that of the service.
	c.off = c.empty >= enoughProofs && (c.live || now.Sub(c.emptyAt) >= recently)
}

// usualDelay is how long after its end a fragment is visible, at most, by all experience.
const usualDelay = 5 * time.Second

// overdue tells whether media has failed to appear for longer than fragments and their
// delay explain, and the grace.
func (p *Poller) overdue() bool { return p.serviceNow().Add(-p.camera.trail) >= p.lastPresent() }

// lastPresent returns the last instant at which the slots after the newest media are not
// overdue.
func (p *Poller) lastPresent() source.Slot {
	wait := max(p.opts.Grace+max(p.opts.Lag, 0), p.longestFragment()+max(p.estimate.delay, usualDelay))
	return p.camera.edge.Add(wait+p.ledger.Grid().Interval()) - 1
}

// freeze lets the present stand still while the service receives media of which it is not
// known what time it has: it may be for the slots after the newest media. It returns
// whether there is something to ask for meanwhile.
func (p *Poller) freeze() (ready bool) {
	c := &p.camera
	switch {
	case !c.found && (p.opts.FromNow || !c.off && c.edge == 0):
		return false // it is not known when the stream begins, or what is the present
	case c.off:
		c.found = true // the clock is taken to be as it was
		p.setOffset(c.trail)
		return true
	}
	p.setOffset(max(c.trail, p.serviceNow().Sub(max(p.lastPresent(), p.present))))
	p.extend(p.now())
	first, missing := p.ledger.Wanted(0)
	return missing && first <= c.edge
}

// look looks for the newest media, and sets the present if it finds media that has just
// arrived.
func (p *Poller) look(ctx context.Context) (found bool, err error) {
	c := &p.camera
	if c.listing {
		found, err := p.lookListed(ctx)
		if c.listing && err == nil {
			return found, nil
		}
	}
	return p.lookAtImages(ctx)
}

// lookListed asks for the clocks of the media that the service has just received.
func (p *Poller) lookListed(ctx context.Context) (found bool, err error) {
	c := &p.camera
	now := p.serviceNow()
	from := now.Add(-recently)
	if c.live {
		// What was received before may have the time of another clock.
		from = max(from, c.edge.Add(c.trail)+1)
	}
	trail, found, err := p.trail(ctx, from)
	if err != nil || !c.listing || p.unsure() {
		return false, err
	}
	if p.nothing(found); found {
		p.setTrail(trail)
		c.edge = max(c.edge, p.now())
	}
	return found, nil
}

// trail asks the service how far the camera's clock is behind. It never asks again if that
// is not permitted.
func (p *Poller) trail(ctx context.Context, from source.Slot) (time.Duration, bool, error) {
	trail, ok, err := p.camera.trailer.Trail(ctx, from, p.serviceNow())
	if errors.Is(err, source.ErrRefused) {
		p.camera.listing = false
		return 0, false, nil
	}
	return trail, ok, err
}

// lookAtImages looks for the newest image by either clock.
func (p *Poller) lookAtImages(ctx context.Context) (found bool, err error) {
	c := &p.camera
	before := c.edge
	after := before
	if after != 0 {
		// The fragment of the newest media may last until the next slot.
		after = after.Add(p.ledger.Grid().Interval() + edgeStep)
	}
	trail, edge, found, err := p.compare(ctx, after)
	switch {
	case p.unsure():
		return false, err
	case err != nil || edge == 0:
		return false, err
	case before == 0 && (trail-c.trail).Abs() > tolerance:
		// It may be the end of old media. What comes after it has just arrived.
		c.edge = edge
	case found:
		p.setTrail(trail)
		c.edge = edge
		return true, nil
	}
	c.pause.Reset()
	return false, nil
}

// compare looks for the newest image by either clock, by the camera's after an instant. edge
// is that of the camera, 0 if there is none. It returns false if it is not known what the
// service has received by then.
func (p *Poller) compare(ctx context.Context, after source.Slot) (trail time.Duration, edge source.Slot, found bool, err error) {
	c := &p.camera
	received, err := p.newestReceived(ctx)
	if err != nil {
		return 0, 0, false, err
	}
	some := received != 0 && !(c.live && received <= c.edge.Add(c.trail+edgeStep) && c.silent)
	if p.nothing(some); !some {
		return 0, 0, false, nil
	}
	edge, err = p.search(ctx, after, received.Add(-c.trail))
	if err != nil || edge <= after {
		return 0, 0, false, err
	}
	again, err := p.receivedSince(ctx, received)
	if err != nil {
		return 0, 0, false, err
	}
	// The edge was seen between the two.
	passed := again.Sub(received)
	return received.Sub(edge) + passed/2, edge, passed <= tolerance, nil
}

// setTrail sets how far the camera's clock is behind, when media of that clock has been
// found. If the clock was set ahead, there is no media of the time between, and its slots
// end at once. If it was set back, the slots of the time that it repeats have ended
// already, except those after the newest media, which wait for it.
func (p *Poller) setTrail(trail time.Duration) {
	c := &p.camera
	p.clockTrail.Store(int64(trail))
	if (trail - c.trail).Abs() <= tolerance {
		trail = c.trail
	}
	ahead := c.trail - trail
	old := p.serviceNow().Add(-c.trail) // the present by the clock as it was
	first := !c.live
	c.trail, c.found, c.live, c.silent, c.off, c.empty = trail, true, true, false, false, 0
	c.measure, c.delay = p.serviceNow().Add(measureAgain), 0
	p.setOffset(trail)
	if ahead != 0 {
		p.recheckAt, p.listAgain, p.misses, p.shown = 0, 0, 0, shown{}
	}
	if first && p.opts.FromNow {
		p.ledger.Begin(p.ledger.Stats().Start.Add(-trail))
	} else if ahead > 0 && p.newest != 0 {
		p.extend(p.now())
		p.ledger.GiveUpWithin(old+1, p.newest.Add(ahead-tolerance), source.NoMedia)
	}
}

// setOffset sets how far the poller's present is behind the service's.
func (p *Poller) setOffset(d time.Duration) {
	p.offset.Store(int64(d))
	p.located.Store(p.camera.found && d == p.camera.trail)
}

// followDrift corrects how far the camera's clock is behind while media flows. Where
// fragments cannot be listed, a drift shows as a longer delay.
func (p *Poller) followDrift(ctx context.Context) {
	c := &p.camera
	if !c.listing {
		p.followDelay(ctx)
		return
	}
	now := p.serviceNow()
	if now < c.measure {
		return
	}
	c.measure = now.Add(measureAgain)
	trail, ok, err := p.trail(ctx, now.Add(-recently))
	drift := trail - c.trail
	if err != nil || !ok {
		return
	}
	p.clockTrail.Store(int64(trail))
	if drift.Abs() > tolerance {
		p.shift(drift)
	}
}

// followDelay compares the clocks by images if media becomes visible much later than it did,
// or earlier than it can.
func (p *Poller) followDelay(ctx context.Context) {
	c, delay := &p.camera, p.estimate.delay
	if !p.estimate.bounded || !c.live || p.opts.Lag != Auto {
		return
	}
	if c.delay == 0 {
		c.delay = delay
	}
	now := p.serviceNow()
	if (delay-c.delay).Abs() <= mostDrift && delay >= leastDelay || now < c.measure {
		return
	}
	c.measure = now.Add(measureAgain)
	trail, _, found, err := p.compare(ctx, p.newest.Add(-p.longestFragment()))
	if err != nil || !found {
		return
	}
	c.delay = 0
	p.clockTrail.Store(int64(trail))
	if drift := trail - c.trail; drift.Abs() > tolerance {
		p.shift(drift)
	}
}

// shift moves the present back by d. Only what is believed changes, so media is visible
// at the same instants as before.
func (p *Poller) shift(d time.Duration) {
	p.camera.trail += d
	p.setOffset(p.camera.trail)
	p.estimate.delay = max(p.estimate.delay-d, time.Millisecond)
	p.recheckAt, p.listAgain = p.recheckAt.Add(-d), p.listAgain.Add(-d)
}
