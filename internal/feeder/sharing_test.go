package feeder

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
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

// TestClaimBesideAnother: two feeders begin the same range. That one of them has
// published some of it already is no reason for the other to refuse the range.
func TestClaimBesideAnother(t *testing.T) {
	srv, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	conn, err := dial.Dial(dial.Options{URL: srv.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	stored := deliver.NewStored(conn, deliver.StoredOptions{Stream: deliver.StreamOptions{
		Kind: deliver.Durable, Name: "yard", Subjects: []string{"cvf.t.>"}, MaxBytes: 1 << 20,
	}})
	one, other := deliver.NewCursors(conn, 1), deliver.NewCursors(conn, 1)
	for _, open := range []func(context.Context) error{stored.Open, one.Open, other.Open} {
		if err := open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	o := &transform.Output{Name: "a", Fingerprint: "test"}
	s := pipeline.Stream{
		Name: "cam", Key: "cam@", Backfill: true, From: source.SlotAt(time.Now().Add(-time.Hour)),
		Routes: []publish.Route{{Output: o, Subject: "cvf.t.cam.a"}},
	}
	m := publish.NewMessage("cvf.t.cam.a", &transform.Tensor{Stream: "cam", Slot: s.From, Output: o, Shape: []int{1, 1, 1, 1}, Data: []byte{1}})
	if err := stored.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := claim(t.Context(), conn, stored, other, s); !errors.Is(err, errRange) {
		t.Errorf("of a range that nobody has begun, but whose subject holds tensors: %v", err)
	}
	if err := claim(t.Context(), conn, stored, one, pipeline.Stream{Name: "cam", Key: s.Key, From: s.From}); err != nil {
		t.Fatal(err)
	}
	if err := claim(t.Context(), conn, stored, other, s); err != nil {
		t.Errorf("of a range that another feeder has begun: %v", err)
	}
}
