package preflight_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// behindLeaf starts a hub with a smaller limit, and a leaf node of it.
func behindLeaf(t *testing.T) (leaf, hub string) {
	t.Helper()
	h := natstest.Start(t, &server.Options{MaxPayload: 1 << 20, LeafNode: natstest.Leafs()})
	l := natstest.StartLeaf(t, natstest.LeafAddress(t, h), &server.Options{MaxPayload: 8 << 20})
	return l.ClientURL(), h.ClientURL()
}

func TestProbe(t *testing.T) {
	leaf, hub := behindLeaf(t)
	c, err := dial.Dial(dial.Options{URL: leaf, DataConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(t.Context()) }()
	if err := c.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	var size *publish.SizeError
	for _, tt := range []struct {
		name, reader string
		size         int
		ok           func(error) bool
	}{
		{"at the leaf node", leaf, 2 << 20, func(err error) bool { return err == nil }},
		{"at the hub, small enough", hub, 1 << 20, func(err error) bool { return err == nil }},
		{"too large for the leaf node", leaf, 9 << 20, func(err error) bool { return errors.As(err, &size) }},
		{"too large for the hub", hub, 2 << 20, func(err error) bool { return errors.Is(err, preflight.ErrNotArrived) }},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		if err := preflight.Probe(ctx, c, dial.Options{URL: tt.reader}, "cvf.t.probe.x", tt.size); !tt.ok(err) {
			t.Errorf("%s: %v", tt.name, err)
		}
		cancel()
	}
}

func TestCheckStream(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{StoreDir: t.TempDir()})
	c, err := dial.Dial(dial.Options{URL: srv.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(t.Context()) }()
	if err := c.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := deliver.StreamOptions{Kind: deliver.Durable, Subjects: []string{"cvf.t.*.*"}, MaxBytes: 1 << 20}
	for range 2 { // looking makes nothing
		got, err := preflight.CheckStream(t.Context(), c, o)
		if err != nil || got.Exists {
			t.Errorf("before there is anything: %+v, %v", got, err)
		}
		if got, err := preflight.CheckBucket(t.Context(), c, deliver.CursorBucket); err != nil || got.Exists {
			t.Errorf("before there is a bucket: %+v, %v", got, err)
		}
	}
	if err := deliver.NewStored(c, deliver.StoredOptions{Stream: o}).Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := deliver.NewCursors(c, 1).Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := preflight.CheckStream(t.Context(), c, o)
	if err != nil || !got.Exists {
		t.Errorf("when it is there: %+v, %v", got, err)
	}
	if got, err := preflight.CheckBucket(t.Context(), c, deliver.CursorBucket); err != nil || !got.Exists {
		t.Errorf("when the bucket is there: %+v, %v", got, err)
	}
	ring := o
	ring.Kind = deliver.Ring
	_, err = preflight.CheckStream(t.Context(), c, ring)
	if !errors.Is(err, dial.ErrStream) || !strings.Contains(err.Error(), "nats stream rm") {
		t.Errorf("of another kind: %v", err)
	}
	o.Name = "other"
	_, err = preflight.CheckStream(t.Context(), c, o)
	if !errors.Is(err, dial.ErrStream) || !strings.Contains(err.Error(), "stream cvfeeder has cvf.t.*.* already") {
		t.Errorf("with the subjects of another: %v", err)
	}
}
