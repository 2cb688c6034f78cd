// Package health decides how well the process and each of its streams are, and why not. It
// is the only place that does: /readyz, the status page and its API, the log and the metric
// cvfeeder_not_ready read what it says.
//
//	m := health.New(health.Any)
//	for range time.Tick(time.Second) {
//		report, changes := m.Observe(snapshot())
//		…
//	}
//
// It is a state machine without a clock and without I/O: a [Snapshot] says what is known at
// one instant, and the [Report] tells what follows from it and from those before. A reason
// has to last before it is told, and to be gone for a while before it is told to be over,
// so that what flaps is told once.
//
// There is one rule of readiness: something is expected here, and it flows. A replica
// whose streams are all run by others expects nothing, and is ready. What a single stream
// lacks matters to readiness only if no other flows, unless all are needed, or none: see [Need].
package health

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Need is how many of the streams have to flow for the process to be ready.
type Need string

// The needs.
const (
	Any  Need = "any"  // one is enough: readiness is about the process, and cameras are for alerts
	All  Need = "all"  // each of those that have begun
	None Need = "none" // not even one: only what is so of the process counts
)

// clockOff is from which difference on the host's clock is wrong, and remadeFor how long
// something that was lost is told.
const (
	clockOff  = time.Second
	remadeFor = time.Minute
	// troubleFor is how long after a failure to publish the next one has come, if it lasts.
	troubleFor = 15 * time.Second
)

// A Machine knows the past that the present is to be judged by. Its methods must not be
// called concurrently.
type Machine struct {
	need    Need
	process latches
	streams map[string]*memory
	losses  uint64    // of the last snapshot
	lost    time.Time // when something was lost that NATS had stored
	at      time.Time // that of the last snapshot
}

// New returns a machine.
func New(n Need) *Machine { return &Machine{need: n, streams: map[string]*memory{}} }

// A Change is a reason that has begun or ended.
type Change struct {
	Reason
	// Stream is the stream's name, "" for the process.
	Stream string
	// Over says that the reason has ended.
	Over bool
}

// Observe returns the report of a snapshot, which is newer than all before, and what has
// changed that the log should tell.
func (m *Machine) Observe(s Snapshot) (Report, []Change) {
	r := Report{At: s.At, Streams: make(map[string]StreamReport, len(s.Streams))}
	if s.Lost != m.losses {
		m.losses, m.lost = s.Lost, s.At
	}
	for i := range s.Streams {
		m.remember(&s.Streams[i], s.At)
	}
	changes := append(m.paused(s.At), m.process.settle(s.At, m.ofProcess(s))...)
	r.Reasons = m.process.told()
	for i := range s.Streams {
		one, changed := m.stream(&s.Streams[i], &s, r.Reasons)
		r.Streams[s.Streams[i].Name] = one
		for _, c := range changed {
			if !c.Code.ofProcess() || c.Code.ofBudget() && codeOfBudget(s.Budget) == "" { // otherwise the process has told it already
				c.Stream = s.Streams[i].Name
				changes = append(changes, c)
			}
		}
	}
	for name := range m.streams {
		if _, is := r.Streams[name]; !is {
			delete(m.streams, name)
		}
	}
	if r.Ready = m.ready(s, r); !r.Ready && !r.explained() {
		m.explain(&r)
	}
	return r, slices.DeleteFunc(changes, func(c Change) bool { return c.Code.rule().silent })
}

// paused returns that nobody has looked for a long time, until now: the process was stopped, or
// hung. Meanwhile nobody could tell the log.
func (m *Machine) paused(at time.Time) []Change {
	last := m.at
	m.at = at
	if last.IsZero() || at.Sub(last) <= stuckAfter {
		return nil
	}
	was := Reason{Code: Stuck, Since: last, Detail: "nothing has run for " + Span(at.Sub(last))}
	return []Change{{Reason: was}, {Reason: was, Over: true}}
}

