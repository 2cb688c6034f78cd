package dial_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// TestDeniedMessagesAreTold sends what the server refuses, with nothing known of
// permissions before.
func TestDeniedMessagesAreTold(t *testing.T) {
	url := natstest.StartUsers(t, &server.Options{}, map[string]*server.Permissions{
		"feeder": conntest.Grant(preflight.Needs{Publish: []string{"cvf.t.other.*"}}),
	})
	var mu sync.Mutex
	var told []error
	conn := conntest.Dial(t, dial.Options{URL: url("feeder"), OnDenied: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, err)
	}})
	live := deliver.NewLive(conn, publish.GapEvents)
	conntest.WaitConnected(t, conn)
	if err := conn.Denied(); err != nil {
		t.Errorf("before anything was sent: %v", err)
	}
	for n := range 5 {
		if reason := conntest.DropReason(t, live.Publish(t.Context(), conntest.Numbered(n, 10))); reason != publish.DropRefused {
			t.Errorf("message %d was dropped as %q", n, reason)
		}
	}
	if err := live.Gap(t.Context(), publish.Gap{Stream: "cam-1", Reason: "no_media", Slots: 1}, nil); err != nil {
		t.Error(err)
	}
	// What was refused must not count as delivered.
	if err := conn.Flush(t.Context()); !errors.Is(err, dial.ErrRefused) {
		t.Errorf("Flush: %v", err)
	}
	natstest.Eventually(t, "all refusals are counted", func() bool {
		s := conn.States()
		return s[0].Errors == 5 && s[1].Errors == 1
	})
	_ = conn.Close(t.Context())
	mu.Lock()
	defer mu.Unlock()
	var text []string
	for _, err := range told {
		if !errors.Is(err, dial.ErrRefused) {
			t.Errorf("%v is not ErrRefused", err)
		}
		text = append(text, err.Error())
	}
	slices.Sort(text)
	want := []string{
		`the NATS user may not publish to cvf.gap.cam-1: allow "cvf.gap.cam-1" in the user's publish permissions`,
		`the NATS user may not publish to ` + subject + `: allow "` + subject + `" in the user's publish permissions`,
	}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if err := conn.Denied(); err == nil || err.Error() != want[1] {
		t.Errorf("Denied: %v", err)
	}
}

func TestDeniedSubscription(t *testing.T) {
	url := natstest.StartUsers(t, &server.Options{}, map[string]*server.Permissions{"reader": conntest.Grant(preflight.Needs{Subscribe: []string{"cvf.t.*.*"}})})
	conntest.WaitConnected(t, conntest.Subscribe(t, url("reader"), subject))
	err := conntest.Subscribe(t, url("reader"), "cvf.gap.>").WaitConnected(t.Context())
	if !errors.Is(err, dial.ErrRefused) || !strings.Contains(err.Error(), "may not subscribe to cvf.gap.>") {
		t.Errorf("got %v", err)
	}
}

func TestManyMissingPermissionsAreFewLines(t *testing.T) {
	e := &dial.PermissionError{User: "feeder"}
	for n := range 5000 {
		e.Missing = append(e.Missing, dial.Permission{Verb: "publish", Subject: fmt.Sprintf("cvf.t.cam-%d.x", n)})
	}
	if lines := strings.Split(e.Error(), "\n"); len(lines) != 11 || lines[10] != "and 4990 more subjects" {
		t.Errorf("%d lines, the last one %q", len(lines), lines[len(lines)-1])
	}
}
