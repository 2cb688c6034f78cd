package lease

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMembers tells a group from what the bucket says of it, by the server's clock.
func TestMembers(t *testing.T) {
	zero := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const lease = 6 * time.Second
	m := newMembers("me", lease)
	revision := uint64(0)
	renew := func(name string, weight float64, at time.Duration, released string) bool {
		revision++
		value := fmt.Sprintf(`{"weight":%v,"lease":6,"released":[%s]}`, weight, released)
		return m.apply(change{name: name, value: []byte(value), revision: revision, at: zero.Add(at)}, zero.Add(at))
	}
	gone := func(name string, at time.Duration) bool {
		revision++
		return m.apply(change{name: name, gone: true, revision: revision, at: zero.Add(at)}, zero.Add(at))
	}
	names := func(at time.Duration) string {
		all, fresh := m.list(zero.Add(at))
		text := ""
		for _, member := range all {
			text += fmt.Sprint(member.Name, member.Weight, " ")
		}
		if !fresh {
			text += "stale"
		}
		return text
	}
	steps := []struct {
		name    string
		matters bool
		want    bool
		at      time.Duration
		members string
	}{
		{"another joins", renew("a", 2, 0, ""), true, 0, "a2 stale"},
		{"this one joins", renew("me", 1, 0, ""), true, 0, "a2 me1 "},
		{"a renewal", renew("a", 2, 2*time.Second, ""), false, 2 * time.Second, "a2 me1 "},
		{"a release", renew("a", 2, 3*time.Second, `"cam-1"`), true, 3 * time.Second, "a2 me1 "},
		{"a weight", renew("a", 3, 4*time.Second, ""), true, 4 * time.Second, "a3 me1 "},
	}
	for i, s := range steps {
		if s.matters != s.want {
			t.Errorf("%s: it matters: %v", s.name, s.matters)
		}
		if i == len(steps)-1 && names(s.at) != s.members {
			t.Errorf("%s: %q", s.name, names(s.at))
		}
	}
	if diff := cmp.Diff([]string{"cam-1"}, m.takeHints()); diff != "" {
		t.Error(diff)
	}
	if got := names(lease); got != "a3 me1 stale" {
		t.Errorf("without a renewal of our own: %q", got)
	}
	// No mark tells that a has expired, only the time of others.
	renew("me", 1, 4*time.Second+2*lease, "")
	if got := names(4*time.Second + 2*lease); got != "me1 " {
		t.Errorf("a has expired long ago: %q", got)
	}
	if is, _ := m.has("a"); is {
		t.Error("it is a member")
	}
	if !gone("a", 4*time.Second+2*lease) || gone("a", 4*time.Second+2*lease) {
		t.Error("a mark matters once")
	}
	if is, at := m.has("me"); !is || at != revision {
		t.Errorf("has(me) is %v at %d", is, at)
	}
	if m.apply(change{name: "x", value: []byte("?"), revision: 99}, zero) {
		t.Error("a key of somebody else's is a member")
	}
	if !m.stale(zero, zero.Add(4*time.Second+3*lease+1)) || m.stale(zero.Add(4*time.Second+3*lease), zero.Add(4*time.Second+3*lease+1)) {
		t.Error("the watch is stale a lease after the last own renewal, or its beginning")
	}
}

// TestLeasesEnd: leases that have ended are not brought back by a late answer.
func TestLeasesEnd(t *testing.T) {
	l := &Leases{opts: Options{}.withDefaults(), changed: make(chan struct{}, 1), records: map[string]*record{}}
	l.expiry = time.AfterFunc(time.Hour, func() {})
	defer l.expiry.Stop()
	now := time.Now()
	l.extend(now.Add(time.Minute), now)
	l.records["cam"] = &record{}
	if !l.Holds("cam") {
		t.Error("it is not held")
	}
	l.extend(now.Add(2*time.Minute), now.Add(59*time.Second))
	if !l.Holds("cam") {
		t.Error("a renewal in time ends it")
	}
	l.extend(now.Add(10*time.Minute), now.Add(2*time.Minute))
	if l.Holds("cam") || len(l.Unsure()) != 1 {
		t.Error("a renewal that came too late brings it back")
	}
	select {
	case <-l.Changed():
	default:
		t.Error("nobody is told")
	}
}
