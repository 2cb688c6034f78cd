package health

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	// patience is how much longer than a missing slot is waited for a stream may stand still:
	// that there is no media is believed only when several looks have said so.
	patience = time.Minute
	// darkFor is how much of the slots has to end without a tensor until there are no frames.
	darkFor = 10 * time.Second
	// calm is how long no slot must be lost until gaps are over.
	calm = time.Minute
	// slack is how much later than its lag and grace explain a stream may be.
	slack = 10 * time.Second
	// compare is how often it is looked whether a stream that is behind catches up.
	compare = time.Minute
	// unheardFor is how long frames have to come without a listener until there is none.
	unheardFor = 10 * time.Second
	// heldFor is how long NATS may store nothing of what a stream has for it: as long as two
	// attempts take.
	heldFor = 10 * time.Second
	// unseen is how much of the time between two snapshots counts at most: a process that was
	// stopped has waited for nothing meanwhile.
	unseen = 3 * time.Second
	// fullFor is how long a stream has to stand still until that is because NATS is full.
	fullFor = 5 * time.Second
	// movedFor is how long it is told that an endpoint has moved.
	movedFor = time.Minute
)

// A memory is what is known of a stream's past.
type memory struct {
	latches

	first time.Time    // when it was seen first
	last  source.Stats // of the snapshot before
	at    time.Time    // that of the snapshot before
	// held is for how long NATS has had something of it in hand, and has stored nothing.
	held time.Duration
	// moved is when its cursor last moved, or nothing was pending.
	moved time.Time
	// flowed is when a frame last came, zero for never, and newest where the cursor was then.
	flowed time.Time
	newest source.Slot
	// heard is when somebody listened last: a slot was published, or unchanged.
	heard time.Time
	// lost is when a slot was last lost, zero for never, and as what.
	lost time.Time
	as   source.Outcome
	// gaps counts the slots that were lost since a minute without any, by outcome, and dark
	// those since the last frame.
	gaps, dark tally
	// behind is how far it was behind at the time marked.
	behind time.Duration
	marked time.Time
	fell   bool // in the time before
}

// remember takes note of a stream, before anything is said of it or of the process.
func (m *Machine) remember(s *Stream, at time.Time) {
	mem := m.streams[s.Name]
	if mem == nil || s.Stats.Start != mem.last.Start && s.Stats.Rewound == mem.last.Rewound {
		fresh := &memory{first: at, at: at, moved: at, heard: at, newest: s.Stats.Cursor}
		fresh.last = source.Stats{Start: s.Stats.Start, Cursor: s.Stats.Cursor, Rewound: s.Stats.Rewound}
		if mem != nil {
			fresh.latches = mem.latches
		}
		mem = fresh
		m.streams[s.Name] = mem
	}
	mem.observe(s, at)
}

// stream returns the report of a stream that was taken note of, and what has changed. cause
// are the reasons of the process.
func (m *Machine) stream(s *Stream, all *Snapshot, cause []Reason) (StreamReport, []Change) {
	mem := m.streams[s.Name]
	done := s.To != 0 && s.Stats.Cursor >= s.To
	var is []Reason
	if !done {
		is = mem.reasons(s, all, cause)
	}
	changes := mem.settle(all.At, is)
	r := StreamReport{State: OK, Reasons: mem.told()}
	if done {
		r.State = Done
		return r, changes
	}
	r.Flows = !mem.flowed.IsZero() && all.At.Sub(mem.flowed) <= s.window() && mem.held < heldFor
	for i, reason := range r.Reasons {
		rule := reason.Code.rule()
		if i == 0 {
			r.State = rule.state
		}
		r.Flows = r.Flows && !rule.blocks
	}
	if len(r.Reasons) == 0 && mem.flowed.IsZero() {
		r.State = Beginning // a reason is about to be told
	}
	return r, changes
}

// window is how long a stream may stand still: as long as a missing slot is waited for,
// and some more.
func (s *Stream) window() time.Duration { return max(s.Grace, s.Feed.Wait) + patience + s.step() }

// calm is how long no slot of it must be lost until gaps are over.
func (s *Stream) calm() time.Duration { return max(calm, 2*s.step()) }

// step is how far apart the slots are that are asked for at present.
func (s *Stream) step() time.Duration { return max(s.Interval, s.Feed.Pace) }

