package source

import (
	"fmt"
	"math"
	"time"
)

// The shortest and longest sampling interval. GetImages accepts no shorter one, and with a
// longer one no window of two slots.
const (
	MinInterval = 200 * time.Millisecond
	MaxInterval = 300 * time.Second
)

// A Slot is one instant of a stream's sampling grid, in milliseconds since the Unix epoch.
// Slots are what is asked for, published, missed and counted.
type Slot int64

// SlotAt returns the slot at t, truncated to whole milliseconds. It is not aligned to a
// grid: see [Grid] for that.
func SlotAt(t time.Time) Slot { return Slot(t.UnixMilli()) }

// Time returns the instant of the slot, in UTC.
func (s Slot) Time() time.Time { return time.UnixMilli(int64(s)).UTC() }

// The slots that anything from outside may name: cursors, messages, requests, answers. Any
// two of them are less than a [time.Duration] apart.
const (
	minSlot Slot = 0                 // 1970
	maxSlot Slot = 7_258_118_400_000 // 2200
	// maxTimeText is how long the text of an instant may be.
	maxTimeText = 64
)

// CheckTime returns an error for an instant that is no slot's: before 1970, or from 2200 on.
// Whoever gets an instant from outside checks it before doing anything with it.
func CheckTime(t time.Time) error {
	if t.Before(minSlot.Time()) || !t.Before(maxSlot.Time()) {
		return fmt.Errorf("the year %d is out of range: from 1970 to 2199", t.UTC().Year())
	}
	return nil
}

// ParseTime reads an instant that comes from outside: one in RFC 3339 that passes
// [CheckTime], in UTC. The error quotes little of the text, which may be anything.
func ParseTime(text string) (time.Time, error) {
	if len(text) > maxTimeText {
		return time.Time{}, fmt.Errorf("%.40q is too long for a time like 2026-01-02T03:04:05.200Z", text)
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%.40q is not a time like 2026-01-02T03:04:05.200Z", text)
	}
	if err := CheckTime(t); err != nil {
		return time.Time{}, fmt.Errorf("%.40q: %w", text, err)
	}
	return t.UTC(), nil
}

// ParseSlot is [ParseTime] for a slot.
func ParseSlot(text string) (Slot, error) {
	t, err := ParseTime(text)
	if err != nil {
		return 0, err
	}
	return SlotAt(t), nil
}

// Add returns the instant d later, truncated to whole milliseconds.
func (s Slot) Add(d time.Duration) Slot { return s + Slot(d.Milliseconds()) }

// maxApart is the most that a [time.Duration] holds, 292 years.
const maxApart = Slot(math.MaxInt64 / int64(time.Millisecond))

// Sub returns the time from other to s. Like [time.Time.Sub], it returns the longest
// duration, or its negative, if they are further apart than a duration can be.
func (s Slot) Sub(other Slot) time.Duration {
	apart := s - other
	switch {
	case s > other && (apart < 0 || apart > maxApart):
		apart = maxApart
	case s < other && (apart > 0 || apart < -maxApart):
		apart = -maxApart
	}
	return time.Duration(apart) * time.Millisecond
}

// String returns the slot in RFC 3339 with milliseconds: 2026-01-02T03:04:05.200Z.
func (s Slot) String() string { return s.Time().Format("2006-01-02T15:04:05.000Z07:00") }

// A Grid is the sampling grid of a stream: the whole multiples of its interval since the
// Unix epoch. So two processes with the same interval agree on every slot without talking
// to each other.
type Grid struct{ step Slot }

// NewGrid returns the grid of the given interval, which must be a whole number of
// milliseconds from [MinInterval] to [MaxInterval].
func NewGrid(interval time.Duration) (Grid, error) {
	switch {
	case interval < MinInterval:
		return Grid{}, fmt.Errorf("interval %v is too short: GetImages samples at most every %v", interval, MinInterval)
	case interval > MaxInterval:
		return Grid{}, fmt.Errorf("interval %v is too long: at most %v", interval, MaxInterval)
	case interval%time.Millisecond != 0:
		return Grid{}, fmt.Errorf("interval %v is not a whole number of milliseconds", interval)
	}
	return Grid{Slot(interval.Milliseconds())}, nil
}

// Interval returns the distance between neighbouring slots.
func (g Grid) Interval() time.Duration { return time.Duration(g.step) * time.Millisecond }

// Floor returns the last slot at or before s.
func (g Grid) Floor(s Slot) Slot {
	r := s % g.step
	if r < 0 {
		r += g.step
	}
	return s - r
}

// Ceil returns the first slot at or after s.
func (g Grid) Ceil(s Slot) Slot { return g.Floor(s + g.step - 1) }

// Nearest returns the slot closest to s; halfway between two it is the later one.
func (g Grid) Nearest(s Slot) Slot { return g.Floor(s + g.step/2) }

// Step returns the slot n intervals after s, or before it if n is negative.
func (g Grid) Step(s Slot, n int) Slot { return s + Slot(n)*g.step }

// Count returns how many slots of the grid lie in [from, to), both on the grid.
func (g Grid) Count(from, to Slot) int {
	if to <= from {
		return 0
	}
	return int((to - from) / g.step)
}
