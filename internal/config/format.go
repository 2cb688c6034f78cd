package config

import (
	"fmt"
	"image"
	"math"
	"strconv"
	"time"

	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

// MarshalText writes the size in the largest unit in which it is a whole number.
func (b Bytes) MarshalText() ([]byte, error) {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}} {
		if n := int64(b); n != 0 && n%unit.size == 0 {
			return fmt.Appendf(nil, "%d%s", n/unit.size, unit.name), nil
		}
	}
	return fmt.Appendf(nil, "%dB", int64(b)), nil
}

// MarshalText writes "auto" or a duration.
func (a AutoDuration) MarshalText() ([]byte, error) {
	if time.Duration(a) == poll.Auto {
		return []byte("auto"), nil
	}
	return []byte(time.Duration(a).String()), nil
}

// MarshalText writes what [Size.UnmarshalText] reads.
func (s Size) MarshalText() ([]byte, error) {
	if s == (Size{}) {
		return nil, nil
	}
	return fmt.Appendf(nil, "%dx%d", s.Width, s.Height), nil
}

// MarshalText writes what [Box.UnmarshalText] reads.
func (b Box) MarshalText() ([]byte, error) { return []byte(transform.FormatBox(image.Point(b))), nil }

// MarshalText writes what [Pad.UnmarshalText] reads.
func (p Pad) MarshalText() ([]byte, error) {
	return []byte(transform.FormatPad(p.All, p.Channels)), nil
}

// MarshalText writes what [ROI.UnmarshalText] reads.
func (r ROI) MarshalText() ([]byte, error) { return []byte(transform.ROI(r).String()), nil }

// MarshalText writes the scale as 1/n where n is a whole number, otherwise as a number.
func (s Scale) MarshalText() ([]byte, error) {
	if n := math.Round(1 / float64(s)); n != 1 && s != 0 && Scale(1/n) == s {
		return fmt.Appendf(nil, "1/%.0f", n), nil
	}
	return strconv.AppendFloat(nil, float64(s), 'g', -1, 64), nil
}

// MarshalText writes what [QuantScale.UnmarshalText] reads.
func (s QuantScale) MarshalText() ([]byte, error) { return Scale(s).MarshalText() }

// MarshalText writes the share as a percentage.
func (s Share) MarshalText() ([]byte, error) {
	return append(strconv.AppendFloat(nil, math.Round(float64(s)*1e10)/1e8, 'f', -1, 64), '%'), nil
}

// MarshalText writes what [Start.UnmarshalText] reads.
func (s Start) MarshalText() ([]byte, error) {
	if s.Kind == StartAt {
		return s.Time.AppendFormat(nil, time.RFC3339Nano), nil
	}
	return []byte(s.Kind), nil
}

// MarshalText writes what [End.UnmarshalText] reads.
func (e End) MarshalText() ([]byte, error) {
	if e.Time.IsZero() {
		return nil, nil
	}
	return e.Time.AppendFormat(nil, time.RFC3339Nano), nil
}
