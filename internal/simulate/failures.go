package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A failure is what became of a fleet when something failed.
type failure struct {
	name    string
	cameras int           // that nobody read
	longest time.Duration // for which nobody did
	writes  float64       // the most leases written in a second, by a group
	asks    float64       // the most requests to Kinesis in a second, besides the usual ones
	load    float64       // of the replicas that are left, as a share of their cores
}

// failures lets one thing after another fail, each in a fleet that was well before.
func (f *fleet) failures() []failure {
	lost := failure{name: "a zone is lost: a third of the replicas of each group", load: f.use * zones / (zones - 1)}
	back := failure{name: "the zone comes back", load: f.use}
	for g := range f.groups {
		w := f.group(g)
		lost.add(w.dieOf(w.removeZone(0)))
		back.add(w.join(f.replicas() - len(w.members)))
	}
	return []failure{lost, back, f.natsLost(), f.throttled()}
}

// group returns a group in which all is well.
func (f *fleet) group(n int) *world {
	return newWorld(options{cameras: f.inGroup(), replicas: f.replicas(), lease: f.lease, seed: f.seed + uint64(n), capacity: f.figures.WritesThree})
}

func (r *failure) add(e event) {
	r.cameras += e.moved
	r.longest = max(r.longest, e.longest)
	r.writes = max(r.writes, e.writes)
}

// natsLost takes the NATS cluster of one group away. All leases end. When it is back, the
// replicas connect again after the pause that they are in, and acquire all of their cameras.
func (f *fleet) natsLost() failure {
	w := f.group(0)
	connected := map[string]time.Duration{}
	for _, m := range w.members {
		connected[m.Name] = afterOutage(dial.Backoff(), f.outage)
	}
	var all []transfer
	for i, owner := range w.owner {
		all = append(all, transfer{camera: i, to: owner, released: connected[owner], ended: true})
	}
	e := w.arrive(all)
	return failure{
		name: fmt.Sprintf("the NATS cluster of one group is lost for %v", f.outage), cameras: len(all),
		longest: f.outage + e.took, writes: e.writes, load: f.use,
	}
}

// throttled has AWS throttle all requests of the region. Each poller asks again after the
// pause that it is in when that is over.
func (f *fleet) throttled() failure {
	r := failure{name: fmt.Sprintf("AWS throttles all requests of the region for %v", f.outage), cameras: f.cameras, load: f.use}
	seconds := map[time.Duration]float64{}
	for range f.cameras {
		at := afterOutage(pacing.Backoff{Min: poll.MinRetry, Max: poll.MaxRetry}, f.outage)
		r.longest = max(r.longest, f.outage+at)
		seconds[at.Truncate(time.Second)]++
	}
	for _, n := range seconds {
		r.asks = max(r.asks, n)
	}
	return r
}

// afterOutage returns how long after the end of an outage the next attempt comes of somebody
// who has tried again all the time. The first attempt of all is at a time of its own.
func afterOutage(retry pacing.Backoff, outage time.Duration) time.Duration {
	at := rand.N(time.Second)
	for at < outage {
		at += retry.Next()
	}
	return at - outage
}

// wellAgain returns how long it takes, from when the cameras are read again, until what was
// missed is made up for: by the cores that the present does not need. It is negative if there
// are none.
func (r *failure) wellAgain() time.Duration {
	if r.load >= 1 {
		return -1
	}
	return time.Duration(float64(r.longest) * r.load / (1 - r.load))
}

// report prints the failures.
func (f *fleet) report(out io.Writer) {
	fmt.Fprintf(out, "| failure | cameras without | for at most | leases written | asked at once | caught up after | slots lost |\n|---|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range f.failures() {
		caught, behind := "never: too few cores", f.retention
		if d := r.wellAgain(); d >= 0 {
			caught, behind = (r.longest + d).Round(time.Second).String(), r.longest
		}
		asks, writes := "", ""
		if r.asks > 0 {
			asks = thousands(r.asks) + "/s"
		}
		if r.writes > 0 {
			writes = thousands(r.writes) + "/s"
		}
		// Kinesis still has what is not older than its retention.
		missed := max(behind-f.retention, 0).Seconds() / f.interval.Seconds() * float64(r.cameras)
		fmt.Fprintf(out, "| %s | %s | %v | %s | %s | %s | %s |\n", r.name, thousands(float64(r.cameras)), r.longest.Round(100*time.Millisecond), writes, asks, caught, thousands(missed))
	}
}
