package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/internal/cluster"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A yard is what the replicas share: a server, and which of them runs which stream.
type yard struct {
	t   *testing.T
	url string

	mu      sync.Mutex
	running map[string]string // replica by stream
	moves   int               // how often a stream was started
	last    map[string]source.Slot
}

func newYard(t *testing.T) *yard {
	t.Helper()
	srv, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	return &yard{t: t, url: srv.ClientURL(), running: map[string]string{}, last: map[string]source.Slot{}}
}

// A replica is a cluster around a set that only records what runs.
type replica struct {
	*yard
	name    string
	leases  *lease.Leases
	cluster *cluster.Cluster
	stop    func() // does what SIGTERM does
	ended   chan struct{}
}

// Add implements pipeline.Set.
func (r *replica) Add(s pipeline.Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other, ok := r.running[s.Name]; ok {
		r.t.Errorf("%s starts %s, which %s runs", r.name, s.Name, other)
	}
	cursor, held := r.leases.Load(s.Key)
	if !held || cursor < r.last[s.Name] {
		r.t.Errorf("%s starts %s at %v (held: %v), but it was at %v", r.name, s.Name, cursor, held, r.last[s.Name])
	}
	r.running[s.Name] = r.name
	r.moves++
}

// Remove implements pipeline.Set: the cursor has moved by one slot meanwhile.
func (r *replica) Remove(_ context.Context, name string) (source.Slot, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[name] != r.name {
		return 0, false
	}
	cursor, _ := r.leases.Load(name)
	cursor = cursor.Add(source.MinInterval)
	r.leases.Set(name, cursor)
	r.last[name] = cursor
	delete(r.running, name)
	return cursor, true
}

// start starts a replica with n streams, which end at to, unless 0.
func (y *yard) start(name string, n int, to source.Slot) *replica {
	y.t.Helper()
	conn, err := dial.Dial(dial.Options{URL: y.url})
	if err != nil {
		y.t.Fatal(err)
	}
	leases := lease.New(conn, lease.Options{Group: "yard", Member: name, Lease: lease.MinDuration})
	if err := leases.Join(y.t.Context()); err != nil {
		y.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &replica{yard: y, name: name, leases: leases, stop: stop, ended: make(chan struct{})}
	r.cluster = cluster.New(cluster.Options{Leases: leases, Log: slog.New(slog.DiscardHandler)})
	grid, err := source.NewGrid(source.MinInterval)
	if err != nil {
		y.t.Fatal(err)
	}
	for i := range n {
		s := pipeline.Stream{Name: fmt.Sprintf("cam-%d", i), Grid: grid, From: first}
		s.Key, s.To = s.Name, to
		r.cluster.Add(s)
	}
	go func() {
		defer close(r.ended)
		r.cluster.Follow(nil)(ctx, r)
		_ = leases.Close()
		_ = conn.Close(context.Background())
	}()
	y.t.Cleanup(func() { stop(); <-r.ended })
	return r
}

var first = source.SlotAt(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

// wait waits until each of n streams is run by the replica that it belongs to.
func (y *yard) wait(n int, replicas ...*replica) {
	y.t.Helper()
	var members []lease.Member
	for _, r := range replicas {
		members = append(members, lease.Member{Name: r.name, Weight: 1})
	}
	placement := cluster.NewPlacement(members)
	y.within(func() error {
		y.mu.Lock()
		defer y.mu.Unlock()
		for i := range n {
			key := fmt.Sprintf("cam-%d", i)
			if got, want := y.running[key], placement.Owner(key); got != want {
				return fmt.Errorf("%s is run by %q, not %q", key, got, want)
			}
		}
		return nil
	})
}

func (y *yard) within(check func() error) {
	y.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			y.t.Fatal(err)
		}
	}
}

func (y *yard) ran() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.moves
}

// TestReplicasShare: when replicas join and leave, only the streams that must move do, and
// each resumes where it was.
func TestReplicasShare(t *testing.T) {
	t.Parallel()
	const n = 60
	y := newYard(t)
	a, b := y.start("a", n, 0), y.start("b", n, 0)
	y.wait(n, a, b)
	before := y.ran()
	if before != n {
		t.Errorf("%d streams were started for %d", before, n)
	}
	y.mu.Lock()
	had := maps.Clone(y.running)
	y.mu.Unlock()
	c := y.start("c", n, 0)
	y.wait(n, a, b, c)
	must := 0
	y.mu.Lock()
	for name, now := range y.running {
		if now != had[name] {
			must++
			if now != "c" {
				t.Errorf("%s moved from %s to %s", name, had[name], now)
			}
		}
	}
	y.mu.Unlock()
	if moved := y.ran() - before; moved != must {
		t.Errorf("%d were started for %d that had to move", moved, must)
	}
	begin := time.Now()
	a.stop()
	<-a.ended
	y.wait(n, b, c)
	t.Logf("a third handed over in %v", time.Since(begin))
	if took := time.Since(begin); took > lease.MinDuration {
		t.Errorf("handing over took %v, as long as after a crash", took)
	}
	if _, wanted, owned := b.cluster.Counts(); wanted != n || owned == 0 || owned == n {
		t.Errorf("b has %d of %d", owned, wanted)
	}
	// A stream that is removed stops.
	for _, r := range []*replica{b, c} {
		r.cluster.Remove(t.Context(), "cam-0")
	}
	y.mu.Lock()
	if who, ok := y.running["cam-0"]; ok {
		t.Errorf("%s still runs what was removed", who)
	}
	y.mu.Unlock()
}

