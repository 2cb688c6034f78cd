package jobs_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/jobs"
)

// TestStore: a record is replaced only by whoever knows its last revision.
func TestStore(t *testing.T) {
	_, conn, _ := conntest.Store(t)
	ctx := t.Context()
	s, err := jobs.Open(ctx, conn, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(ctx, "j.1"); !errors.Is(err, jobs.ErrUnknown) {
		t.Errorf("a job that was never made: %v", err)
	}
	first, err := s.Create(ctx, "j.1", []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(ctx, "j.1", []byte("b")); !errors.Is(err, jobs.ErrConflict) {
		t.Errorf("a job that is there was made again: %v", err)
	}
	if _, err := s.Update(ctx, "j.1", []byte("b"), first); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(ctx, "j.1", []byte("c"), first); !errors.Is(err, jobs.ErrConflict) {
		t.Errorf("an old revision was replaced: %v", err)
	}
	if record, _, err := s.Get(ctx, "j.1"); string(record) != "b" || err != nil {
		t.Errorf("got %q, %v", record, err)
	}
	if _, err := s.Create(ctx, "j2", nil); err != nil {
		t.Fatal(err)
	}
	if ids, err := s.IDs(ctx); !slices.Equal(ids, []string{"j.1", "j2"}) || err != nil {
		t.Errorf("got %q, %v", ids, err)
	}
}
