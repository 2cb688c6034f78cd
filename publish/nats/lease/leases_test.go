package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

func TestMain(m *testing.M) { natstest.VerifyNoLeaks(m) }

const leaseTime = lease.MinDuration

// join opens the leases of a member.
func join(t *testing.T, url, name string) *lease.Leases {
	t.Helper()
	l := joinWith(t, url, lease.Options{Group: "yard 1", Member: name, Lease: leaseTime})
	t.Cleanup(func() { _ = l.Close() }) // a second Close, or one without a server
	return l
}

func joinWith(t *testing.T, url string, o lease.Options) *lease.Leases {
	t.Helper()
	var l *lease.Leases
	conn := conntest.Dial(t, dial.Options{URL: url, WriteTimeout: time.Second})
	natstest.Within(t, func() (err error) { // a cluster has to elect a leader first
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		l = lease.New(conn, o)
		return l.Join(ctx)
	})
	return l
}

func claim(key string) lease.Claim {
	return lease.Claim{Key: key, First: func(context.Context) (source.Slot, error) { return conntest.Slot(0), nil }}
}

// acquire tries until the member has the stream, and returns its cursor.
func acquire(t *testing.T, l *lease.Leases, c lease.Claim) source.Slot {
	t.Helper()
	var h lease.Holding
	natstest.Within(t, func() (err error) {
		h, err = l.Acquire(t.Context(), c)
		if err == nil && !h.Held {
			err = fmt.Errorf("%s has it", h.Owner)
		}
		return err
	})
	if !l.Holds(c.Key) {
		t.Errorf("%s does not hold %s", l.Member(), c.Key)
	}
	return h.Cursor
}

// meet waits until a member sees as many.
func meet(t *testing.T, l *lease.Leases, n int) {
	t.Helper()
	natstest.Within(t, func() error {
		if all, fresh := l.Members(); len(all) != n || !fresh {
			return fmt.Errorf("%s sees %v, fresh: %v", l.Member(), all, fresh)
		}
		return nil
	})
}

// flush writes a cursor until the bucket has it.
func flush(t *testing.T, l *lease.Leases, key string, cursor source.Slot, has func() source.Slot) {
	t.Helper()
	natstest.Within(t, func() error {
		l.Set(key, cursor)
		if err := l.Flush(t.Context(), key); err != nil {
			return err
		}
		if got := has(); got != cursor {
			return fmt.Errorf("the cursor is %v", got)
		}
		return nil
	})
}

// bucketCursor reads a cursor as nobody's member does.
func bucketCursor(t *testing.T, url, key string) func() source.Slot {
	t.Helper()
	kv := leaseKV(t, url)
	return func() source.Slot {
		e, err := kv.Get(t.Context(), "yard=201.s."+key)
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(string(e.Value()), `"cursor":"`)
		at, err := time.Parse(time.RFC3339, strings.TrimSuffix(text, `"}`))
		if err != nil {
			t.Fatalf("%s: %v", e.Value(), err)
		}
		return source.SlotAt(at)
	}
}

