package feeder

import (
	"context"
	"errors"
	"testing"

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

// TestWanted: one output with a listener is enough. While NATS is away it stays as it was, and
// a NATS that cannot tell is told of, and means that somebody may listen.
func TestWanted(t *testing.T) {
	broker := &answers{some: map[string]bool{}}
	var doubts troubles
	s := pipeline.Stream{Routes: []publish.Route{{Subject: "a"}, {Subject: "b"}}}
	i := interest{broker, doubts.unknownInterest}
	wanted := i.wanted(config.Stream{Poll: config.PollSubscribed}, s)
	away := &publish.DropError{Reason: publish.DropDisconnected, Err: errors.New("away")}
	for n, step := range []struct {
		listened bool
		err      error
		want     bool
		doubt    bool
	}{
		{false, nil, false, false},
		{false, away, false, false},
		{true, nil, true, false},
		{false, away, true, false},
		{false, nil, false, false},
		{false, errors.New("too old"), true, true},
		{false, away, true, true},
		{false, nil, false, true},
	} {
		broker.some["b"], broker.err = step.listened, step.err
		if got := wanted(t.Context()); got != step.want {
			t.Errorf("step %d: %v", n, got)
		}
		if all := doubts.all(); (len(all) > 0) != step.doubt || step.doubt && all[0].Code != health.InterestUnknown {
			t.Errorf("step %d: %v", n, all)
		}
	}
	if i.wanted(config.Stream{Poll: config.PollAlways}, s) != nil {
		t.Error("a stream that is always read asks who listens")
	}
	broker.some["a"], broker.err = true, nil
	if i.wanted(config.Stream{Poll: config.PollRequest}, s)(t.Context()) {
		t.Error("a stream that is read on request only is read because somebody listens")
	}
}
