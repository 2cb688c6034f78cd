// Package savings says for the plan of "cvfeeder check" what the gates of outputs save at best.
package savings

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
)

// OfGates returns a line for each kind of gate. The other lines of a plan leave gates out,
// because how much changes before a camera is not known: this is what they save where nothing
// ever changes. Where something always does, they save nothing.
func OfGates(outputs map[string]config.Output, streams []config.Stream) []string {
	tensors, images, idle := map[string]int{}, map[string]int{}, map[string]int{}
	for _, s := range streams {
		if s.Poll == config.PollRequest {
			continue
		}
		pace, without := relaxed(outputs, s)
		for _, name := range s.Outputs {
			if g := outputs[name].Gate; g.Change > 0 {
				step := max(pace, s.Interval)
				every := max(g.Every-g.Every%step, step) // a frame passes if the next one would be too late
				tensors[fmt.Sprintf("output %s of %%s: while nothing changes, one tensor in %v instead of one in %v, %s of the bytes at best; all of them where something always changes",
					name, every, s.Interval, share(s.Interval, every))]++
			}
		}
		switch {
		case pace > s.Interval:
			images[fmt.Sprintf("%%s: while nothing changes, one image in %v instead of one in %v (relax), %s of the images at best", pace, s.Interval, share(s.Interval, pace))]++
		case len(without) > 0:
			idle[fmt.Sprintf("%%s: relax saves no images, because of %s, which needs them at all times", strings.Join(without, ", "))]++
		}
	}
	var lines []string
	for _, kind := range []map[string]int{tensors, images, idle} {
		for _, text := range slices.Sorted(maps.Keys(kind)) {
			before, after, _ := strings.Cut(text, "%s")
			lines = append(lines, before+count(kind[text])+after)
		}
	}
	return lines
}

// relaxed returns how far apart a stream's images are while nothing changes, 0 where they are as
// far apart as ever. If only some of its outputs have relax, without are the others.
func relaxed(outputs map[string]config.Output, s config.Stream) (pace time.Duration, without []string) {
	for _, name := range s.Outputs {
		g := outputs[name].Gate
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

// share formats a part of a duration as a percentage.
func share(part, of time.Duration) string {
	return strconv.FormatFloat(100*float64(part)/float64(of), 'g', 2, 64) + "%"
}

func count(streams int) string {
	if streams == 1 {
		return "1 stream"
	}
	return strconv.Itoa(streams) + " streams"
}