// observe takes note of what has happened since the snapshot before.
func (mem *memory) observe(s *Stream, at time.Time) {
	st := s.Stats
	if st.Cursor != mem.last.Cursor || st.Pending == 0 && !s.Feed.Unknown {
		mem.moved = at
	}
	mem.newest = min(mem.newest, st.Cursor)
	if s.Feed.Resting || s.Feed.Pace < 0 { // when it is read again, it flows until it turns out that it does not
		mem.moved, mem.flowed, mem.heard, mem.newest, mem.dark = at, at, at, st.Cursor, tally{}
	}
	mem.held += min(at.Sub(mem.at), unseen)
	if mem.at = at; !s.Delivering {
		mem.held = 0
	}
	if at.Sub(mem.lost) >= s.calm() {
		mem.gaps = tally{}
	}
	most := uint64(0)
	for _, o := range source.Outcomes() {
		n := st.Ended[o] - mem.last.Ended[o]
		switch {
		case n == 0, o == source.Skipped:
		case !o.Lost(): // a frame came
			mem.flowed, mem.newest, mem.held, mem.dark = at, st.Cursor, 0, tally{}
			if o == source.Published || o == source.Unchanged {
				mem.heard = at
			}
		default:
			mem.gaps[o] += n
			mem.dark[o] += n
			if n > most {
				mem.lost, mem.as, most = at, o, n
			}
		}
	}
	mem.last = st
}

// reasons returns what is so of a stream that has not ended.
func (mem *memory) reasons(s *Stream, all *Snapshot, cause []Reason) []Reason {
	var is []Reason
	blocked := false
	add := func(c Code, since time.Time, detail string) {
		is = append(is, Reason{c, since, detail})
		blocked = blocked || c.rule().blocks
	}
	standing := all.At.Sub(mem.moved) > s.window()
	// What failed before the stream came to rest is not tried any more.
	if s.Problem != nil && !s.Feed.Resting && s.Feed.Pace >= 0 {
		code, detail := codeOf(s.Problem)
		add(code, time.Time{}, detail)
	}
	switch {
	case s.Feed.Resting && !all.Deaf:
		add(Resting, time.Time{}, "")
		return is
	case s.Feed.Pace < 0 && !all.Deaf:
		add(BudgetSpent, time.Time{}, s.Budget.Detail)
		return is
	case all.Deaf:
		add(NATSAway, time.Time{}, "")
	case has(cause, StreamFull) && all.At.Sub(mem.moved) > fullFor+s.step():
		add(StreamFull, mem.moved, "")
	case mem.held >= heldFor:
		add(whyHeld(cause), all.At.Add(-mem.held), "")
		blocked = true
	case standing:
		c := mem.why(s, cause)
		if c != Stalled || s.Problem == nil {
			add(c, mem.moved, "")
		}
	case s.Stats.Cursor.Time().Sub(mem.newest.Time()) >= max(darkFor, 3*s.step()) && !mem.lost.IsZero():
		add(codeOfOutcome(mem.as), mem.flowed, mem.lastFrame(s))
	case !mem.lost.IsZero() && all.At.Sub(mem.lost) < s.calm():
		add(Gaps, time.Time{}, mem.gaps.text())
	}
	if c, behind := mem.pace(s, all); c != "" && !blocked && !blocks(cause) {
		detail := "at " + clock(s.Stats.Cursor.Time(), all.Now) + ", " + Span(behind) + " behind"
		if c == FallingBehind && all.Cores != "" {
			detail = all.Cores + "; " + detail
		}
		add(c, time.Time{}, detail)
	}
	if !blocked && mem.flowed.IsZero() {
		add(Starting, mem.first, "")
	}
	if !mem.flowed.IsZero() && mem.flowed.Sub(mem.heard) > unheardFor+2*s.step() {
		add(NoListener, time.Time{}, "")
	}
	if c := codeOfBudget(s.Budget); c != "" && c != BudgetSpent { // which the feed has not seen yet
		add(c, time.Time{}, s.Budget.Detail)
	}
	if !s.Moved.IsZero() && all.At.Sub(s.Moved) < movedFor {
		add(EndpointMoved, s.Moved, "")
	}
	return is
}

