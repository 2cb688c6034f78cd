package feeder

import (
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/source"
)

// TestAGroupGoesOnAtTheCursor turns a durable cvfeeder into a group: what came while
// it was stopped is not to be left out.
func TestAGroupGoesOnAtTheCursor(t *testing.T) {
	srv, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	conn, err := dial.Dial(dial.Options{URL: srv.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	now := source.SlotAt(time.Now())
	cursor := now.Add(-time.Hour)
	cursors := deliver.NewCursors(conn, 1)
	if err := cursors.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	cursors.Set("cam", cursor)
	if err := cursors.Flush(t.Context(), "cam"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		key  string
		want source.Slot
	}{{"cam", cursor}, {"another", now}, {"", now}} {
		got, err := firstOf(t.Context(), conn, nil, pipeline.Stream{Name: "cam", Key: test.key, From: now})
		if err != nil || got != test.want {
			t.Errorf("with the key %q it begins at %v (%v), want %v", test.key, got, err, test.want)
		}
	}
}
