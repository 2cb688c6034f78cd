package cluster_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/cluster"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
)

// TestPlacement: shares are in proportion to the weights, and when a member joins or
// leaves, only the streams that it gains or had are moved.
func TestPlacement(t *testing.T) {
	const streams = 20_000
	var members []lease.Member
	total := 0.0
	for i := range 10 {
		weight := float64(1 + i%3)
		members = append(members, lease.Member{Name: fmt.Sprintf("host-%d", i), Weight: weight})
		total += weight
	}
	all, without := cluster.NewPlacement(members), cluster.NewPlacement(members[1:])
	parts := map[string]int{}
	for i := range streams {
		key := fmt.Sprintf("cam-%d", i)
		owner := all.Owner(key)
		parts[owner]++
		if owner != members[0].Name && without.Owner(key) != owner {
			t.Errorf("%s moves from %s to %s, as %s leaves", key, owner, without.Owner(key), members[0].Name)
		}
	}
	for _, m := range members {
		want := streams * m.Weight / total
		// Five standard deviations.
		if got := float64(parts[m.Name]); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("%s has %v streams, want about %v", m.Name, got, want)
		}
	}
	idle := []lease.Member{{Name: "leaving"}, {Name: "stays", Weight: 0.1}}
	if got := cluster.NewPlacement(idle).Owner("cam"); got != "stays" {
		t.Errorf("it is %q's", got)
	}
	if got := cluster.NewPlacement(nil).Owner("cam"); got != "" {
		t.Errorf("it is %q's, of nobody", got)
	}
}

func TestMaxMoves(t *testing.T) {
	for running, want := range map[int]int{0: 2, 10: 2, 100: 5, 100_000: 50} {
		if got := cluster.MaxMoves(running); got != want {
			t.Errorf("of %d, %d at a time", running, got)
		}
	}
}

// TestScale: the weight follows the measurements in steps, once two of them agree.
func TestScale(t *testing.T) {
	s := cluster.NewScale(4)
	var busy time.Duration
	var frames uint64
	for i, m := range []struct {
		frames uint64
		each   time.Duration
		want   float64
	}{
		{50, time.Second, 320},             // too few
		{1000, 12 * time.Millisecond, 320}, // as usual
		{1000, 11 * time.Millisecond, 320},
		{1000, 30 * time.Millisecond, 320}, // slow, once
		{1000, 12 * time.Millisecond, 320},
		{1000, 29 * time.Millisecond, 320},
		{1000, 31 * time.Millisecond, 80 * 1.5}, // and again: 4 cores of 32 a second
		{1000, 6 * time.Millisecond, 80 * 1.5},
		{1000, 6 * time.Millisecond, 80 * math.Pow(1.5, 5)},
	} {
		busy, frames = busy+time.Duration(m.frames)*m.each, frames+m.frames
		if i == 0 {
			busy, frames = 0, 0
		}
		if got := s.Weigh(busy, frames); math.Abs(got-m.want) > 0.01 {
			t.Errorf("%d: the weight is %v, want %v", i, got, m.want)
		}
	}
}
