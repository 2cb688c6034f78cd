package bursts

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/publishtest"
	"github.com/cvfeeder/cvfeeder/source"
)

func message(subject string, s source.Slot, burst string) publish.Message {
	m := publish.Message{Subject: subject, Header: map[string][]string{publish.HeaderTime: {s.String()}}, Data: []byte{1}}
	if burst != "" {
		m = Mark(burst, m)
	}
	return m
}

// TestOnce: the stream and bursts publish the same slots at the same time. Each comes once on each
// subject, and what is older than what a burst has published, or older than what it follows in a
// burst, says that it is late.
func TestOnce(t *testing.T) {
	out := &publishtest.Memory{}
	once := NewOnce(out)
	const fine, coarse = 200, 1000
	var all sync.WaitGroup
	var mu sync.Mutex
	published, repeated := 0, 0
	publishAll := func(subject string, from, to, step source.Slot, burst string) {
		for s := from; s < to; s += step {
			err := once.Publish(context.Background(), message(subject, s, burst))
			mu.Lock()
			switch {
			case err == nil:
				published++
			case errors.Is(err, publish.ErrRepeated):
				repeated++
			default:
				t.Error(err)
			}
			mu.Unlock()
		}
	}
	for i := range 3 {
		subject := fmt.Sprint("s", i)
		all.Go(func() { publishAll(subject, 1_000_000, 1_100_000, coarse, "") })
		all.Go(func() { publishAll(subject, 1_020_000, 1_040_000, fine, "a") })
		all.Go(func() { publishAll(subject, 1_030_000, 1_050_000, fine, "b") })
	}
	all.Wait()
	// Of 100 coarse slots, 30 are among the 150 fine ones; 50 of those are in both bursts.
	if published != 3*(100+150-30) || repeated != 3*(30+50) {
		t.Errorf("%d published, %d repeated", published, repeated)
	}
	for i := range 3 {
		seen, newest := map[string]bool{}, ""
		for _, m := range out.Received(fmt.Sprint("s", i)) {
			at := m.Header[publish.HeaderTime][0]
			if seen[at] {
				t.Errorf("%s came twice", at)
			}
			seen[at] = true
			if at < newest && m.Header[publish.HeaderLate] == nil {
				t.Errorf("%s came after %s, and does not say so", at, newest)
			}
			newest = max(newest, at)
		}
	}
}

// TestOnceForgetsTheOldest: a subject with gaps everywhere has a bounded record, from which the
// long run of the stream does not vanish.
func TestOnceForgetsTheOldest(t *testing.T) {
	once := NewOnce(&publishtest.Memory{})
	ctx := t.Context()
	for s := source.Slot(1_000_000); s < 2_000_000; s += 1000 {
		if err := once.Publish(ctx, message("s", s, "")); err != nil {
			t.Fatal(err)
		}
	}
	at := source.Slot(100_000)
	for i := range source.Slot(4 * maxRuns) { // no two are as far apart as two others
		at += 7 + i%89*2
		if err := once.Publish(ctx, message("s", at, "old")); err != nil && !errors.Is(err, publish.ErrRepeated) {
			t.Fatal(err)
		}
	}
	if n := len(once.of("s").runs); n > maxRuns {
		t.Errorf("%d runs are kept", n)
	}
	if err := once.Publish(ctx, message("s", 1_500_000, "again")); !errors.Is(err, publish.ErrRepeated) {
		t.Errorf("a slot of the stream: %v", err)
	}
	once.Forget("s")
	if err := once.Publish(ctx, message("s", 1_500_000, "again")); err != nil {
		t.Error(err)
	}
}

// failing is a delivery that fails.
type failing struct {
	publishtest.Memory
	err error
}

func (f *failing) Publish(context.Context, publish.Message) error { return f.err }

// TestOnceDropped: what was dropped or unheard has not been published, and may be by another.
func TestOnceDropped(t *testing.T) {
	out := &failing{}
	once := NewOnce(out)
	for _, err := range []error{publish.ErrUnwatched, &publish.DropError{Reason: publish.DropSlow, Err: errors.New("slow")}, nil} {
		out.err = err
		if got := once.Publish(t.Context(), message("s", 1000, "a")); !errors.Is(got, err) {
			t.Errorf("%v, want %v", got, err)
		}
	}
	if err := once.Publish(t.Context(), message("s", 1000, "")); !errors.Is(err, publish.ErrRepeated) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	once.of("busy").turn <- struct{}{}
	if err := once.Publish(ctx, message("busy", 1000, "")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
