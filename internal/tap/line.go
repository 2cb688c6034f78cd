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
	return fmt.Sprintf("%s %s age %v %s %s %s %s from %dx%d %d B affine %s min %.3g max %.3g mean %.3g",
		printable(t.Subject), t.Time.Format(publish.TimeFormat), t.Age(now).Round(time.Millisecond),
		t.DType, pixels.Dims(), t.Layout, t.Color, t.Source.X, t.Source.Y, len(t.Data),
		affine(t.Affine), low, high, mean)
}

// gapLine returns the line of a gap:
//
//	cvf.gap.front-door gap no_media 4 slots 2026-01-02T03:04:05.200Z to 2026-01-02T03:04:05.800Z
func gapLine(subject string, g publish.Gap) string {
	return fmt.Sprintf("%s gap %s %d slots %s to %s",
		printable(subject), printable(g.Reason), g.Slots, g.From, g.To)
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
