package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/cluster"
	"github.com/cvfeeder/cvfeeder/publish/natspub"
)

// What things take; docs/scaling.md tells from which measurements.
const (
	writeTime  = 3 * time.Millisecond // a read or write of a lease, R3
	parallel   = 64                   // of one replica at a time, as in internal/cluster
	leastDrain = 50 * time.Millisecond
	mostDrain  = time.Second // to finish what a camera has in flight
	markLate   = 330 * time.Millisecond
)

// A world is a group of replicas that run cameras.
type world struct {
	options
	rng     *rand.Rand
	keys    []string
	owner   []string // by camera: who runs it
	members []natspub.Member
	next    int // number of the next replica
}

// An event is what came of something that happened to the group.
type event struct {
	fair, moved, atOnce int
	took                time.Duration
	longest, median     time.Duration // that cameras were run by nobody
	writes              float64       // the most in a second
}

func newWorld(o options) *world {
	w := &world{options: o, rng: rand.New(rand.NewPCG(o.seed, 0))}
	for i := range o.cameras {
		w.keys = append(w.keys, fmt.Sprintf("cam-%d", i+1))
	}
	w.add(o.replicas)
	w.owner = w.placed()
	return w
}

func (w *world) add(n int) {
	for range n {
		w.next++
		w.members = append(w.members, natspub.Member{Name: fmt.Sprintf("host-%d-%08x", w.next, w.rng.Uint32()), Weight: cluster.Capacity(2)})
	}
}

// placed returns to whom each camera belongs.
func (w *world) placed() []string {
	p := cluster.NewPlacement(w.members)
	owners := make([]string, len(w.keys))
	for i, key := range w.keys {
		owners[i] = p.Owner(key)
	}
	return owners
}

// remove takes n replicas out of the group, and returns their names.
func (w *world) remove(n int) map[string]bool {
	gone := map[string]bool{}
	for range n {
		i := w.rng.IntN(len(w.members))
		gone[w.members[i].Name] = true
		w.members = slices.Delete(w.members, i, i+1)
	}
	return gone
}

// balance describes how many cameras the replicas have.
func (w *world) balance() string {
	n := map[string]float64{}
	for _, m := range w.members {
		n[m.Name] = 0
	}
	for _, o := range w.owner {
		n[o]++
	}
	mean := float64(len(w.owner)) / float64(len(n))
	least, most, squares := math.Inf(1), 0.0, 0.0
	for _, c := range n {
		least, most = min(least, c), max(most, c)
		squares += (c - mean) * (c - mean)
	}
	return fmt.Sprintf("balance: %.0f cameras a replica on average, from %.0f to %.0f, standard deviation %.1f",
		mean, least, most, math.Sqrt(squares/float64(len(n))))
}

func (w *world) join(n int) event {
	w.add(n)
	e := w.give()
	e.fair = n * w.cameras / len(w.members)
	return e
}

// weigh changes the weight of one replica.
func (w *world) weigh(factor float64) event {
	m := &w.members[w.rng.IntN(len(w.members))]
	before := m.Weight / w.weight()
	m.Weight *= factor
	e := w.give()
	e.fair = int(math.Abs(m.Weight/w.weight()-before) * float64(w.cameras))
	return e
}

func (w *world) weight() (sum float64) {
	for _, m := range w.members {
		sum += m.Weight
	}
	return sum
}

// A transfer is a camera on its way.
type transfer struct {
	camera         int
	to             string
	begin          time.Duration // when it stopped where it was
	released, runs time.Duration
}

