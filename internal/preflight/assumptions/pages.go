package assumptions

import (
	"context"
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// askPage compares the first page with what the source plans by.
func askPage(ctx context.Context, s *subject) (string, bool, error) {
	a, err := s.closely(ctx, enough)
	if err != nil {
		return "", false, err
	}
	if n := a.window.Slots(); n <= poll.PageSlots {
		return "", false, untoldf("only %d images could be asked for", n)
	}
	first := a.pages[0]
	if s.refused != "" {
		return fmt.Sprintf("%s, but %d if %d are asked for", s.refused, len(first.Images), poll.PageSlots), false, nil
	}
	seen := fmt.Sprintf("%d of the %d", len(first.Images), a.window.Slots())
	if first.Token == "" {
		return seen + ", without a token", false, nil
	}
	// Where entries are left out, a page holds fewer than it covers.
	covers := 0
	for _, img := range first.Images {
		if at, ok := a.slot(img); ok {
			covers = max(covers, int(at.Sub(a.window.Start)/a.window.Interval)+1)
		}
	}
	same := len(first.Images) == poll.PageSlots || covers == poll.PageSlots
	return fmt.Sprintf("%s, and then a token; %d pages in all", seen, len(a.pages)), same, nil
}

// askOrder looks for images that come after a later one of the same page.
func askOrder(ctx context.Context, s *subject) (string, bool, error) {
	a, err := s.closely(ctx, enough)
	if err != nil {
		return "", false, err
	}
	wrong, all := 0, 0
	for _, p := range a.pages {
		var last time.Time
		for _, img := range p.Images {
			all++
			if img.Time.Before(last) {
				wrong++
			}
			last = img.Time
		}
	}
	if wrong == 0 {
		return "yes", true, nil
	}
	return fmt.Sprintf("no: %d of %d came after a later one", wrong, all), false, nil
}

// askTwice looks for pictures that come more than once in an answer.
func askTwice(ctx context.Context, s *subject) (string, bool, error) {
	a, err := s.closely(ctx, enough)
	if err != nil {
		return "", false, err
	}
	twice, all := 0, 0
	seen := map[source.Slot]bool{}
	for _, p := range a.pages {
		for _, img := range p.Images {
			at, ok := a.slot(img)
			if !ok || len(img.Data) == 0 {
				continue
			}
			if all++; seen[at] {
				twice++
			}
			seen[at] = true
		}
	}
	if twice == 0 {
		return "yes", true, nil
	}
	return fmt.Sprintf("no: %d of %d had come before", twice, all), false, nil
}

// askGrid compares timestamps with the instants that were asked for.
func askGrid(ctx context.Context, s *subject) (string, bool, error) {
	a, err := s.closely(ctx, enough)
	if err != nil {
		return "", false, err
	}
	var worst time.Duration
	off, outside, all := 0, 0, 0
	for _, p := range a.pages {
		for _, img := range p.Images {
			if len(img.Data) == 0 {
				continue
			}
			all++
			at, ok := a.slot(img)
			if !ok {
				outside++
				continue
			}
			if by := img.Time.Sub(at.Time()).Abs(); by > 0 {
				off, worst = off+1, max(worst, by)
			}
		}
	}
	switch {
	case off == 0 && outside == 0:
		return "yes, to the millisecond", true, nil
	case outside == 0:
		return fmt.Sprintf("no: %d of %d are off, by up to %v", off, all, worst), false, nil
	default:
		return fmt.Sprintf("no: %d of %d are off, by up to %v, and %d are outside of the window", off, all, worst, outside), false, nil
	}
}

// askFrames looks for pictures that repeat the one before, and for instants without one.
func askFrames(ctx context.Context, s *subject) (string, bool, error) {
	a, err := s.closely(ctx, few)
	if err != nil {
		return "", false, err
	}
	found := a.found()
	repeats := 0
	for i, at := range found[1:] {
		if string(a.pictures[at].Data) == string(a.pictures[found[i]].Data) {
			repeats++
		}
	}
	slots := int(found[len(found)-1].Sub(found[0])/a.window.Interval) + 1
	missing := slots - len(found)
	switch {
	case repeats == len(found)-1:
		return "", false, untoldf("all pictures are the same: the camera may show something that does not move")
	case repeats == 0 && missing == 0:
		return fmt.Sprintf("yes: %d of %d", len(found), slots), true, nil
	default:
		return fmt.Sprintf("no: of %d instants, %d repeat the picture before, and %d have none", slots, repeats, missing), false, nil
	}
}
