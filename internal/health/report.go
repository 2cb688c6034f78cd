package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// stuckAfter is how old a report may be before nobody believes it any more.
const stuckAfter = 30 * time.Second

// named is how many streams with the same reason are named in [Report.Lines].
const named = 3

// A Report is how the process and its streams are.
type Report struct {
	// At is that of the snapshot.
	At time.Time
	// Ready says that something is expected here, and that it flows.
	Ready bool
	// Reasons are those of the process, worst first. There may be some although it is
	// ready.
	Reasons []Reason
	// Streams are the reports of the streams, by name.
	Streams map[string]StreamReport
}

// A StreamReport is how one stream is.
type StreamReport struct {
	State State
	// Reasons are worst first; the first one explains the state.
	Reasons []Reason
	// Flows says that frames come.
	Flows bool
}

// Reason returns the worst reason, and false where there is none.
func (s StreamReport) Reason() (Reason, bool) {
	if len(s.Reasons) == 0 {
		return Reason{}, false
	}
	return s.Reasons[0], true
}

// Read returns the report as it is to be believed at now: one that has not been renewed
// for long says nothing any more.
func (r Report) Read(now time.Time) Report {
	if age := now.Sub(r.At); age > stuckAfter {
		r.Ready = false
		r.Reasons = append([]Reason{{Stuck, r.At, ""}}, r.Reasons...)
	}
	return r
}

// explained tells whether a reason that is told says why the process is not ready.
func (r Report) explained() bool {
	if blocks(r.Reasons) {
		return true
	}
	for _, s := range r.Streams {
		if !s.Flows && len(s.Reasons) > 0 {
			return true
		}
	}
	return false
}

// Counts returns how many streams have each reason. It is at least 1 for those of the
// process, and 0 for those that nobody has.
func (r Report) Counts() map[Code]int {
	counts := map[Code]int{}
	for _, c := range Codes() {
		counts[c] = 0
	}
	for _, s := range r.Streams {
		for _, reason := range s.Reasons {
			counts[reason.Code]++
		}
	}
	for _, reason := range r.Reasons {
		counts[reason.Code] = max(counts[reason.Code], 1)
	}
	return counts
}

// Lines returns all reasons for people, worst first, a line for each. Of many streams with
// the same reason, a few are named.
func (r Report) Lines() []string {
	var lines []string
	for _, reason := range r.Reasons {
		lines = append(lines, fmt.Sprintf("%s: %s", reason.Code, reason.Text()))
	}
	by := map[Code][]string{}
	for name, s := range r.Streams {
		for _, reason := range s.Reasons {
			if !has(r.Reasons, reason.Code) {
				by[reason.Code] = append(by[reason.Code], name)
			}
		}
	}
	codes := make([]Code, 0, len(by))
	for c := range by {
		codes = append(codes, c)
	}
	slices.SortFunc(codes, func(a, b Code) int { return cmp.Compare(a.rank(), b.rank()) })
	for _, c := range codes {
		lines = append(lines, r.lines(c, by[c])...)
	}
	return lines
}

// lines returns the lines about the streams that have a reason.
func (r Report) lines(c Code, names []string) []string {
	slices.Sort(names)
	var lines []string
	for _, name := range names[:min(named, len(names))] {
		for _, reason := range r.Streams[name].Reasons {
			if reason.Code == c {
				lines = append(lines, fmt.Sprintf("%s: stream %s: %s", c, name, reason.Text()))
			}
		}
	}
	if more := len(names) - named; more > 0 {
		lines = append(lines, fmt.Sprintf("%s: and %d more streams", c, more))
	}
	return lines
}

// Span returns a duration as people write it: 8 s, 3 min, 2.5 h, 4 days.
func Span(d time.Duration) string {
	var text string
	switch {
	case d < 10*time.Second:
		text = fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		text = fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		text = fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		text = fmt.Sprintf("%.1f h", d.Hours())
	default:
		text = fmt.Sprintf("%.0f days", d.Hours()/24)
	}
	return strings.Replace(text, ".0 ", " ", 1)
}
