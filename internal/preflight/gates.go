package preflight

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
)

// printGates says what the gates of outputs save at best, which is in none of the other lines:
// how much changes before a camera is not known.
func (c *checker) printGates(line func(key, format string, args ...any)) {
	least, paces, idle := map[string]int{}, map[string]int{}, map[string]int{}
	text := map[string][]any{}
	for _, s := range c.streams {
		if s.Poll == config.PollRequest {
			continue
		}
		for _, name := range s.Outputs {
			g := c.cfg.Outputs[name].Gate
			if g.Change == 0 {
				continue
			}
			every := multiple(g.Every, s.Interval)
			key := name + " " + s.Interval.String()
			least[key]++
			text[key] = []any{name, every, s.Interval, percent(float64(s.Interval) / float64(every))}
		}
		switch pace, without := c.relaxed(s.Stream); {
		case pace > s.Interval:
			key := pace.String() + " " + s.Interval.String()
			paces[key]++
			text[key] = []any{pace, s.Interval, percent(float64(s.Interval) / float64(pace))}
		case len(without) > 0:
			key := strings.Join(without, ", ")
			idle[key]++
			text[key] = []any{key}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(least)) {
		line("gate", "output %s of %s: while nothing changes, one tensor in %v instead of one in %v, %s of the bytes at best; all of them where something always changes", insert(text[key], count(least[key], "stream"))...)
	}
	for _, key := range slices.Sorted(maps.Keys(paces)) {
		line("gate", "%s: while nothing changes, one image in %v instead of one in %v (relax), %s of the images at best", append([]any{count(paces[key], "stream")}, text[key]...)...)
	}
	for _, key := range slices.Sorted(maps.Keys(idle)) {
		line("gate", "%s: relax saves no images, because of %s, which needs them at all times", count(idle[key], "stream"), key)
	}
}

// insert puts a value after the first.
func insert(all []any, v any) []any { return slices.Insert(slices.Clone(all), 1, v) }

// relaxed returns how far apart a stream's images are while nothing changes, 0 where they are as
// far apart as ever. If only some of its outputs have relax, without are the others.
func (c *checker) relaxed(s config.Stream) (pace time.Duration, without []string) {
	for _, name := range s.Outputs {
		g := c.cfg.Outputs[name].Gate
		switch {
		case g.Change == 0 || g.Relax == 0:
			without = append(without, name)
		case pace == 0 || g.Relax < pace:
			pace = g.Relax
		}
	}
	if pace == 0 {
		return 0, nil
	}
	if len(without) > 0 {
		return 0, without
	}
	return multiple(pace, s.Interval), nil
}

// multiple returns the least multiple of an interval that is not less than d.
func multiple(d, interval time.Duration) time.Duration {
	if rest := d % interval; rest > 0 {
		return d + interval - rest
	}
	return d
}