func leaseKV(t *testing.T, url string) jetstream.KeyValue {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), lease.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// TestALeaseIsOnes: a stream has one owner, who hands it over with its cursor, by
// releasing it or by leaving.
func TestALeaseIsOnes(t *testing.T) {
	t.Parallel()
	url, _, _ := conntest.Store(t)
	a, b := join(t, url, "a"), join(t, url, "b b")
	meet(t, a, 2)
	meet(t, b, 2)
	if got := acquire(t, a, claim("cam.1")); got != conntest.Slot(0) {
		t.Errorf("it begins at %v", got)
	}
	acquire(t, a, claim("cam-2"))
	h, err := b.Acquire(t.Context(), claim("cam.1"))
	if err != nil || h.Held || h.Owner != "a" || b.Holds("cam.1") {
		t.Errorf("the other one gets %+v, %v", h, err)
	}
	a.Set("cam.1", conntest.Slot(5))
	a.Set("cam-2", conntest.Slot(7))
	b.Set("cam.1", conntest.Slot(9))
	if err := a.Release(t.Context(), "cam.1"); err != nil {
		t.Fatal(err)
	}
	if a.Holds("cam.1") || len(a.Unsure()) > 0 {
		t.Error("it is still held")
	}
	natstest.Within(t, func() error {
		if hints := b.TakeReleased(); len(hints) != 1 || hints[0] != "cam.1" {
			return fmt.Errorf("told of %q", hints)
		}
		return nil
	})
	if got := acquire(t, b, claim("cam.1")); got != conntest.Slot(5) {
		t.Errorf("it goes on at %v", got)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	meet(t, b, 1)
	if got := acquire(t, b, claim("cam-2")); got != conntest.Slot(7) {
		t.Errorf("after the owner has left, it goes on at %v", got)
	}
	done := claim("cam-2")
	done.End = conntest.Slot(7)
	if err := b.Release(t.Context(), "cam-2"); err != nil {
		t.Fatal(err)
	}
	if h, err := b.Acquire(t.Context(), done); err != nil || h.Held || h.Cursor != conntest.Slot(7) {
		t.Errorf("what is done: %+v, %v", h, err)
	}
}

// TestACutOffMember loses its streams before another takes them, and moves no cursor
// when it is back.
func TestACutOffMember(t *testing.T) {
	t.Parallel()
	url, _, _ := conntest.Store(t)
	proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "nats",
		"127.0.0.1:0", strings.TrimPrefix(url, "nats://"))
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	defer proxy.Stop()
	a, b := join(t, "nats://"+proxy.Listen, "a"), join(t, url, "b")
	meet(t, a, 2)
	meet(t, b, 2)
	acquire(t, a, claim("cam"))
	has := bucketCursor(t, url, "cam")
	flush(t, a, "cam", conntest.Slot(3), has)
	proxy.Stop()
	natstest.Within(t, func() error {
		h, err := b.Acquire(t.Context(), claim("cam"))
		switch {
		case err != nil:
			return err
		case h.Held && a.Holds("cam"):
			t.Fatal("two hold it")
		case !h.Held:
			return errors.New("it is never taken")
		}
		return nil
	})
	flush(t, b, "cam", conntest.Slot(5), has)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	meet(t, a, 2)
	a.Set("cam", conntest.Slot(4))
	_ = a.Flush(t.Context(), "cam")
	if got := has(); got != conntest.Slot(5) || a.Holds("cam") {
		t.Errorf("the cursor is %v; held: %v", got, a.Holds("cam"))
	}
	if keys := a.Unsure(); len(keys) != 1 {
		t.Errorf("unsure of %q", keys)
	}
	natstest.Within(t, func() error { return a.Release(t.Context(), a.Unsure()...) }) // it may not be connected again
	if !b.Holds("cam") || len(a.Unsure()) > 0 {
		t.Errorf("released; unsure of %q", a.Unsure())
	}
	flush(t, b, "cam", conntest.Slot(6), has)
}

// TestTheCursorsWriteTellsOfALoss: whoever was taken for dead, and does not know,
// learns it by writing the cursor, which stays where it is.
func TestTheCursorsWriteTellsOfALoss(t *testing.T) {
	t.Parallel()
	url, _, _ := conntest.Store(t)
	a := join(t, url, "a")
	meet(t, a, 1)
	acquire(t, a, claim("cam"))
	kv := leaseKV(t, url)
	value := fmt.Sprintf(`{"owner":"b","cursor":"%v"}`, conntest.Slot(9))
	if _, err := kv.Put(t.Context(), "yard=201.s.cam", []byte(value)); err != nil {
		t.Fatal(err)
	}
	natstest.Within(t, func() error {
		a.Set("cam", conntest.Slot(20))
		if err := a.Flush(t.Context(), "cam"); err != nil {
			return err
		}
		if a.Holds("cam") {
			return errors.New("it is still held")
		}
		return nil
	})
	select {
	case <-a.Changed():
	default:
		t.Error("nobody is told")
	}
	if got := bucketCursor(t, url, "cam")(); got != conntest.Slot(9) {
		t.Errorf("the cursor is %v", got)
	}
	// b was never a member.
	if got := acquire(t, a, claim("cam")); got != conntest.Slot(9) {
		t.Errorf("it goes on at %v", got)
	}
}

// TestLeasesWithoutALeader: the bucket's leader is lost while members acquire and
// write; at every instant each stream has one holder at most, and in the end each has
// one.
func TestLeasesWithoutALeader(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t)
	open := func(name string) *lease.Leases {
		l := joinWith(t, c.URLs(), lease.Options{Group: "g", Member: name, Lease: 4 * time.Second, Replicas: 3})
		t.Cleanup(func() { _ = l.Close() }) // some are written in vain
		return l
	}
	members := []*lease.Leases{open("a"), open("b"), open("c")}
	const streams = 20
	held := func() (n int) {
		for i := range streams {
			var who []string
			for _, l := range members {
				if l.Holds(fmt.Sprint(i)) {
					who = append(who, l.Member())
				}
			}
			if len(who) > 1 {
				t.Fatalf("%d is held by %q", i, who)
			}
			n += len(who)
		}
		return n
	}
	all := func() error {
		var tries sync.WaitGroup
		for _, l := range members {
			tries.Go(func() {
				for i := range streams {
					key := fmt.Sprint(i)
					if !l.Holds(key) {
						_, _ = l.Acquire(t.Context(), claim(key))
					}
					l.Set(key, conntest.Slot(1))
					_ = l.Flush(t.Context(), key)
				}
			})
		}
		tries.Wait()
		if n := held(); n != streams {
			return fmt.Errorf("%d are held", n)
		}
		return nil
	}
	natstest.Within(t, all)
	c.StopLeader("KV_" + lease.Bucket)
	natstest.Within(t, all)
}

