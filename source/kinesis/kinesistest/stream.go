package kinesistest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A stream is a Stream that was checked, with its defaults filled in.
type stream struct {
	Stream
	region  string
	version string
	first   time.Time // when it was created for the first time
	faults  Faults
	media   media
	traffic *traffic
	set     atomic.Value // a status that replaces its own
}

// newStream checks s, and takes from the options what it leaves unset.
func newStream(s Stream, o Options) (*stream, error) {
	if streamNameShape.violatedBy(s.Name) != "" {
		return nil, errors.New("a name has 1 to 256 letters, digits, '_', '.' or '-'")
	}
	switch {
	case s.Retention == 0:
		s.Retention = 24 * time.Hour
	case s.Retention < 0:
		s.Retention = 0
	}
	for _, out := range s.Outages {
		if !out.From.Before(out.To) {
			return nil, fmt.Errorf("the outage from %v ends before it begins, at %v", out.From, out.To)
		}
	}
	faults := o.Faults
	if s.Faults != nil {
		var err error
		if faults, err = s.Faults.withDefaults(); err != nil {
			return nil, err
		}
	}
	random := rng(o.Seed).derive(hashOf(s.Name))
	m, err := newMedia(s, o, faults, random)
	if err != nil {
		return nil, err
	}
	created := s.Since
	if created.IsZero() {
		created = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return &stream{
		Stream:  s,
		region:  o.Region,
		version: fmt.Sprintf("%016x", hashOf(s.Name)),
		first:   created,
		faults:  faults,
		media:   m,
		traffic: newTraffic(random),
	}, nil
}

func newMedia(s Stream, o Options, faults Faults, random rng) (media, error) {
	if s.Fragment == 0 {
		s.Fragment, s.FragmentMax = o.Fragment, o.FragmentMax
	}
	if s.FragmentMax == 0 {
		s.FragmentMax = s.Fragment
	}
	if s.Delay == 0 {
		s.Delay = o.Delay
	}
	const ms = time.Millisecond
	if s.Fragment < source.MinInterval || s.FragmentMax > time.Minute || s.Fragment%ms != 0 || s.FragmentMax%ms != 0 {
		return media{}, fmt.Errorf("fragments of %v to %v: they must be whole milliseconds from %v to %v",
			s.Fragment, s.FragmentMax, source.MinInterval, time.Minute)
	}
	if s.FragmentMax < s.Fragment {
		return media{}, fmt.Errorf("fragments of %v to %v: the longest must not be below the shortest", s.Fragment, s.FragmentMax)
	}
	return media{
		rng:      random,
		shortest: source.Slot(s.Fragment.Milliseconds()), longest: source.Slot(s.FragmentMax.Milliseconds()),
		delay: max(s.Delay, 0), retention: s.Retention, since: s.Since, outages: s.Outages, faults: faults,
		eras: eras(slices.Clone(s.Clock), faults),
	}, nil
}
