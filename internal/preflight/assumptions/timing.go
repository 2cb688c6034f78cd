package assumptions

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/forecast"
	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// usualDelay is how long after its end a fragment is expected to be visible, at most.
const usualDelay = 5 * time.Second

const noMedia = "NO_MEDIA"

// askRunning opens windows at instants that have a picture, most of them amid a fragment.
func askRunning(ctx context.Context, s *subject) (string, bool, error) {
	a, err := s.closely(ctx, enough)
	if err != nil {
		return "", false, err
	}
	// Three instants, at most one of which is the beginning of a fragment.
	offsets := []time.Duration{1300 * time.Millisecond, 2700 * time.Millisecond, 4100 * time.Millisecond}
	row := a.clear()
	if row[len(row)-1].Sub(row[0]) < offsets[len(offsets)-1] {
		return "", false, untoldf("there are not enough pictures in a row")
	}
	skipped := 0
	for _, off := range offsets {
		at := row[0].Add(off)
		got, err := s.ask(ctx, poll.Window{Start: at, End: at.Add(time.Second), Interval: time.Second}, poll.PageSlots)
		if err != nil {
			return "", false, err
		}
		if _, ok := got.pictures[at]; !ok {
			skipped++
		}
	}
	seen := fmt.Sprintf("%d of %d windows had no image of the instant at which they opened", skipped, len(offsets))
	if skipped == 1 {
		return seen, false, untoldf("the windows were answered in different ways")
	}
	return seen, skipped > 0, nil
}

// askEmpty asks for the last second, of which nothing can be visible.
func askEmpty(ctx context.Context, s *subject) (string, bool, error) {
	if _, _, err := s.look(ctx); err != nil {
		return "", false, err
	}
	now := s.now()
	w := poll.Window{Start: now.Add(-time.Second), End: now, Interval: time.Second}
	if err := s.spend(w.Slots()); err != nil {
		return "", false, err
	}
	p, err := s.page(ctx, kinesis.PageRequest{Window: w, MaxResults: poll.PageSlots, Width: s.size.X, Height: s.size.Y})
	label := kinesis.Label(err)
	if err != nil && (ctx.Err() != nil || label == noAnswer) {
		return "", false, err
	}
	if err != nil {
		return label, label == notFound, nil //nolint:nilerr // that is the answer
	}
	if len(p.Images) == 0 {
		return "an empty list", false, nil
	}
	codes := map[string]bool{}
	for _, img := range p.Images {
		if len(img.Data) > 0 {
			return "", false, untoldf("there was a picture of the last second")
		}
		codes[entryText(img.Error)] = true
	}
	return fmt.Sprintf("an answer with %v for each instant", strings.Join(slices.Sorted(maps.Keys(codes)), " or ")), false, nil
}

// askEdge looks at what came after the newest picture, and asks for it again until there is
// a picture.
func askEdge(ctx context.Context, s *subject) (string, bool, error) {
	edge, _, err := s.look(ctx)
	if err != nil {
		return "", false, err
	}
	at := edge.Add(roughStep)
	if at > s.rough.window.End {
		return "", false, untoldf("there was a picture of the present")
	}
	seen, same := "no entry", false
	if code, ok := s.rough.errors[at]; ok {
		seen, same = entryText(code), code == noMedia
	}
	// The fragment that holds it begins after the edge.
	w := poll.Window{Start: edge, End: at, Interval: roughStep}
	for {
		got, err := s.ask(ctx, w, poll.PageSlots)
		if err != nil {
			return seen, false, err
		}
		if _, ok := got.pictures[at]; ok {
			return fmt.Sprintf("%s, and a picture at most %v after its time", seen, got.asked.Sub(at).Round(100*time.Millisecond)), same, nil
		}
		if err := pacing.Sleep(ctx, 2*time.Second); err != nil {
			return seen, false, err
		}
	}
}

// entryText names an entry without a picture. Codes are of a fixed set, so that nothing
// else gets into a report.
func entryText(code string) string {
	switch code {
	case noMedia, "MEDIA_ERROR":
		return code
	case "":
		return "an entry with neither content nor error"
	default:
		return "an entry with an unknown error"
	}
}

// askDelay watches some fragments become visible.
func askDelay(ctx context.Context, s *subject) (string, bool, error) {
	if _, _, err := s.look(ctx); err != nil {
		return "", false, err
	}
	scout := forecast.Scout{Now: s.opts.Client.Now, Ask: func(ctx context.Context, w poll.Window) ([]source.Slot, error) {
		a, err := s.ask(ctx, w, poll.PageSlots)
		if err != nil {
			return nil, err
		}
		return a.found(), nil
	}}
	const followed = 2
	fragments, err := scout.Follow(ctx, followed)
	if err != nil {
		return "", false, err
	}
	worst, longest := time.Duration(0), time.Duration(0)
	for _, f := range fragments {
		worst, longest = max(worst, f.Delay()), max(longest, f.Length())
	}
	return fmt.Sprintf("%v after the end of fragments of %v, at most", worst.Round(100*time.Millisecond), longest), worst <= usualDelay, nil
}
