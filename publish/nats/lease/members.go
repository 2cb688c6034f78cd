package lease

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// A Member is a member of a group.
type Member struct {
	Name string
	// Weight is its share of the streams.
	Weight float64
}

// memberText is the JSON of a member in the bucket.
type memberText struct {
	Weight float64 `json:"weight"`
	// Lease in seconds. Without a renewal the member is gone after that.
	Lease float64 `json:"lease"`
	// Released are the keys of the streams that it has released since the last renewal.
	Released []string `json:"released,omitempty"`
}

// maxHints is how many keys of released streams are kept until somebody asks for them.
const maxHints = 100_000

// What a member may say of itself, and how many there may be. Far beyond what any group has,
// these keep one bad value from taking all streams, or from never expiring.
const (
	maxMembers = 1000
	maxWeight  = 1e9
	maxLease   = time.Hour
)

// decodeMember reads a value of the bucket, which anybody may have written who is allowed to.
func decodeMember(value []byte) (memberText, error) {
	var text memberText
	if err := json.Unmarshal(value, &text); err != nil {
		return memberText{}, err
	}
	switch {
	case text.Weight < 0 || text.Weight > maxWeight:
		return memberText{}, fmt.Errorf("the weight %v is out of range", text.Weight)
	case text.Lease < MinDuration.Seconds() || text.Lease > maxLease.Seconds():
		return memberText{}, fmt.Errorf("a lease of %v s is out of range", text.Lease)
	}
	return text, nil
}

// members are the members of a group, as the bucket has reported them.
type members struct {
	self  string
	lease time.Duration

	mu       sync.Mutex
	all      map[string]seen
	revision uint64    // the newest that was seen
	at       time.Time // when it was written, by the server's clock
	own      time.Time // when our own key was last seen, by this process's clock
	hints    []string  // keys of streams that others have released
}

// seen is a member as of its last renewal.
type seen struct {
	Member
	lease time.Duration
	at    time.Time // by the server's clock
}

func newMembers(self string, lease time.Duration) *members {
	return &members{self: self, lease: lease, all: map[string]seen{}}
}

// Members returns the members, this one included, sorted by name. They are fresh unless
// the bucket has reported nothing for the length of a lease.
func (l *Leases) Members() (all []Member, fresh bool) { return l.members.list(time.Now()) }

// TakeReleased returns the keys of the streams that other members have released since the
// last call.
func (l *Leases) TakeReleased() []string { return l.members.takeHints() }

func (m *members) list(now time.Time) ([]Member, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Member
	for _, s := range m.all {
		if m.alive(s) {
			all = append(all, s.Member)
		}
	}
	slices.SortFunc(all, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	_, in := m.all[m.self]
	return all, in && now.Sub(m.own) < m.lease
}

// alive tells whether a member has not expired. The server reports members that have, but
// that report can be missed.
func (m *members) alive(s seen) bool { return m.at.Sub(s.at) < 2*s.lease }

// has tells whether there is a member of this name, as of which revision.
func (m *members) has(name string) (bool, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.all[name]
	return ok && m.alive(s), m.revision
}

// clock returns the newest time of the server's clock that was seen.
func (m *members) clock() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at
}

func (m *members) takeHints() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	hints := m.hints
	m.hints = nil
	return hints
}

// A change is a report of the bucket about a member.
type change struct {
	name     string
	value    []byte
	gone     bool
	revision uint64
	at       time.Time
}

// apply applies a change, and tells whether it matters to other members.
func (m *members) apply(c change, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision = max(m.revision, c.revision)
	if c.at.After(m.at) {
		m.at = c.at
	}
	before, known := m.all[c.name]
	var text memberText
	if !c.gone {
		var err error
		text, err = decodeMember(c.value)
		c.gone = err != nil || !known && len(m.all) >= maxMembers // not written by a member
	}
	if c.gone {
		delete(m.all, c.name)
		return known
	}
	if c.name == m.self {
		m.own = now
	} else if len(m.hints) < maxHints {
		m.hints = append(m.hints, text.Released[:min(len(text.Released), maxHints-len(m.hints))]...)
	}
	s := seen{Member: Member{c.name, text.Weight}, lease: time.Duration(text.Lease * float64(time.Second)), at: c.at}
	m.all[c.name] = s
	return !known || before.Weight != s.Weight || len(text.Released) > 0
}

// restart forgets how new the reports were: those of another bucket count from 1 again.
func (m *members) restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision = 0
}

// replace replaces all members by those in the first reports of a new watch.
func (m *members) replace(all []change, now time.Time) {
	m.mu.Lock()
	m.all = map[string]seen{}
	m.mu.Unlock()
	for _, c := range all {
		m.apply(c, now)
	}
}

// stale tells whether the bucket has reported nothing for so long that a new watch is
// needed.
func (m *members) stale(since, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.own.After(since) {
		since = m.own
	}
	return now.Sub(since) > m.lease
}

// watch keeps the members up to date until ctx ends.
func (l *Leases) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if err := l.follow(ctx); err != nil && ctx.Err() == nil {
			l.opts.Logger.Debug("the members of the group cannot be watched, trying again", "err", err)
		}
		_ = pacing.Sleep(ctx, l.opts.Lease/12) // the loop looks at the context
	}
}

// follow applies the reports of the bucket until our own renewals have not been among
// them for the length of a lease.
func (l *Leases) follow(ctx context.Context) error {
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	const names = "m."
	w, err := l.kv.Watch(asking, l.prefix+names+"*")
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }() // fails only with the connection
	tick := time.NewTicker(l.opts.Lease / 4)
	defer tick.Stop()
	begin := time.Now()
	var initial []change
	complete := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if l.members.stale(begin, now) {
				return dial.ErrNotConnected
			}
		case e, more := <-w.Updates():
			switch {
			case !more:
				return dial.ErrNotConnected
			case e == nil:
				l.members.replace(initial, time.Now())
				complete = true
				l.tell()
			case !complete:
				initial = append(initial, l.change(e, names))
			case l.members.apply(l.change(e, names), time.Now()):
				l.tell()
			}
		}
	}
}

func (l *Leases) change(e jetstream.KeyValueEntry, names string) change {
	return change{
		name: dial.DecodeKey(e.Key()[len(l.prefix)+len(names):]), value: e.Value(),
		gone: e.Operation() != jetstream.KeyValuePut, revision: e.Revision(), at: e.Created(),
	}
}