// TestLeasesNeedNoMore shares streams as a user who is granted exactly the needs.
func TestLeasesNeedNoMore(t *testing.T) {
	t.Parallel()
	needs := preflight.NeedsLeases()
	url := natstest.StartUsers(t, &server.Options{JetStream: true}, map[string]*server.Permissions{
		"feeder": conntest.Grant(needs), "maker": conntest.Grant(needs.With(preflight.NeedsCreate("none", lease.Bucket))),
	})
	open := func(user string) *lease.Leases {
		conn := conntest.Dial(t, dial.Options{URL: url(user), OnDenied: func(err error) { t.Errorf("%s: %v", user, err) }})
		l := lease.New(conn, lease.Options{Group: "g", Member: user, Lease: leaseTime})
		if err := l.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		return l
	}
	a, b := open("maker"), open("feeder")
	meet(t, b, 2)
	acquire(t, b, claim("cam"))
	b.Set("cam", conntest.Slot(1))
	if err := errors.Join(b.Flush(t.Context(), "cam"), b.Close()); err != nil {
		t.Error(err)
	}
	meet(t, a, 1)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// TestCursors runs the suite of all cursors. A member that starts again, under its
// name, has its streams at once.
func TestCursors(t *testing.T) {
	sourcetest.TestCursors(t, func(t *testing.T) func() source.Cursors {
		t.Parallel()
		url, _, _ := conntest.Store(t)
		crash := func() {}
		t.Cleanup(func() { crash() })
		return func() source.Cursors {
			crash()
			conn := conntest.Dial(t, dial.Options{URL: url})
			l := lease.New(conn, lease.Options{Group: "yard", Member: "a", Lease: leaseTime})
			if err := l.Join(t.Context()); err != nil {
				t.Fatal(err)
			}
			crash = func() {
				_ = conn.Close(context.Background())
				_ = l.Close() // in vain
			}
			for _, key := range sourcetest.CursorKeys() {
				acquire(t, l, lease.Claim{Key: key, First: func(context.Context) (source.Slot, error) { return 0, nil }})
			}
			return l
		}
	})
}

// TestFlushTellsOfALostStream: what was set for it is not saved, and somebody else's
// cursor stays.
func TestFlushTellsOfALostStream(t *testing.T) {
	t.Parallel()
	url, _, _ := conntest.Store(t)
	l := join(t, url, "a")
	acquire(t, l, claim("cam"))
	acquire(t, l, claim("other"))
	value := fmt.Sprintf(`{"owner":"b","cursor":"%v"}`, conntest.Slot(9))
	if _, err := leaseKV(t, url).Put(t.Context(), "yard=201.s.cam", []byte(value)); err != nil {
		t.Fatal(err)
	}
	l.Set("cam", conntest.Slot(20))
	l.Set("other", conntest.Slot(20))
	if err := l.Flush(t.Context(), "cam", "other"); !errors.Is(err, lease.ErrNotHeld) || !strings.Contains(err.Error(), "stream cam") {
		t.Errorf("the error is %v", err)
	}
	if got := bucketCursor(t, url, "cam")(); got != conntest.Slot(9) {
		t.Errorf("the cursor of the lost stream is %v", got)
	}
	if got := bucketCursor(t, url, "other")(); got != conntest.Slot(20) {
		t.Errorf("the cursor of the other one is %v", got)
	}
}

// TestAValueOfOthers: a value that no member writes keeps its own stream from being
// acquired, with an error that says what to do, and hurts nothing else.
func TestAValueOfOthers(t *testing.T) {
	url, _, js := conntest.Store(t)
	a := join(t, url, "a")
	acquire(t, a, claim("cam-1"))
	kv, err := js.KeyValue(t.Context(), lease.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	for i, cursor := range []string{"9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z"} {
		key := fmt.Sprint("cam-", i+2)
		if _, err := kv.Put(t.Context(), dial.EncodeKey("yard 1")+".s."+key, []byte(`{"owner":"","cursor":"`+cursor+`"}`)); err != nil {
			t.Fatal(err)
		}
		h, err := a.Acquire(t.Context(), claim(key))
		if err == nil || h.Held || !strings.Contains(err.Error(), "nats kv del "+lease.Bucket) {
			t.Errorf("%s: %+v, %v", cursor, h, err)
		}
	}
	if !a.Holds("cam-1") {
		t.Error("the other stream is lost")
	}
}
