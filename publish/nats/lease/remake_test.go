package lease_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// TestTheBucketIsLost: whatever becomes of the bucket, the members meet again, each stream
// has one owner again, at the cursor that was known, and new members wait for the old
// ones.
func TestTheBucketIsLost(t *testing.T) {
	for name, lose := range map[string]func(*bucketHost, *testing.T){
		"the bucket is deleted": (*bucketHost).deleteBucket,
		"its keys are deleted":  (*bucketHost).deleteKeys,
		"its keys are purged":   (*bucketHost).purge,
		"the store is wiped":    (*bucketHost).wipe,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := startBucketHost(t)
			a, b := host.join(t, "a"), host.join(t, "b")
			meet(t, a, 2)
			meet(t, b, 2)
			owners := map[string]*lease.Leases{}
			for i := range 10 {
				key, owner := fmt.Sprint("cam-", i), []*lease.Leases{a, b}[i%2]
				acquire(t, owner, claim(key))
				flush(t, owner, key, conntest.Slot(10+i), bucketCursor(t, host.ClientURL(), key))
				owners[key] = owner
			}
			lose(host, t)
			c := host.join(t, "c")
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
				flush(t, owners[key], key, conntest.Slot(20+i), bucketCursor(t, host.ClientURL(), key))
			}
			acquire(t, c, claim("new"))
		})
	}
}

// TestNobodyTakesWhatIsNotYetWritten: after the bucket was made again, a stream that is
// missing from it is left to its owner for the length of a lease, also by a member that
// has joined only now.
func TestNobodyTakesWhatIsNotYetWritten(t *testing.T) {
	t.Parallel()
	host := startBucketHost(t)
	a := host.join(t, "a")
	acquire(t, a, claim("cam-1"))
	a.Set("cam-1", conntest.Slot(7))
	host.deleteBucket(t)
	begin := time.Now()
	natstest.Within(t, func() error {
		if host.conns[0].Remakes() == 0 {
			return fmt.Errorf("the bucket is not made again")
		}
		return nil
	})
	c := host.join(t, "c")
	h, err := c.Acquire(t.Context(), claim("cam-2"))
	if err != nil || h.Held && time.Since(begin) < leaseTime {
		t.Errorf("c acquires a stream that may have an owner: %+v, %v", h, err)
	}
	acquire(t, c, claim("cam-2"))
	if !a.Holds("cam-1") {
		t.Error("a has lost its stream")
	}
}

// A bucketHost is a server that can lose the bucket.
type bucketHost struct {
	*embedded.Server
	opts  embedded.Options
	conns []*dial.Conn // of the members that have joined
}

func startBucketHost(t *testing.T) *bucketHost {
	t.Helper()
	h := &bucketHost{opts: embedded.Options{StoreDir: t.TempDir()}}
	h.Server = natstest.Serve(t, h.opts)
	h.opts.Listen = natstest.Address(h.Server)
	return h
}

// join joins the group with a member.
func (h *bucketHost) join(t *testing.T, name string) *lease.Leases {
	t.Helper()
	conn := conntest.Dial(t, dial.Options{
		URL: h.ClientURL(), WriteTimeout: time.Second, ReconnectWait: 50 * time.Millisecond,
	})
	h.conns = append(h.conns, conn)
	l := lease.New(conn, lease.Options{Group: "yard 1", Member: name, Lease: leaseTime})
	natstest.Within(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return l.Join(ctx)
	})
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (h *bucketHost) deleteBucket(t *testing.T) {
	t.Helper()
	if err := conntest.JetStream(t, h.ClientURL()).DeleteKeyValue(t.Context(), lease.Bucket); err != nil {
		t.Fatal(err)
	}
}

func (h *bucketHost) deleteKeys(t *testing.T) {
	t.Helper()
	kv := leaseKV(t, h.ClientURL())
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

func (h *bucketHost) purge(t *testing.T) {
	t.Helper()
	stream, err := conntest.JetStream(t, h.ClientURL()).Stream(t.Context(), "KV_"+lease.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// wipe restarts the server with an empty store.
func (h *bucketHost) wipe(t *testing.T) {
	t.Helper()
	h.Shutdown()
	if err := os.RemoveAll(h.opts.StoreDir); err != nil {
		t.Fatal(err)
	}
	h.Server = natstest.Serve(t, h.opts)
}
