package deliver_test

import (
	"context"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/source"
)

func TestCursors(t *testing.T) {
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
	closeCursors := func(c *deliver.Cursors) {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	closeCursors(a)
	// Another feeder is behind, and one ahead, which none has heard of.
	b.Set("cam-1", conntest.Slot(5))
	b.Set("cam.1", conntest.Slot(25))
	closeCursors(b)
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
	closeCursors(c)
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
