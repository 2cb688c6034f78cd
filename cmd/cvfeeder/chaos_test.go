package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
)

var (
	chaosTime = flag.Duration("chaos", 150*time.Second, "how long TestChaos lets chance rage")
	chaosSeed = flag.Uint64("seed", 0, "what decides the chance of TestChaos; 0 takes the time")
)

// TestChaos has three feeders share six cameras in the mode durable, over a cluster of
// three NATS servers, all of them processes, while these and the fake service are
// killed, stopped, slowed down and cut off from each other at random, buckets and
// permissions are lost, and clocks jump. All streams flow on after the last blow. In the end
// the stream holds each slot exactly once, in order; and no two feeders were at the same
// camera for longer than a lease.
func TestChaos(t *testing.T) {
	feedertest.Long(t, "takes three minutes")
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	w := newTown(t, *chaosTime)
	blows := w.rage(seed, w.calm)
	for _, what := range slices.Sorted(maps.Keys(blows)) {
		t.Logf("%3d x %s", blows[what], what)
	}
	for _, p := range append(w.servers, w.fake) {
		select {
		case <-p.done:
			t.Fatalf("%q has ended with %v\n%s", p.args, p.err, p.out)
		default:
		}
	}
	begin := time.Now()
	w.finish(calmTime + 2*time.Minute)
	t.Logf("all was published %v after the last blow, of which the streams went on for %v", time.Since(begin).Round(time.Millisecond), calmTime)

	got := feedertest.Stored(t, strings.Join(w.urls, ","))
	asked := requests(t, w.log)
	for n := range chaosStreams {
		name := fmt.Sprintf("cam-%d", n+1)
		feedertest.CheckOnce(t, name, got["cvf.t."+name+".small"], w.from, w.to, chaosInterval(n), true)
		if len(asked[name]) == 0 {
			t.Errorf("%s: the fake has seen no request", name)
		}
		both := overlap(asked[name], chaosLease)
		t.Logf("%s: two feeders at once for %v at the most", name, both)
		if both > chaosLease {
			t.Errorf("%s: two feeders were at it for %v", name, both)
		}
	}
	if t.Failed() {
		for i, f := range w.feeders {
			t.Logf("feeder-%d:\n%s", i, f.out)
		}
	}
}

// finish waits until all feeders have ended by themselves, which are started again
// like a service where they fail.
func (w *town) finish(limit time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
	defer cancel()
	for i, f := range w.feeders {
		for ended := false; !ended; {
			select {
			case <-f.done:
				if w.revive(f) {
					continue
				}
				if ended = f.err == nil; !ended {
					w.t.Errorf("feeder-%d: %v\n%s", i, f.err, f.out)
					return
				}
			case <-ctx.Done():
				for i, f := range w.feeders {
					f.kill()
					w.t.Logf("feeder-%d:\n%s", i, f.out)
				}
				w.t.Fatalf("feeder-%d does not end within %v", i, limit)
			}
		}
	}
}

// TestOverlap: the check of owners finds those that are two at once.
func TestOverlap(t *testing.T) {
	zero := time.Now()
	asked := func(script string) (all []request) { // a request a second, - for none
		for i, client := range script {
			if client != '-' {
				all = append(all, request{Client: string(client), Time: zero.Add(time.Duration(i) * time.Second)})
			}
		}
		return all
	}
	for script, want := range map[string]time.Duration{
		"aaaabbbb":           0,
		"aaaa----bbb":        0,
		"aaaabbbbabbbb":      0, // one that was stopped, and woke up
		"aaabbbbbbbaaa":      0,
		"aaabababababbb":     7 * time.Second,
		"aaaaaaaa-b-b-b-b-b": 0,
		"aabbaabbaabb":       7 * time.Second,
	} {
		if got := overlap(asked(script), 3*time.Second); got != want {
			t.Errorf("%s: %v, want %v", script, got, want)
		}
	}
}
