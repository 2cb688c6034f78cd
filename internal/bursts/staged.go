package bursts

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// Media becomes visible in whole fragments some time after its end, and looking for it before is
// paid for. So what lies ahead is read in stages, each when its media should be there.

// stageTime is how long a stage is at least.
const stageTime = 5 * time.Second

// unknownVisible is how long after its instant a slot is taken to be visible while nobody knows.
const unknownVisible = 5 * time.Second

// Stages says how a range is read that is not all there yet.
type Stages struct {
	// Now returns the present by the clock of the slots.
	Now func() source.Slot
	// Visible is how long after its instant a slot usually is visible, and Fragment how long
	// fragments are; 0 where that is not known.
	Visible, Fragment time.Duration
}

// Split returns the parts of a range: what should be visible now, and what follows in stages.
func (s Stages) Split(r Range) ([]Range, error) {
	grid, err := source.NewGrid(r.Interval)
	if err != nil {
		return nil, err
	}
	length := max(stageTime, 2*s.Fragment)
	var all []Range
	visible := grid.Floor(s.Now().Add(-s.visible()))
	for part := r; part.From < r.To; part.From = part.To {
		if part.To = part.From.Add(length); part.From < visible {
			part.To = visible
		}
		if part.To = grid.Ceil(part.To); r.To.Sub(part.To) < length/2 && part.To > visible { // no short one at the end
			part.To = r.To
		}
		part.To = min(part.To, r.To)
		all = append(all, part)
	}
	return all, nil
}

func (s Stages) visible() time.Duration {
	if s.Visible > 0 {
		return s.Visible
	}
	return unknownVisible
}

// Read returns what reads the parts of a range together, each when it should be visible.
func (s Stages) Read(parts []Range, readings []Reading) Reading { return &staged{s, parts, readings} }

type staged struct {
	Stages
	parts    []Range
	readings []Reading
}

// Run implements [Reading].
func (s *staged) Run(ctx context.Context) error {
	errs := make([]error, len(s.parts))
	var reading sync.WaitGroup
	for i, p := range s.parts {
		reading.Go(func() {
			if errs[i] = s.wait(ctx, p.To.Add(s.visible())); errs[i] == nil {
				errs[i] = s.readings[i].Run(ctx)
			}
		})
	}
	reading.Wait()
	return errors.Join(errs...)
}

func (s *staged) wait(ctx context.Context, until source.Slot) error {
	d := until.Sub(s.Now())
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stats implements [Reading].
func (s *staged) Stats() source.Stats {
	all := s.readings[0].Stats()
	for _, r := range s.readings[1:] {
		all = sum(all, r.Stats())
	}
	return all
}
