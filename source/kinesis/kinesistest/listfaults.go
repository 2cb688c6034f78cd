package kinesistest

import (
	"math"
	"time"
)

// maxListPage is the largest value of [Faults.ListPage].
const maxListPage = maxFragmentsPage

// listSettings returns the settings of f that concern ListFragments.
func (f *Faults) listSettings() []setting {
	return []setting{
		{"list-jitter", &f.ListJitter, "60ms", maxSpan, "largest error of the starts of fragments in lists, either way"},
		{"list-short", &f.ListShort, "100ms", maxSpan, "how much too short the lengths of fragments in lists are, at most"},
		{"list-long", &f.ListLong, "100ms", maxSpan, "how much too long the lengths of fragments in lists are, at most"},
		{"list-absurd", &f.ListAbsurd, "0.02", 0, "share of fragments whose length in lists is 0, negative or huge"},
		{"list-missing", &f.ListMissing, "0.02", 0, "share of fragments that no list has"},
		{"list-twice", &f.ListTwice, "0.05", 0, "share of fragments that every list has twice"},
		{"list-lag", &f.ListLag, "2s", maxSpan, "how much later than its images a fragment is listed"},
		{"list-ahead", &f.ListAhead, "2s", maxSpan, "how much earlier than its images a fragment is listed"},
		{"list-ends", &f.ListEnds, "0.05", 0, "share of lists that end early, without a token"},
		{"list-page", &f.ListPage, "10", maxListPage, "largest number of fragments on a page of a list"},
		{"deny-list-fragments", &f.DenyListFragments, "", 0, "refuse ListFragments, as without its permission"},
	}
}

// listed tells whether lists have f, which exists, at now.
func (m media) listed(f fragment, now time.Time) bool {
	at, ok := m.visibleFrom(f)
	if !ok || m.of(f, ofListMissing).chance(m.faults.ListMissing) || now.After(m.gone(f)) {
		return false
	}
	lag, ahead := m.faults.ListLag, m.faults.ListAhead
	if lag > 0 && (ahead == 0 || m.of(f, ofListLag).chance(0.5)) {
		return !now.Before(at.Add(lag))
	}
	return !now.Before(at.Add(-ahead)) && !now.Before((f.end + m.upload(f)).Time())
}

// listedTwice tells whether lists have f twice.
func (m media) listedTwice(f fragment) bool {
	return m.of(f, ofListTwice).chance(m.faults.ListTwice)
}

// listedOff returns how much later than it does f starts by what lists say.
func (m media) listedOff(f fragment) time.Duration {
	limit := m.faults.ListJitter
	if limit == 0 {
		return 0
	}
	return time.Duration(m.of(f, ofListJitter).around(limit)) * time.Millisecond
}

// listedLength returns how long f is by what lists say, in milliseconds.
func (m media) listedLength(f fragment) int64 {
	if absurd := m.of(f, ofListAbsurd); absurd.chance(m.faults.ListAbsurd) {
		lengths := []int64{0, -1, time.Hour.Milliseconds(), math.MaxInt64}
		return lengths[absurd.derive(0).below(int64(len(lengths)))]
	}
	length := f.end - f.start
	length = length.Add(m.of(f, ofListLong).upTo(m.faults.ListLong) - m.of(f, ofListShort).upTo(m.faults.ListShort))
	return max(int64(length), 0)
}

// of returns what decides something of f.
func (m media) of(f fragment, what uint64) rng { return m.rng.derive(what, uint64(f.start)) }
