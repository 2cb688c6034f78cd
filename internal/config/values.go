package config

import (
	"cmp"
	"fmt"
	"image"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
	"github.com/cvfeeder/cvfeeder/internal/hours"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

// Bytes is a number of bytes, written with its unit: 64MiB, 500KB, 4096B.
type Bytes int64

// maxBytes is so small that sums of sizes do not overflow.
const maxBytes = 1e6 * (1 << 30)

// units are the unit names in upper case.
var units = map[string]float64{
	"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9,
	"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30,
}

var quantity = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)$`)

// UnmarshalText reads a number and a unit of B, KB, MB, GB, KiB, MiB or GiB.
func (b *Bytes) UnmarshalText(text []byte) error {
	m := quantity.FindSubmatch(text)
	if m == nil {
		return fmt.Errorf("%q is not a size in bytes; for example 64MiB or 500KB", text)
	}
	unit, ok := units[strings.ToUpper(string(m[2]))]
	switch {
	case len(m[2]) == 0:
		return fmt.Errorf("%q has no unit; one of B, KB, MB, GB, KiB, MiB or GiB", text)
	case !ok:
		return fmt.Errorf("%q has an unknown unit; one of B, KB, MB, GB, KiB, MiB or GiB", text)
	}
	number, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil || number*unit > maxBytes {
		return fmt.Errorf("%q is too large; at most 1000000GiB", text)
	}
	*b = Bytes(number * unit)
	return nil
}

// AutoDuration is a duration, or [poll.Auto], which means that it is learned at run time.
type AutoDuration time.Duration

// UnmarshalText reads "auto" or a duration.
func (a *AutoDuration) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*a = AutoDuration(poll.Auto)
		return nil
	}
	d, err := strictyaml.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%w, or auto", err)
	}
	*a = AutoDuration(d)
	return nil
}

// Hours are times of a week, written as [hours.Parse] reads them. "" is always.
type Hours string

// UnmarshalText checks that [hours.Parse] reads the text.
func (h *Hours) UnmarshalText(text []byte) error {
	*h = Hours(text)
	_, err := hours.Parse(string(text))
	return err
}

// Open returns the hours, which have been checked.
func (h Hours) Open() hours.Hours {
	open, _ := hours.Parse(string(h))
	return open
}

// Size is a width and a height in pixels, written "640x480". Both are 0 where the picture
// keeps its own.
type Size struct{ Width, Height int }

// UnmarshalText reads what [transform.ParseSize] reads.
func (s *Size) UnmarshalText(text []byte) (err error) {
	s.Width, s.Height, err = transform.ParseSize(string(text))
	return err
}

// Box is a width and a height in pixels, written "640x480" or, if they are equal, "640". Both
// are 0 where there is none.
type Box image.Point

// UnmarshalText reads what [transform.ParseBox] reads.
func (b *Box) UnmarshalText(text []byte) error {
	box, err := transform.ParseBox(string(text))
	*b = Box(box)
	return err
}

// Pad is the padding of a tensor, written as one number or as three.
type Pad struct {
	All      uint8
	Channels [3]float64 // all zeros: All
}

// UnmarshalText reads what [transform.ParsePad] reads.
func (p *Pad) UnmarshalText(text []byte) (err error) {
	p.All, p.Channels, err = transform.ParsePad(string(text))
	return err
}

// Preset is the name of a preset.
type Preset string

// UnmarshalText accepts names that [transform.PresetOf] knows.
func (p *Preset) UnmarshalText(text []byte) error {
	*p = Preset(text)
	if _, err := transform.PresetOf(string(text)); err == nil && len(text) > 0 {
		return nil
	}
	names := transform.PresetNames()
	if strings.Contains(string(text), "/") {
		names = transform.PresetModels()
	}
	hint := ""
	if near := strictyaml.Closest(string(text), names); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return fmt.Errorf("unknown preset %.60q%s \"cvfeeder presets\" lists them, and the models of torchvision and timm", text, cmp.Or(hint, ";"))
}

// ROI is the part of a picture that is used.
type ROI transform.ROI

// UnmarshalText reads what [transform.ParseROI] reads.
func (r *ROI) UnmarshalText(text []byte) error {
	roi, err := transform.ParseROI(string(text))
	*r = ROI(roi)
	return err
}

// Scale is the factor that pixels are multiplied by, written as a number or a fraction
// such as 1/255.
type Scale float64

// UnmarshalText reads what [transform.ParseScale] reads.
func (s *Scale) UnmarshalText(text []byte) error {
	scale, err := transform.ParseScale(string(text))
	*s = Scale(scale)
	return err
}

// QuantScale is the scale of a quantization, written as a [Scale]; 0 is none.
type QuantScale float64

// UnmarshalText reads what [transform.ParseQuantScale] reads.
func (s *QuantScale) UnmarshalText(text []byte) error {
	scale, err := transform.ParseQuantScale(string(text))
	*s = QuantScale(scale)
	return err
}

// Share is a part of a whole, from 0 to 1, written as a percentage: "2%".
type Share float64

// percentage matches what a share is written as.
var percentage = regexp.MustCompile(`^([0-9]{1,3}(\.[0-9]{1,6})?|\.[0-9]{1,6})%$`)

// UnmarshalText reads a percentage from 0% to 100%.
func (s *Share) UnmarshalText(text []byte) error {
	v, err := strconv.ParseFloat(strings.TrimSuffix(string(text), "%"), 64)
	if !percentage.Match(text) || err != nil || v > 100 {
		return fmt.Errorf("%.40q is not a share; from 0%% to 100%%, for example 2%%", text)
	}
	*s = Share(v / 100)
	return nil
}

// Start is where a stream starts.
type Start struct {
	// Kind is one of the kinds below. Time is set only for [StartAt].
	Kind StartKind
	Time time.Time
}

// A StartKind says how the start is found.
type StartKind string

// The kinds of start.
const (
	// StartResume starts at the saved cursor, or like StartNow if there is none.
	StartResume StartKind = "resume"
	// StartNow starts at the newest media.
	StartNow StartKind = "now"
	// StartAt starts at a given time.
	StartAt StartKind = "at"
)

// UnmarshalText reads "resume", "now" or an RFC 3339 time.
func (s *Start) UnmarshalText(text []byte) error {
	if kind := StartKind(text); kind == StartResume || kind == StartNow {
		*s = Start{Kind: kind}
		return nil
	}
	t, err := source.ParseSlot(string(text))
	if err != nil {
		return fmt.Errorf("%.40q is not a starting point; resume, now, or a time such as 2026-01-02T03:04:05Z", text)
	}
	*s = Start{StartAt, t.Time()}
	return nil
}

// End is when a stream ends. The zero time is never.
type End struct{ Time time.Time }

// UnmarshalText reads an RFC 3339 time, or "" for never.
func (e *End) UnmarshalText(text []byte) error {
	*e = End{}
	if len(text) == 0 {
		return nil
	}
	t, err := source.ParseSlot(string(text))
	if err != nil {
		return fmt.Errorf(`%.40q is not a time; for example 2026-01-02T03:04:05Z, or "" for no end`, text)
	}
	e.Time = t.Time()
	return nil
}
