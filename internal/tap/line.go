package tap

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/cvfeeder/cvfeeder/internal/tensorimage"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
	"github.com/cvfeeder/cvfeeder/transform"
)

// tensorLine returns the line of a tensor:
//
//	cvf.t.front-door.detector 2026-01-02T03:04:05.200Z age 1.25s float32 1x3x640x640 nchw rgb from 1920x1080 4915200 B affine 3,0,0,0,3,-420 min 0 max 1 mean 0.43
func tensorLine(t tensor.Tensor, pixels tensorimage.Tensor, now time.Time) string {
	low, high, mean := pixels.Range()
	return fmt.Sprintf("%s %s %s %s %s from %dx%d %d B affine %s min %.3g max %.3g mean %.3g",
		opening(t, now), t.DType, pixels.Dims(), t.Layout, t.Color, t.Source.X, t.Source.Y, len(t.Data),
		affines(t.Affines), low, high, mean)
}

// pictureLine returns the line of an encoded picture:
//
//	cvf.t.front-door.archive 2026-01-02T03:04:05.200Z age 1.25s image/jpeg 1280x720 rgb from 1920x1080 83211 B
func pictureLine(t tensor.Tensor, now time.Time) string {
	return fmt.Sprintf("%s %s %dx%d %s from %dx%d %d B",
		opening(t, now), t.ContentType, t.Width(), t.Height(), t.Color, t.Source.X, t.Source.Y, len(t.Data))
}

// opening returns how the line of a tensor or a picture begins.
func opening(t tensor.Tensor, now time.Time) string {
	return fmt.Sprintf("%s %s age %v", printable(t.Subject), t.Time.Format(publish.TimeFormat), t.Age(now).Round(time.Millisecond))
}

// gapLine returns the line of a gap:
//
//	cvf.gap.front-door gap no_media 4 slots 2026-01-02T03:04:05.200Z to 2026-01-02T03:04:05.800Z
func gapLine(subject string, g publish.Gap) string {
	return fmt.Sprintf("%s gap %s %d slots %s to %s",
		printable(subject), printable(g.Reason), g.Slots, g.From, g.To)
}

// affines returns the map, or the first and the number of those of tiles.
func affines(all []transform.Affine) string {
	if len(all) == 1 {
		return affine(all[0])
	}
	return fmt.Sprintf("%s of the first of %d tiles", affine(all[0]), len(all))
}

// affine returns the map with five digits, which is precise to a tenth of a pixel.
func affine(a transform.Affine) string {
	parts := make([]string, len(a))
	for i, v := range a {
		parts[i] = strconv.FormatFloat(v, 'g', 5, 64)
	}
	return strings.Join(parts, ",")
}

// printable returns s, quoted if it has characters that could confuse a terminal.
func printable(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}