// ofProcess returns what is so of the process.
func (m *Machine) ofProcess(s Snapshot) []Reason {
	var all []Reason
	is := func(so bool, c Code, detail string) {
		if so {
			all = append(all, Reason{Code: c, Detail: detail})
		}
	}
	is(s.Stopping, Stopping, "")
	is(!s.Opened && !s.Stopping, Starting, "")
	is(len(s.Down) > 0, NATSAway, strings.Join(s.Down, ", "))
	is(s.Waiting != "" && len(s.Down) == 0, NATSNotReady, s.Waiting)
	if !s.Deaf && len(s.Down) == 0 {
		all = append(all, m.held(s)...)
	}
	for _, t := range s.Troubles {
		is(s.At.Sub(t.At) < troubleFor && !s.Deaf, t.Code, t.Detail)
	}
	is(!m.lost.IsZero() && s.At.Sub(m.lost) < remadeFor, StoreLost, "")
	is(len(s.Unfound) > 0, PrefixUnknown, strings.Join(s.Unfound, "; "))
	nothing := len(s.Streams) == 0 && (s.Group == nil || s.Group.Streams == 0)
	is(s.Opened && !s.Stopping && nothing && len(s.Unfound) == 0, NoStreams, s.none())
	is(s.Opened && !s.Stopping && s.Group.lacks(), NoOwner, s.Group.detail())
	is(s.ClockOffset > clockOff, ClockAhead, "by "+Span(s.ClockOffset.Abs()))
	is(s.ClockOffset < -clockOff, ClockBehind, "by "+Span(s.ClockOffset.Abs()))
	if c := codeOfBudget(s.Budget); c != "" && len(s.Streams) > 0 {
		is(true, c, s.Budget.Detail)
	}
	return all
}

// codeOfBudget returns what is so of a budget, "" if there is enough of it.
func codeOfBudget(b Budget) Code {
	switch {
	case b.Spent && b.Slow:
		return BudgetSlow
	case b.Spent:
		return BudgetSpent
	case b.Low:
		return BudgetLow
	}
	return ""
}

// none says that there is no stream.
func (s *Snapshot) none() string {
	if len(s.Prefixes) == 0 {
		return ""
	}
	return "no name begins with " + strings.Join(s.Prefixes, ", ")
}

// held returns the reason that streams have something for NATS that it does not store,
// whatever it answers. It is none while NATS is known to be full.
func (m *Machine) held(s Snapshot) []Reason {
	n, longest := 0, time.Duration(0)
	for i := range s.Streams {
		if mem := m.streams[s.Streams[i].Name]; mem.held >= heldFor {
			n, longest = n+1, max(longest, mem.held)
		}
	}
	full := slices.ContainsFunc(s.Troubles, func(t Trouble) bool { return t.Code == StreamFull && s.At.Sub(t.At) < troubleFor })
	if n == 0 || full {
		return nil
	}
	return []Reason{{NotStored, s.At.Add(-longest), fmt.Sprintf("nothing of %d of %d streams for %s", n, len(s.Streams), Span(longest))}}
}

// explain adds to a report that the process is not ready the reasons that are so, but not for
// long enough to be told.
func (m *Machine) explain(r *Report) {
	r.Reasons = m.process.all()
	for name, one := range r.Streams {
		one.Reasons = m.streams[name].all()
		if len(one.Reasons) == 0 && !one.Flows && one.State != Done {
			one.Reasons = []Reason{{Stalled, r.At, ""}}
		}
		if len(one.Reasons) > 0 {
			one.State = one.Reasons[0].Code.rule().state
		}
		r.Streams[name] = one
	}
	if len(r.Streams) == 0 && !blocks(r.Reasons) && !has(r.Reasons, NoOwner) { // streams are about to begin
		r.Reasons = append([]Reason{{Starting, r.At, ""}}, r.Reasons...)
	}
}

// lacks tells whether streams that this replica should run do not run.
func (g *Group) lacks() bool { return g != nil && g.Streams > 0 && (g.Missing > 0 || !g.Known) }

func (g *Group) detail() string {
	if g == nil {
		return ""
	}
	text := fmt.Sprintf("%d of %d do not run", g.Missing, g.Mine)
	if !g.Known {
		text = "this replica does not know the members of its group"
	}
	if g.Problem != "" {
		text += ": " + g.Problem
	}
	return text
}

// ready applies the rule of readiness.
func (m *Machine) ready(s Snapshot, r Report) bool {
	if blocks(r.Reasons) || !s.Opened || s.Stopping {
		return false
	}
	if len(s.Streams) == 0 {
		return s.Group != nil && s.Group.Streams > 0 && s.Group.Known && s.Group.Mine == 0
	}
	if m.need == None {
		return true
	}
	flowing, held, done := 0, 0, 0
	for _, one := range r.Streams {
		switch {
		case one.State == Done:
			done++
		case one.Flows:
			flowing++
		case one.State != Beginning:
			held++
		}
	}
	if m.need == All && held > 0 {
		return false
	}
	return flowing > 0 || done == len(r.Streams)
}
