package deliver_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

func TestCursorsOfSeveral(t *testing.T) {
	_, conn, js := conntest.Store(t)
	open := func() *deliver.Cursors {
		c := deliver.NewCursors(conn, 1)
		if err := c.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	// A range has a key with characters that a bucket's cannot hold.
	keys := []string{"cam-1", "cam.1", "cam-1@2026-01-02T03:04:05.000Z"}
	a, b := open(), open()
	for i, key := range keys {
		if _, ok := a.Load(key); ok {
			t.Errorf("%s has a cursor already", key)
		}
		a.Set(key, conntest.Slot(10*i+10))
	}
	flush := func(c *deliver.Cursors) {
		t.Helper()
		if err := c.Flush(t.Context(), keys...); err != nil {
			t.Fatal(err)
		}
	}
	flush(a)
	// Another feeder is behind, and one ahead, which none has heard of.
	b.Set("cam-1", conntest.Slot(5))
	b.Set("cam.1", conntest.Slot(25))
	flush(b)
	c := open()
	for i, want := range []source.Slot{conntest.Slot(10), conntest.Slot(25), conntest.Slot(30)} {
		if got, ok := c.Load(keys[i]); !ok || got != want {
			t.Errorf("%s: %v, %v", keys[i], got, want)
		}
	}
	// Somebody resets one.
	kv, err := js.KeyValue(t.Context(), deliver.CursorBucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(t.Context(), "cam-1"); err != nil {
		t.Fatal(err)
	}
	c.Set("cam-1", conntest.Slot(11))
	flush(c)
	if got, _ := open().Load("cam-1"); got != conntest.Slot(11) {
		t.Errorf("after a reset: %v", got)
	}
	if _, err := kv.PutString(context.Background(), "cam-1", "yesterday"); err != nil {
		t.Fatal(err)
	}
	if err := deliver.NewCursors(conn, 1).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "nats kv del cvf_cursor cam-1") {
		t.Errorf("a damaged cursor: %v", err)
	}
}

// TestCursors runs the suite of all cursors.
func TestCursors(t *testing.T) {
	sourcetest.TestCursors(t, func(t *testing.T) func() source.Cursors {
		url, _, _ := conntest.Store(t)
		return func() source.Cursors {
			c := deliver.NewCursors(conntest.Dial(t, dial.Options{URL: url}), 1)
			if err := c.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			return c
		}
	})
}

// TestFlushWithoutServer: as long as nothing can be written, each flush fails, and
// once it can be, what was set is.
func TestFlushWithoutServer(t *testing.T) {
	b := natstest.StartBroker(t)
	c := deliver.NewCursors(conntest.Dial(t, dial.Options{URL: b.URL(), WriteTimeout: 200 * time.Millisecond}), 1)
	if err := c.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Server.Shutdown()
	for i := range 5 {
		c.Set("cam-1", conntest.Slot(i+1))
		if err := c.Flush(t.Context(), "cam-1"); err == nil {
			t.Fatal("a flush succeeds without a server")
		}
	}
	b.Restart()
	natstest.Within(t, func() error { return c.Flush(t.Context(), "cam-1") })
	conn := conntest.Dial(t, dial.Options{URL: b.URL()})
	conntest.WaitConnected(t, conn)
	if got, ok, err := deliver.SavedCursor(t.Context(), conn, "cam-1"); err != nil || !ok || got != conntest.Slot(5) {
		t.Errorf("the bucket has %v, %v, %v", got, ok, err)
	}
}