// why returns why a stream stands still.
func (mem *memory) why(s *Stream, cause []Reason) Code {
	for _, c := range []Code{StoreLost, NotStored, NATSNotReady} {
		if has(cause, c) {
			return c
		}
	}
	if s.Feed.Unknown {
		return CameraClock
	}
	return Stalled
}

// whyHeld returns why NATS does not store what a stream has for it.
func whyHeld(cause []Reason) Code {
	for _, c := range []Code{NATSAway, NATSNotReady, StreamFull} {
		if has(cause, c) {
			return c
		}
	}
	return NotStored
}

func has(all []Reason, c Code) bool {
	return slices.ContainsFunc(all, func(r Reason) bool { return r.Code == c })
}

// pace returns whether a stream is late, and then whether it catches up, and how far it is
// behind. One that does not flow does neither; its media is overdue if no slot ends.
func (mem *memory) pace(s *Stream, all *Snapshot) (Code, time.Duration) {
	behind := all.Now.Add(-s.Feed.Trail).Sub(s.Stats.Cursor.Time())
	late := behind > s.Feed.Lag+s.Grace+s.step()+slack
	// Not if frames that have come wait for something else.
	waits := s.InHand || s.Feed.HeldBytes > 0
	still := late && !waits && all.At.Sub(mem.moved) > s.Feed.Lag+s.step()+slack
	if !late || still || all.At.Sub(mem.flowed) > compare {
		mem.marked, mem.fell = time.Time{}, false
	}
	switch {
	case still && !mem.flowed.IsZero():
		return Overdue, behind
	case !late || all.At.Sub(mem.flowed) > compare:
		return "", behind
	case mem.marked.IsZero():
		mem.behind, mem.marked = behind, all.At
	case all.At.Sub(mem.marked) >= compare:
		mem.fell = behind > mem.behind
		mem.behind, mem.marked = behind, all.At
	}
	if mem.fell {
		return FallingBehind, behind
	}
	return CatchingUp, behind
}

// lastFrame says what became of the slots since the last frame, and when that was.
func (mem *memory) lastFrame(s *Stream) string {
	text := "lost since then: " + mem.dark.text()
	if s.Stats.Newest != 0 {
		text += "; the newest tensor is of " + s.Stats.Newest.String()
	}
	return text
}

// A tally is how many slots were lost, by outcome.
type tally [len(source.Stats{}.Ended)]uint64

// text returns the outcomes in words, the most frequent one first.
func (t tally) text() string {
	all := slices.DeleteFunc(source.Outcomes(), func(o source.Outcome) bool { return t[o] == 0 })
	slices.SortStableFunc(all, func(a, b source.Outcome) int { return cmp.Compare(t[b], t[a]) })
	parts := make([]string, len(all))
	for i, o := range all {
		parts[i] = fmt.Sprintf("%d %s", t[o], strings.ReplaceAll(o.String(), "_", " "))
	}
	return strings.Join(parts, ", ")
}

// codeOf returns the code of an error of a stream, and its cause: what precedes the error's
// kind comes last.
func codeOf(err error) (Code, string) {
	for _, kind := range []struct {
		is   error
		code Code
	}{
		{source.ErrRefused, Refused},
		{source.ErrExpired, Refused},
		{source.ErrNoStream, StreamGone},
		{source.ErrUnconfirmed, EndpointDoubted},
		{source.ErrThrottled, Throttled},
	} {
		if !errors.Is(err, kind.is) {
			continue
		}
		before, cause, some := strings.Cut(err.Error(), kind.is.Error()+": ")
		switch {
		case !some:
			return kind.code, strings.TrimPrefix(err.Error(), kind.is.Error())
		case before == "":
			return kind.code, cause
		}
		return kind.code, cause + " (" + strings.TrimSuffix(before, ": ") + ")"
	}
	return Unreadable, err.Error()
}

func codeOfOutcome(o source.Outcome) Code {
	switch o {
	case source.MediaError:
		return MediaError
	case source.Undecodable:
		return Undecodable
	case source.Stale:
		return Stale
	case source.Dropped:
		return Dropped
	}
	return CameraSilent
}

// clock returns the time of day in UTC, with the date unless that is today's.
func clock(t, now time.Time) string {
	if t.UTC().Format(time.DateOnly) == now.UTC().Format(time.DateOnly) {
		return t.UTC().Format("15:04:05 UTC")
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
