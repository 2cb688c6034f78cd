// Package hours has the opening hours of a camera: the times of a week, by the clock on a
// wall somewhere, in which it is read.
//
//	open, err := hours.Parse("Mon-Fri 07:00-19:00, Sat 09:00-13:00 Europe/Berlin")
//	if open.At(time.Now()) …
//
// When the clocks change, the hours follow the clock on the wall: an hour that comes twice is
// open twice, and one that is left out is not. The time zones are part of the program.
package hours

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the image has no files of time zones
)

const (
	dayMinutes  = 24 * 60
	weekMinutes = 7 * dayMinutes
	maxSpans    = 100
)

// Hours are times of a week. The zero value is always.
type Hours struct {
	zone  *time.Location
	spans []span
}

// A span is a time of some days. If it ends before it begins, it ends on the next day.
type span struct {
	days     [7]bool // from Sunday on
	from, to int     // minutes of the day
}

// Parse reads hours: spans such as "Mon-Fri 07:00-19:00", "Sun 22:00-06:00" (into the next
// day) or "07:00-19:00" (every day), with commas between them, and a time zone of the IANA
// database at the end, by default UTC. "" is always.
func Parse(text string) (Hours, error) {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return Hours{}, nil
	}
	h := Hours{zone: time.UTC}
	if last := len(fields) - 1; !strings.Contains(fields[last], ":") {
		zone, err := time.LoadLocation(fields[last])
		if err != nil {
			return Hours{}, fmt.Errorf("%.40q is not a time zone; for example Europe/Berlin or UTC", fields[last])
		}
		h.zone, fields = zone, fields[:last]
	}
	for part := range strings.SplitSeq(strings.ReplaceAll(strings.Join(fields, " "), " - ", "-"), ",") {
		s, err := parseSpan(strings.TrimSpace(part))
		if err != nil {
			return Hours{}, err
		}
		if h.spans = append(h.spans, s); len(h.spans) > maxSpans {
			return Hours{}, fmt.Errorf("these are more than %d times of the week", maxSpans)
		}
	}
	return h, nil
}

func parseSpan(text string) (span, error) {
	wrong := fmt.Errorf(`%.40q is not a time of the week; for example "Mon-Fri 07:00-19:00 Europe/Berlin"`, text)
	days, times, some := strings.Cut(text, " ")
	if !some {
		days, times = "Sun-Sat", text
	}
	from, to, ok := strings.Cut(times, "-")
	if !ok {
		return span{}, wrong
	}
	var s span
	var valid [3]bool
	s.days, valid[0] = parseDays(days)
	s.from, valid[1] = parseTime(from)
	s.to, valid[2] = parseTime(to)
	if valid != [3]bool{true, true, true} || s.from == dayMinutes {
		return span{}, wrong
	}
	if s.from == s.to {
		return span{}, fmt.Errorf("%.40q begins when it ends; a whole day is 00:00-24:00", text)
	}
	return s, nil
}

// parseDays reads "Mon" or "Mon-Fri".
func parseDays(text string) (days [7]bool, ok bool) {
	first, last, several := strings.Cut(text, "-")
	if !several {
		last = first
	}
	from, ok := parseDay(first)
	to, ok2 := parseDay(last)
	if !ok || !ok2 {
		return days, false
	}
	for d := from; ; d = (d + 1) % len(days) {
		days[d] = true
		if d == to {
			return days, true
		}
	}
}

func parseDay(text string) (int, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(text, d.String()) || strings.EqualFold(text, d.String()[:3]) {
			return int(d), true
		}
	}
	return 0, false
}

// parseTime reads 07:00 as minutes of the day.
func parseTime(text string) (int, bool) {
	hour, minute, ok := strings.Cut(text, ":")
	h, err := strconv.ParseUint(hour, 10, 8)
	m, err2 := strconv.ParseUint(minute, 10, 8)
	at := int(h)*60 + int(m)
	return at, ok && err == nil && err2 == nil && len(minute) == 2 && len(hour) <= 2 && m < 60 && at <= dayMinutes
}

// At tells whether an instant is within the hours.
func (h Hours) At(t time.Time) bool {
	if h.spans == nil {
		return true
	}
	t = t.In(h.zone)
	return h.open(int(t.Weekday()), t.Hour()*60+t.Minute())
}

func (h Hours) open(day, minute int) bool {
	for _, s := range h.spans {
		before := (day + 6) % 7
		switch {
		case s.from < s.to && s.days[day] && minute >= s.from && minute < s.to,
			s.from > s.to && s.days[day] && minute >= s.from,
			s.from > s.to && s.days[before] && minute < s.to:
			return true
		}
	}
	return false
}

// Share returns the share of a week that is within the hours, from 0 to 1.
func (h Hours) Share() float64 {
	if h.spans == nil {
		return 1
	}
	n := 0
	for m := range weekMinutes {
		if h.open(m/dayMinutes, m%dayMinutes) {
			n++
		}
	}
	return float64(n) / weekMinutes
}
