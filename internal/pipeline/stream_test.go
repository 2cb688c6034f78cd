package pipeline

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

type listing struct{ live }

func (listing) Fragments(_ context.Context, from, to source.Slot) ([]poll.Span, error) {
	return []poll.Span{{Start: from, End: to}}, nil
}

// TestWatchedLists has the poller find that a stream can list its fragments, or
// cannot, behind what the pipeline puts around it.
func TestWatchedLists(t *testing.T) {
	spans, err := watched{Fetcher: listing{}}.Fragments(t.Context(), 1, 2)
	if want := []poll.Span{{Start: 1, End: 2}}; err != nil || !slices.Equal(spans, want) {
		t.Errorf("%v, %v", spans, err)
	}
	if _, err := (watched{Fetcher: live{}}).Fragments(t.Context(), 1, 2); !errors.Is(err, source.ErrRefused) {
		t.Errorf("a fetcher that cannot list: %v", err)
	}
}
