package lease

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// A Member is one of a group.
type Member struct {
	Name string
	// Weight is its part of the streams.
	Weight float64
}

// memberText is a member in the bucket.
type memberText struct {
	Weight float64 `json:"weight"`
	// Lease in seconds, after which it is gone without a renewal.
	Lease float64 `json:"lease"`
	// Released are the keys of the streams that it has given free since the renewal
	// before.
	Released []string `json:"released,omitempty"`
}

// maxHints bounds the keys of released streams that nobody asks for.
const maxHints = 100_000

// members are a group as the bucket has told of it.
type members struct {
	self  string
	lease time.Duration

	mu       sync.Mutex
	all      map[string]seen
	revision uint64    // of the newest that was seen
	at       time.Time // of it, by the server's clock
	own      time.Time // when the own key was seen last, by this process's clock
	hints    []string  // keys of streams that others have released
}

// seen is a member at its last renewal.
type seen struct {
	Member
	lease time.Duration
	at    time.Time // by the server's clock
}

func newMembers(self string, lease time.Duration) *members {
	return &members{self: self, lease: lease, all: map[string]seen{}}
}

// Members returns the members by name, this one among them, and whether that is how
// they are now: it is not where nothing was heard of the bucket for a lease.
func (l *Leases) Members() (all []Member, fresh bool) { return l.members.list(time.Now()) }

// TakeReleased returns the keys of streams that others have released since the last
// call.
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

// alive tells whether a member has not expired long ago: the server marks those that
// have, but a mark may be gone before it was seen.
func (m *members) alive(s seen) bool { return m.at.Sub(s.at) < 2*s.lease }

// has tells whether there is a member of this name, and up to which revision that is
// known.
func (m *members) has(name string) (bool, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.all[name]
	return ok && m.alive(s), m.revision
}

// clock returns the newest time of the server that was seen.
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

// A change is what the bucket tells of a member.
type change struct {
	name     string
	value    []byte
	gone     bool
	revision uint64
	at       time.Time
}

// apply takes note of a change, and tells whether it matters to others than its
// member.
func (m *members) apply(c change, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision = max(m.revision, c.revision)
	if c.at.After(m.at) {
		m.at = c.at
	}
	before, known := m.all[c.name]
	var text memberText
	if !c.gone && json.Unmarshal(c.value, &text) != nil {
		c.gone = true // it is none of ours
	}
	if c.gone {
		delete(m.all, c.name)
		return known
	}
	if c.name == m.self {
		m.own = now
	} else if len(m.hints) < maxHints {
		m.hints = append(m.hints, text.Released...)
	}
	s := seen{Member: Member{c.name, text.Weight}, lease: time.Duration(text.Lease * float64(time.Second)), at: c.at}
	m.all[c.name] = s
	return !known || before.Weight != s.Weight || len(text.Released) > 0
}

// replace puts those members in place of all, with what was seen of them at first.
func (m *members) replace(all []change, now time.Time) {
	m.mu.Lock()
	m.all = map[string]seen{}
	m.mu.Unlock()
	for _, c := range all {
		m.apply(c, now)
	}
}

// stale tells whether nothing was heard of the bucket for so long that it has to be
// watched anew.
func (m *members) stale(since, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.own.After(since) {
		since = m.own
	}
	return now.Sub(since) > m.lease
}

// watch follows the members until ctx ends.
func (l *Leases) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if err := l.follow(ctx); err != nil && ctx.Err() == nil {
			l.opts.Logger.Debug("the members of the group cannot be watched, trying again", "err", err)
		}
		dial.Pause(ctx, l.opts.Lease/12)
	}
}

// follow takes note of what the bucket tells, until it has not told of the own
// renewals for a lease.
func (l *Leases) follow(ctx context.Context) error {
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	const names = "m."
	w, err := l.kv.Watch(asking, l.prefix+names+"*")
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }() // it only fails with the connection
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
