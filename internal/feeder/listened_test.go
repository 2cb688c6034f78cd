package feeder

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish"
)

// answers is a delivery that only answers who listens.
type answers struct {
	publish.Delivery
	some map[string]bool
	err  error
}

func (a *answers) Interest(_ context.Context, subject string) (bool, error) {
	return a.some[subject], a.err
}

// TestWanted: one output with a listener is enough. While NATS is away nobody knows, and
// a NATS that goes on not to tell is told of, and means that somebody may listen.
func TestWanted(t *testing.T) {
	broker := &answers{some: map[string]bool{}}
	var doubts troubles
	s := pipeline.Stream{Routes: []publish.Route{{Subject: "a"}, {Subject: "b"}}}
	i := interest{broker, doubts.unknownInterest}
	wanted := i.wanted(config.Stream{Poll: config.PollSubscribed}, s, time.Now)
	away := &publish.DropError{Reason: publish.DropDisconnected, Err: errors.New("away")}
	for n, step := range []struct {
		listened            bool
		err                 error
		want, known, doubts bool
	}{
		{false, away, false, false, false},
		{false, nil, false, true, false},
		{true, nil, true, true, false},
		{false, away, false, false, false},
		{false, nil, false, true, false},
		{false, errors.New("silent"), false, false, false},
		{false, errors.New("silent"), false, false, false},
		{false, nil, false, true, false},
		{false, errors.New("too old"), false, false, false},
		{false, errors.New("too old"), false, false, false},
		{false, errors.New("too old"), true, true, true},
		{false, away, false, false, true},
		{false, nil, false, true, true},
	} {
		broker.some["b"], broker.err = step.listened, step.err
		if got, known := wanted(t.Context()); got != step.want || known != step.known {
			t.Errorf("step %d: %v, known %v", n, got, known)
		}
		if all := doubts.all(); (len(all) > 0) != step.doubts || step.doubts && all[0].Code != health.InterestUnknown {
			t.Errorf("step %d: %v", n, all)
		}
	}
	if i.wanted(config.Stream{Poll: config.PollAlways}, s, time.Now) != nil {
		t.Error("a stream that is always read asks who listens")
	}
	broker.some["a"], broker.err = true, nil
	if some, _ := i.wanted(config.Stream{Poll: config.PollRequest}, s, time.Now)(t.Context()); some {
		t.Error("a stream that is read on request only is read because somebody listens")
	}
}

// TestActive: a stream rests outside of its hours, whoever listens, and by the service's clock.
func TestActive(t *testing.T) {
	broker := &answers{some: map[string]bool{"a": true}}
	s := pipeline.Stream{Routes: []publish.Route{{Subject: "a"}}}
	now := time.Date(2026, 11, 30, 5, 59, 59, 0, time.UTC) // 06:59:59 in Berlin
	for _, poll := range []config.Poll{config.PollAlways, config.PollSubscribed, config.PollRequest} {
		at := now
		wanted := interest{broker, nil}.wanted(config.Stream{Poll: poll, Active: "Mon 07:00-08:00 Europe/Berlin"}, s, func() time.Time { return at })
		for _, step := range []struct {
			after time.Duration
			open  bool
		}{{0, false}, {time.Second, true}, {time.Hour, true}, {time.Hour + time.Second, false}, {24*time.Hour + time.Second, false}} {
			at = now.Add(step.after)
			got, known := wanted(t.Context())
			if want := step.open && poll != config.PollRequest; got != want || !known {
				t.Errorf("poll %s, at %v: %v", poll, at, got)
			}
		}
	}
}

func TestWidestPace(t *testing.T) {
	pace := func(d time.Duration) func() time.Duration { return func() time.Duration { return d } }
	for _, tc := range []struct{ a, b, want time.Duration }{
		{0, 0, 0},
		{0, time.Second, time.Second},
		{10 * time.Second, time.Second, 10 * time.Second},
		{-1, time.Second, -1},
	} {
		if got := widest(pace(tc.a), pace(tc.b))(); got != tc.want {
			t.Errorf("the wider of %v and %v is %v", tc.a, tc.b, got)
		}
	}
	if got := widest(nil, pace(time.Second))(); got != time.Second {
		t.Errorf("without the first: %v", got)
	}
}
