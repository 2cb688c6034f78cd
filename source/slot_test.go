package source_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

func TestParseSlot(t *testing.T) {
	for text, want := range map[string]source.Slot{
		"2026-01-02T03:04:05.200Z":            1767323045200,
		"2026-01-02T03:04:05.2009Z":           1767323045200,
		"2026-01-02T04:04:05.2+01:00":         1767323045200,
		"1970-01-01T00:00:00Z":                0,
		"2199-12-31T23:59:59.999Z":            7258118399999,
		"2026-01-02T03:04:05.200000000+00:00": 1767323045200,
	} {
		if got, err := source.ParseSlot(text); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "now", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00+00:01", "2200-01-01T00:00:00Z",
		"9999-12-31T23:59:59-12:00", "10000-01-01T00:00:00Z", "2026-01-02", "2026-01-02T03:04:05." + strings.Repeat("0", 1<<20) + "Z",
		strings.Repeat("\x1b", 100),
	} {
		got, err := source.ParseSlot(text)
		if err == nil || len(err.Error()) > 300 || strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("%.40q: %d, %.300v", text, got, err)
		}
	}
}

// TestSlotsAreNotFarApart: no two slots that come from outside are so far apart that a
// time between them overflows.
func TestSlotsAreNotFarApart(t *testing.T) {
	first, err1 := source.ParseSlot("1970-01-01T00:00:00Z")
	last, err2 := source.ParseSlot("2199-12-31T23:59:59.999Z")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if d := last.Sub(first); d <= 0 || d != last.Time().Sub(first.Time()) || first.Sub(last) != -d {
		t.Errorf("%v", d)
	}
	for _, at := range []time.Time{{}, time.Unix(math.MaxInt64, 0), time.Unix(math.MinInt64, 0), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if source.CheckTime(at) == nil {
			t.Errorf("%v is taken for a slot", at)
		}
	}
}

func FuzzParseSlot(f *testing.F) {
	for _, text := range []string{"2026-01-02T03:04:05.200Z", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		slot, err := source.ParseSlot(text)
		if err != nil {
			return
		}
		if back, err := source.ParseSlot(slot.String()); err != nil || back != slot {
			t.Errorf("%q is %d, and again %d, %v", text, slot, back, err)
		}
		if _, err := slot.Time().MarshalJSON(); err != nil {
			t.Error(err)
		}
	})
}

// TestSubIsBounded: slots that are further apart than a duration can be are not close
// together, or in the wrong order.
func TestSubIsBounded(t *testing.T) {
	const most = time.Duration(math.MaxInt64/int64(time.Millisecond)) * time.Millisecond
	for _, tc := range []struct {
		s, other source.Slot
		want     time.Duration
	}{
		{5, 3, 2 * time.Millisecond},
		{3, 5, -2 * time.Millisecond},
		{17_673_552_607_355, 1_767_355_200_000, most},
		{1_767_355_200_000, 17_673_552_607_355, -most},
		{math.MaxInt64, math.MinInt64, most},
		{math.MinInt64, math.MaxInt64, -most},
		{0, math.MinInt64, most},
	} {
		if got := tc.s.Sub(tc.other); got != tc.want {
			t.Errorf("%d - %d: %v, want %v", tc.s, tc.other, got, tc.want)
		}
	}
}
