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
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
)

// How long things take, as measured: see docs/scaling.md.
const (
	writeTime = 3 * time.Millisecond // to read or write a lease that three servers keep
	atOnce    = 64                   // how many cameras a replica acquires or releases at a time, as in internal/cluster
	minDrain  = 50 * time.Millisecond
	maxDrain  = time.Second            // to finish what a camera has in flight
	maxExpiry = 330 * time.Millisecond // from the end of a lease until the server announces it
)

// A world is a group of replicas that run cameras.
type world struct {
	options
	rng     *rand.Rand
	keys    []string // of the cameras
	owner   []string // of each camera: the replica that runs it
	members []lease.Member
	next    int // number of the next replica
}

// An event is something that happens to the group, and its effects. The fields are the
// columns of the report.
type event struct {
	fair, moved, atOnce int
	took                time.Duration
	longest, median     time.Duration // for which no replica ran a camera
	writes              float64       // the most in one second
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
		w.members = append(w.members, lease.Member{Name: fmt.Sprintf("host-%d-%08x", w.next, w.rng.Uint32()), Weight: cluster.Capacity(2)})
	}
}

// placed returns the replica that each camera belongs to.
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

// removeZone takes the replicas of a zone out of the group, and returns their names. The
// replicas are spread over the zones in turn.
func (w *world) removeZone(zone int) map[string]bool {
	gone := map[string]bool{}
	var left []lease.Member
	for i, m := range w.members {
		if i%zones == zone {
			gone[m.Name] = true
		} else {
			left = append(left, m)
		}
	}
	w.members = left
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
	e := w.rebalance()
	e.fair = n * w.cameras / len(w.members)
	return e
}

// speedUp multiplies the weight of one replica.
func (w *world) speedUp(factor float64) event {
	m := &w.members[w.rng.IntN(len(w.members))]
	before := m.Weight / w.totalWeight()
	m.Weight *= factor
	e := w.rebalance()
	e.fair = int(math.Abs(m.Weight/w.totalWeight()-before) * float64(w.cameras))
	return e
}

func (w *world) totalWeight() (sum float64) {
	for _, m := range w.members {
		sum += m.Weight
	}
	return sum
}

// A transfer is the move of a camera. Its times are since the event.
type transfer struct {
	camera   int
	to       string
	stopped  time.Duration // by its old replica
	released time.Duration
	started  time.Duration // by its new replica
	ended    bool          // the server has ended the lease, so that nobody wrote that
}

// rebalance makes the replicas give away the cameras that belong to others, a few at
// each step.
func (w *world) rebalance() event {
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
		at := w.random(step) // when the replica next looks at the members
		for len(cameras) > 0 {
			n := min(cluster.MaxMoves(running[name]), len(cameras))
			end := at
			for _, camera := range cameras[:n] {
				released := at + w.drain()
				all = append(all, transfer{camera: camera, to: want[camera], stopped: at, released: released})
				end = max(end, released)
			}
			cameras, running[name] = cameras[n:], running[name]-n
			at = end.Truncate(step) + step // the next batch begins when this one has ended
		}
	}
	return w.arrive(all)
}

// leave stops replicas, which give away all of their cameras.
func (w *world) leave(n int) (e event) {
	defer func() { e.fair = n * w.cameras / (len(w.members) + n) }()
	gone := w.remove(n)
	want := w.placed()
	var all []transfer
	free := map[string]pool{} // of each replica that leaves
	for i, o := range w.owner {
		if !gone[o] {
			continue
		}
		if free[o] == nil {
			free[o] = make(pool, atOnce)
		}
		stopped, released := free[o].run(0, w.drain())
		all = append(all, transfer{camera: i, to: want[i], stopped: stopped, released: released})
	}
	return w.arrive(all)
}

// die kills replicas. The server ends their leases.
func (w *world) die(n int) event {
	e := w.dieOf(w.remove(n))
	e.fair = n * w.cameras / (len(w.members) + n)
	return e
}

// dieOf kills the replicas that were taken out of the group.
func (w *world) dieOf(gone map[string]bool) event {
	want := w.placed()
	ends := map[string]time.Duration{}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		ends[name] = w.lease - w.random(w.lease/3) + w.random(maxExpiry)
	}
	var all []transfer
	for i, o := range w.owner {
		if gone[o] {
			all = append(all, transfer{camera: i, to: want[i], released: ends[o], ended: true})
		}
	}
	return w.arrive(all)
}

// arrive makes the new replicas acquire the cameras, as many at a time as they can, and
// sums up the effects.
func (w *world) arrive(all []transfer) event {
	e := event{moved: len(all)}
	slices.SortFunc(all, func(a, b transfer) int {
		return cmp.Or(cmp.Compare(a.released, b.released), cmp.Compare(a.camera, b.camera))
	})
	free := map[string]pool{}
	var server time.Duration // when the bucket has done all so far
	var without []time.Duration
	writes := map[time.Duration]float64{}
	for i := range all {
		t := &all[i]
		if free[t.to] == nil {
			free[t.to] = make(pool, atOnce)
		}
		_, t.started = free[t.to].run(t.released, 2*writeTime) // a read, then a write
		if w.capacity > 0 {
			server = max(server, t.released) + time.Duration(2/w.capacity*float64(time.Second))
			t.started = max(t.started, server)
		}
		w.owner[t.camera] = t.to
		without = append(without, t.started-t.stopped)
		e.took = max(e.took, t.started)
		if !t.ended {
			writes[t.released.Truncate(time.Second)]++
		}
		writes[t.started.Truncate(time.Second)]++
	}
	for _, n := range writes {
		e.writes = max(e.writes, n)
	}
	e.atOnce = mostAtOnce(all)
	if len(without) > 0 {
		slices.Sort(without)
		e.longest, e.median = without[len(without)-1], without[len(without)/2]
	}
	return e
}

// mostAtOnce returns the largest number of transfers at the same time.
func mostAtOnce(all []transfer) int {
	type change struct {
		at time.Duration
		by int
	}
	var changes []change
	for _, t := range all {
		changes = append(changes, change{t.stopped, 1}, change{t.started, -1})
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), b.by-a.by) })
	n, top := 0, 0
	for _, c := range changes {
		n += c.by
		top = max(top, n)
	}
	return top
}

// drain returns how long it takes to finish what a camera has in flight and release it.
func (w *world) drain() time.Duration { return minDrain + w.random(maxDrain-minDrain) + writeTime }

// random returns a duration below d.
func (w *world) random(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(d)))
}

// A pool holds when each of the concurrent calls of a replica ends.
type pool []time.Duration

// run makes a call as soon as one of the others has ended, but not before earliest. It
// returns when the call begins and ends.
func (p pool) run(earliest, takes time.Duration) (begin, end time.Duration) {
	i := slices.Index(p, slices.Min(p))
	begin = max(p[i], earliest)
	p[i] = begin + takes
	return begin, p[i]
}
