package lease

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// badLeases are values of the bucket that no member writes.
var badLeases = []string{
	``, `null`, `1`, `[]`, `{}`, `{"owner":"a"}`, `{"owner":1,"cursor":"2026-01-02T03:04:05Z"}`,
	`{"owner":"a","cursor":"9999-12-31T23:59:59-12:00"}`, `{"owner":"a","cursor":"0001-01-01T00:00:00Z"}`,
	`{"owner":"a","cursor":"2200-01-01T00:00:00Z"}`, `{"owner":"a","cursor":"` + strings.Repeat("9", 1<<20) + `"}`,
	`{"owner":"` + strings.Repeat("a", 1<<20) + `","cursor":"2026-01-02T03:04:05Z"}`,
}

func TestValuesOfOthers(t *testing.T) {
	for _, value := range badLeases {
		if is, err := decodeLease([]byte(value)); err == nil {
			t.Errorf("%.80s was taken for %+v", value, is)
		}
	}
	for _, text := range []string{"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.2Z", "1970-01-01T00:00:00Z"} { // as earlier versions wrote it
		is, err := decodeLease([]byte(`{"owner":"a","cursor":"` + text + `"}`))
		if at, _ := time.Parse(time.RFC3339, text); err != nil || is.Cursor != source.SlotAt(at) || is.Owner != "a" {
			t.Errorf("%s: %+v, %v", text, is, err)
		}
	}
	// Whatever this process may have for a cursor, it is written, and nothing panics.
	for _, cursor := range []source.Slot{0, 1, -1, math.MaxInt64, math.MinInt64, 1767323045200} {
		if len(lease{Owner: "a\xff\x00", Cursor: cursor}.encode()) == 0 {
			t.Errorf("%d is not written", cursor)
		}
	}
}

// TestMembersOfOthers: a value that no member writes makes nobody a member.
func TestMembersOfOthers(t *testing.T) {
	zero := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := newMembers("me", 6*time.Second)
	revision := uint64(0)
	apply := func(name, value string) {
		revision++
		m.apply(change{name: name, value: []byte(value), revision: revision, at: zero}, zero)
	}
	for i, value := range []string{
		``, `null`, `[]`, `{}`, `{"weight":1}`, `{"weight":-1,"lease":6}`, `{"weight":1e300,"lease":6}`, `{"weight":1e999,"lease":6}`,
		`{"weight":1,"lease":1e300}`, `{"weight":1,"lease":-6}`, `{"weight":1,"lease":1e-9}`, `{"weight":1,"lease":9223372036}`,
	} {
		apply(fmt.Sprint("bad-", i), value)
	}
	if all, _ := m.list(zero); len(all) != 0 {
		t.Errorf("members: %v", all)
	}
	released := `"` + strings.Repeat(`x","`, 50_000) + `x"`
	for i := range 3 * maxMembers {
		text := ""
		if i < 5 {
			text = released
		}
		apply(fmt.Sprint("good-", i), `{"weight":1,"lease":6,"released":[`+text+`]}`)
	}
	if all, _ := m.list(zero); len(all) != maxMembers || len(m.takeHints()) > maxHints {
		t.Errorf("%d members, and more than %d hints", len(all), maxHints)
	}
}

func FuzzValues(f *testing.F) {
	for _, value := range badLeases[:10] {
		f.Add([]byte(value))
	}
	f.Add([]byte(`{"owner":"a","cursor":"2026-01-02T03:04:05Z","weight":1,"lease":6,"released":["cam-1"]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		if is, err := decodeLease(value); err == nil {
			if again, err := decodeLease(is.encode()); err != nil || again.Cursor != is.Cursor {
				t.Errorf("%+v, and again %+v, %v", is, again, err)
			}
		}
		m := newMembers("me", DefaultDuration)
		m.apply(change{name: "a", value: value, revision: 1}, time.Time{})
		for _, s := range m.all {
			if s.lease <= 0 || s.lease > maxLease || s.Weight < 0 || s.Weight > maxWeight {
				t.Errorf("%+v", s)
			}
		}
	})
}