// TestTheEnd: replicas end when all streams have, whichever replica ran them.
func TestTheEnd(t *testing.T) {
	t.Parallel()
	const n = 20
	y := newYard(t)
	to := first.Add(time.Minute)
	a, b := y.start("a", n, to), y.start("b", n, to)
	y.wait(n, a, b)
	for _, r := range []*replica{a, b} {
		for i := range n {
			r.leases.Set(fmt.Sprintf("cam-%d", i), to)
		}
	}
	for _, r := range []*replica{a, b} {
		select {
		case <-r.ended:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s does not end", r.name)
		}
	}
	y.mu.Lock()
	y.running = map[string]string{} // the pipelines have ended
	y.mu.Unlock()
	late := y.start("c", n, to)
	<-late.ended
	if len(y.running) > 0 {
		t.Errorf("what has ended was started again: %v", slices.Collect(maps.Keys(y.running)))
	}
	if _, streams, _ := late.cluster.Counts(); streams != 0 {
		t.Errorf("%d streams count that have ended", streams)
	}
}

// A sink counts what it is given.
type sink struct{ messages, gaps, confirmed int }

// Publish implements publish.Delivery.
func (s *sink) Publish(context.Context, publish.Message) error { s.messages++; return nil }

// Gap implements publish.Delivery.
func (s *sink) Gap(context.Context, publish.Gap, []publish.Route) error { s.gaps++; return nil }

// Confirm implements publish.Delivery.
func (s *sink) Confirm(context.Context) error { s.confirmed++; return nil }

// Watched implements publish.Delivery.
func (s *sink) Watched(subject string) bool { return subject == "cvf.t.cam-0.x" }

// Interest implements publish.Delivery.
func (s *sink) Interest(_ context.Context, subject string) (bool, error) {
	return s.Watched(subject), nil
}

// TestNothingPassesWithoutALease: what a paused process wakes up with stays behind.
func TestNothingPassesWithoutALease(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	a := y.start("a", 1, 0)
	y.wait(1, a)
	var out sink
	d := a.cluster.Delivery(&out)
	m := publish.Message{Subject: "cvf.t.cam-0.x", Header: map[string][]string{publish.HeaderStream: {"cam-0"}}}
	gap := publish.Gap{Stream: "cam-0"}
	for name, call := range map[string]func() error{
		"delivery": func() error { return d.Publish(t.Context(), m) },
		"gap":      func() error { return d.Gap(t.Context(), gap, nil) },
		"confirm":  func() error { return d.Confirm(t.Context()) },
	} {
		if err := call(); err != nil {
			t.Errorf("%s, with the lease: %v", name, err)
		}
	}
	passed := sink{messages: 1, gaps: 1, confirmed: 1}
	if out != passed {
		t.Errorf("with the lease: %+v passed", out)
	}
	if !d.Watched(m.Subject) || d.Watched("other") {
		t.Error("who listens is not asked")
	}
	a.stop()
	<-a.ended
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	for name, call := range map[string]func() error{
		"delivery":  func() error { return d.Publish(ctx, m) },
		"gap":       func() error { return d.Gap(ctx, gap, nil) },
		"no stream": func() error { return d.Publish(ctx, publish.Message{Subject: m.Subject}) },
	} {
		if err := call(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s, without the lease: %v", name, err)
		}
	}
	if out != passed {
		t.Errorf("without the lease: %+v passed", out)
	}
}

// TestTheBucketIsFull: what the bucket of the leases answers is told as the reason that
// streams do not run.
func TestTheBucketIsFull(t *testing.T) {
	y := newYard(t)
	conn, err := dial.Dial(dial.Options{URL: y.url})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if err := conn.Control().WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Control().JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: lease.Bucket, LimitMarkerTTL: time.Minute, MaxBytes: 700})
	if err != nil {
		t.Fatal(err)
	}
	a := y.start("a", 10, 0)
	y.within(func() error {
		p := a.cluster.Part()
		if p.Missing == 0 || p.Problem == nil || !strings.Contains(p.Problem.Error(), "maximum bytes exceeded") {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
}
