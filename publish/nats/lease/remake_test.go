package lease_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// TestTheBucketIsLost: whatever becomes of the bucket, the members meet again, each stream
// has one owner again, at the cursor that was known, and new members wait for the old
// ones.
func TestTheBucketIsLost(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, *natstest.Broker){
		"the bucket is deleted": func(t *testing.T, b *natstest.Broker) { deleteBucket(t, b.URL()) },
		"its keys are deleted":  func(t *testing.T, b *natstest.Broker) { deleteKeys(t, b.URL()) },
		"its keys are purged":   func(t *testing.T, b *natstest.Broker) { purgeBucket(t, b.URL()) },
		"the store is wiped":    func(_ *testing.T, b *natstest.Broker) { b.Wipe() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := natstest.StartBroker(t)
			a, b := join(t, broker.URL(), "a"), join(t, broker.URL(), "b")
			meet(t, a, 2)
			meet(t, b, 2)
			owners := map[string]*lease.Leases{}
			for i := range 10 {
				key, owner := fmt.Sprint("cam-", i), []*lease.Leases{a, b}[i%2]
				acquire(t, owner, claim(key))
				flush(t, owner, key, conntest.Slot(10+i), bucketCursor(t, broker.URL(), key))
				owners[key] = owner
			}
			lose(t, broker)
			c := join(t, broker.URL(), "c")
			for _, l := range []*lease.Leases{a, b, c} {
				meet(t, l, 3)
			}
			for i := range 10 {
				key := fmt.Sprint("cam-", i)
				if cursor := acquire(t, owners[key], claim(key)); cursor != conntest.Slot(10+i) {
					t.Errorf("%s goes on at %v, not %v", key, cursor, conntest.Slot(10+i))
				}
				if h, err := c.Acquire(t.Context(), claim(key)); err != nil || h.Held {
					t.Errorf("c acquires %s, which has an owner: %+v, %v", key, h, err)
				}
				flush(t, owners[key], key, conntest.Slot(20+i), bucketCursor(t, broker.URL(), key))
			}
			acquire(t, c, claim("new"))
		})
	}
}

// joinOver returns a member a of its own connection.
func joinOver(t *testing.T, url string) (*dial.Conn, *lease.Leases) {
	t.Helper()
	conn := conntest.Dial(t, dial.Options{URL: url, WriteTimeout: time.Second})
	a := lease.New(conn, lease.Options{Group: "yard 1", Member: "a", Lease: leaseTime})
	if err := a.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return conn, a
}

// TestNobodyTakesWhatIsNotYetWritten: after the bucket was made again, a stream that is
// missing from it is left to its owner for the length of a lease, also by a member that
// has joined only now.
func TestNobodyTakesWhatIsNotYetWritten(t *testing.T) {
	t.Parallel()
	broker := natstest.StartBroker(t)
	conn, a := joinOver(t, broker.URL())
	acquire(t, a, claim("cam-1"))
	a.Set("cam-1", conntest.Slot(7))
	deleteBucket(t, broker.URL())
	begin := time.Now()
	natstest.Within(t, func() error {
		if conn.Remakes() == 0 {
			return fmt.Errorf("the bucket is not made again")
		}
		return nil
	})
	c := join(t, broker.URL(), "c")
	h, err := c.Acquire(t.Context(), claim("cam-2"))
	if err != nil || h.Held && time.Since(begin) < leaseTime {
		t.Errorf("c acquires a stream that may have an owner: %+v, %v", h, err)
	}
	acquire(t, c, claim("cam-2"))
	if !a.Holds("cam-1") {
		t.Error("a has lost its stream")
	}
}

// TestKeysAreWrittenAgain: keys of streams that somebody has deleted are written again by their
// owners, and it is told once, however many there are.
func TestKeysAreWrittenAgain(t *testing.T) {
	t.Parallel()
	broker := natstest.StartBroker(t)
	conn, a := joinOver(t, broker.URL())
	keys := []string{"cam-1", "cam-2"}
	for _, key := range keys {
		acquire(t, a, claim(key))
		flush(t, a, key, conntest.Slot(7), bucketCursor(t, broker.URL(), key))
	}
	if n := conn.Remakes(); n != 0 {
		t.Errorf("before anything was lost, that was told %d times", n)
	}
	deleteKeys(t, broker.URL())
	for _, key := range keys {
		a.Set(key, conntest.Slot(8))
		natstest.Within(t, func() error { return a.Flush(t.Context(), key) })
		if got := bucketCursor(t, broker.URL(), key)(); got != conntest.Slot(8) {
			t.Errorf("the cursor of %s is %v", key, got)
		}
	}
	if n := conn.Remakes(); n != 1 {
		t.Errorf("that keys were lost was told %d times", n)
	}
}

func deleteBucket(t *testing.T, url string) {
	t.Helper()
	if err := conntest.JetStream(t, url).DeleteKeyValue(t.Context(), lease.Bucket); err != nil {
		t.Fatal(err)
	}
}

func deleteKeys(t *testing.T, url string) {
	t.Helper()
	kv := leaseKV(t, url)
	keys, err := kv.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if err := kv.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}

func purgeBucket(t *testing.T, url string) {
	t.Helper()
	stream, err := conntest.JetStream(t, url).Stream(t.Context(), "KV_"+lease.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
}
