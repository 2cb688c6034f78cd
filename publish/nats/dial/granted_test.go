package dial_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// TestAPermissionIsTakenAway: after all was granted, what is denied keeps everything from
// being published, until all is granted again; and it is told once each time.
func TestAPermissionIsTakenAway(t *testing.T) {
	url := natstest.StartUsers(t, &server.Options{}, map[string]*server.Permissions{
		"feeder": {Publish: &server.SubjectPermission{Allow: []string{"allowed"}}},
	})
	var told atomic.Int32
	conn := conntest.Dial(t, dial.Options{URL: url("feeder"), OnDenied: func(error) { told.Add(1) }})
	if err := conn.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn.Granted()
	on := conn.Control()
	for round := int32(1); round <= 3; round++ {
		if err := errors.Join(on.Ready(), on.Publish(publish.Message{Subject: "allowed"}, ""), on.Flush(t.Context())); err != nil {
			t.Fatal(err)
		}
		if err := on.Publish(publish.Message{Subject: "denied"}, ""); err != nil {
			t.Fatal(err)
		}
		natstest.Eventually(t, "that it is denied is told", func() bool { return told.Load() == round })
		var drop *publish.DropError
		if err := on.Ready(); !errors.As(err, &drop) || drop.Reason != publish.DropRefused || !errors.Is(err, dial.ErrRefused) {
			t.Errorf("ready: %v", err)
		}
		if err := on.Flush(t.Context()); !errors.Is(err, dial.ErrRefused) {
			t.Errorf("flush: %v", err)
		}
		if conn.Denied() == nil || conn.Waiting() == "" {
			t.Error("it is not known")
		}
		conn.Granted()
		if conn.Denied() != nil || conn.Waiting() != "" {
			t.Errorf("after it was granted again: %v, %q", conn.Denied(), conn.Waiting())
		}
	}
}