// give has those replicas that have cameras of others give them away, a few at each
// step.
func (w *world) give() event {
	want := w.placed()
	leaving := map[string][]int{} // by replica
	running := map[string]int{}
	for i, o := range w.owner {
		running[o]++
		if want[i] != o {
			leaving[o] = append(leaving[o], i)
		}
	}
	step := w.lease / 12
	var all []transfer
	for _, name := range slices.Sorted(maps.Keys(leaving)) {
		cameras := leaving[name]
		// They see the change within a renewal's time on the network, each at its own.
		at := w.chance(step)
		for len(cameras) > 0 {
			n := min(cluster.MaxMoves(running[name]), len(cameras))
			end := at
			for _, camera := range cameras[:n] {
				released := at + leastDrain + w.chance(mostDrain-leastDrain) + writeTime
				all = append(all, transfer{camera: camera, to: want[camera], begin: at, released: released})
				end = max(end, released)
			}
			cameras, running[name] = cameras[n:], running[name]-n
			at = end.Truncate(step) + step // the next batch begins when this one has ended
		}
	}
	return w.arrive(all)
}

// leave has replicas be stopped, which give away all that they have.
func (w *world) leave(n int) (e event) {
	defer func() { e.fair = n * w.cameras / (len(w.members) + n) }()
	gone := w.remove(n)
	want := w.placed()
	var all []transfer
	free := map[string][]time.Duration{} // when each of a replica's hands is free
	for i, o := range w.owner {
		if !gone[o] {
			continue
		}
		if free[o] == nil {
			free[o] = make([]time.Duration, parallel)
		}
		hand := slices.Index(free[o], slices.Min(free[o]))
		begin := free[o][hand]
		free[o][hand] += leastDrain + w.chance(mostDrain-leastDrain) + writeTime
		all = append(all, transfer{camera: i, to: want[i], begin: begin, released: free[o][hand]})
	}
	return w.arrive(all)
}

// die has replicas vanish. The server's clock ends their leases.
func (w *world) die(n int) (e event) {
	defer func() { e.fair = n * w.cameras / (len(w.members) + n) }()
	gone := w.remove(n)
	want := w.placed()
	ends := map[string]time.Duration{}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		ends[name] = w.lease - w.chance(w.lease/3) + w.chance(markLate)
	}
	var all []transfer
	for i, o := range w.owner {
		if gone[o] {
			all = append(all, transfer{camera: i, to: want[i], released: ends[o]})
		}
	}
	return w.arrive(all)
}

// arrive has the cameras taken by those that they belong to, as many at a time as they
// can, and sums up.
func (w *world) arrive(all []transfer) event {
	e := event{moved: len(all)}
	slices.SortFunc(all, func(a, b transfer) int {
		return cmp.Or(cmp.Compare(a.released, b.released), cmp.Compare(a.camera, b.camera))
	})
	free := map[string][]time.Duration{}
	var without []time.Duration
	writes := map[time.Duration]float64{}
	for i := range all {
		t := &all[i]
		if free[t.to] == nil {
			free[t.to] = make([]time.Duration, parallel)
		}
		hands := free[t.to]
		hand := slices.Index(hands, slices.Min(hands))
		t.runs = max(hands[hand], t.released) + 2*writeTime // read, then written
		hands[hand] = t.runs
		w.owner[t.camera] = t.to
		without = append(without, t.runs-t.begin)
		e.took = max(e.took, t.runs)
		writes[t.released.Truncate(time.Second)]++
		writes[t.runs.Truncate(time.Second)]++
	}
	for _, n := range writes {
		e.writes = max(e.writes, n)
	}
	e.atOnce = most(all)
	if len(without) > 0 {
		slices.Sort(without)
		e.longest, e.median = without[len(without)-1], without[len(without)/2]
	}
	return e
}

// most returns how many were on their way at the same time, at the most.
func most(all []transfer) int {
	type change struct {
		at time.Duration
		by int
	}
	var changes []change
	for _, t := range all {
		changes = append(changes, change{t.begin, 1}, change{t.runs, -1})
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), b.by-a.by) })
	n, top := 0, 0
	for _, c := range changes {
		n += c.by
		top = max(top, n)
	}
	return top
}

// chance returns a duration below d.
func (w *world) chance(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(d)))
}
