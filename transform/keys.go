package transform

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A key is one of the keys of an output in the config file: the name of a part of a [Spec].
type key struct {
	name string
	// text returns the value as set reads it.
	text func(*Spec) string
	set  func(*Spec, string) error
	// hashed returns the value as the fingerprint has it; nil where that is the text.
	hashed func(*Spec) string
	// optional says that the key came after the first release: it is left out of the
	// fingerprint and of texts where its value is the zero value, so that they stay the same.
	optional bool
}

// hashedAs returns the key with another value in the fingerprint.
func (k key) hashedAs(value func(*Spec) string) key {
	k.hashed = value
	return k
}

// keys returns all keys, in the order of the fingerprint.
func keys() []key {
	return []key{
		{name: "size", text: func(s *Spec) string { return sizeText(s.Width, s.Height) }, set: func(s *Spec, text string) (err error) {
			s.Width, s.Height, err = ParseSize(text)
			return err
		}},
		word("fit", func(s *Spec) *Fit { return &s.Fit }, Fits()),
		word("resize", func(s *Spec) *Resize { return &s.Resize }, Resizes()),
		{name: "pad", text: func(s *Spec) string { return FormatPad(s.Pad, s.PadChannels) }, set: setPad},
		word("color", func(s *Spec) *Color { return &s.Color }, Colors()),
		{name: "roi", text: func(s *Spec) string { return s.ROI.String() }, set: func(s *Spec, text string) (err error) {
			s.ROI, err = ParseROI(text)
			return err
		}},
		{name: "scale", text: func(s *Spec) string { return number(s.Scale) }, set: func(s *Spec, text string) (err error) {
			s.Scale, err = ParseScale(text)
			return err
		}},
		triple("mean", func(s *Spec) *[3]float64 { return &s.Mean }),
		triple("std", func(s *Spec) *[3]float64 { return &s.Std }),
		word("dtype", func(s *Spec) *DType { return &s.DType }, DTypes()),
		word("layout", func(s *Spec) *Layout { return &s.Layout }, Layouts()),
		word("decode", func(s *Spec) *DecodeMode { return &s.Decode }, DecodeModes()).hashedAs((*Spec).decodeVersion),

		{name: "resize_to", optional: true, text: func(s *Spec) string { return FormatBox(s.ResizeTo) }, set: func(s *Spec, text string) (err error) {
			s.ResizeTo, err = ParseBox(text)
			return err
		}},
		numeric("crop", func(s *Spec) *float64 { return &s.CropRatio }),
		whole("max_side", func(s *Spec) *int { return &s.MaxSide }),
		whole("multiple_of", func(s *Spec) *int { return &s.MultipleOf }),
		whole("min_pixels", func(s *Spec) *int { return &s.MinPixels }),
		whole("max_pixels", func(s *Spec) *int { return &s.MaxPixels }),
		choice("size_rounding", func(s *Spec) *Rounding { return &s.SizeRounding }, SizeRoundings()),
		choice("crop_rounding", func(s *Spec) *Rounding { return &s.CropRounding }, CropRoundings()),
		choice("align", func(s *Spec) *Align { return &s.Align }, Aligns()),
		truth("scale_up", func(s *Spec) *bool { return &s.NoScaleUp }, true),
		truth("pad_normalized", func(s *Spec) *bool { return &s.PadNormalized }, false),
		truth("antialias", func(s *Spec) *bool { return &s.NoAntialias }, true),
		choice("resize_dtype", func(s *Spec) *DType { return &s.ResizeDType }, ResizeDTypes()),
		{name: "quant_scale", optional: true, text: func(s *Spec) string { return zeroEmpty(number(s.QuantScale)) }, set: func(s *Spec, text string) (err error) {
			s.QuantScale, err = ParseQuantScale(text)
			return err
		}},
		whole("quant_zero_point", func(s *Spec) *int { return &s.QuantZeroPoint }),
		choice("encode", func(s *Spec) *Encoding { return &s.Encode }, Encodings()),
		whole("quality", func(s *Spec) *int { return &s.Quality }),
		optional(key{name: "clip", text: func(s *Spec) string { return s.Clip.String() }, set: func(s *Spec, text string) (err error) {
			s.Clip, err = ParseClip(text)
			return err
		}}),
		optional(key{name: "tiles", text: func(s *Spec) string { return s.Tiles.String() }, set: func(s *Spec, text string) (err error) {
			s.Tiles, err = ParseTiles(text)
			return err
		}}),
	}
}

// optional returns a key that came after the first release.
func optional(k key) key {
	k.optional = true
	return k
}

// choice returns the key of a field that holds one of some words, of which the first is what
// the empty one means.
func choice[T ~string](name string, field func(*Spec) *T, values []T) key {
	k := optional(word(name, field, values))
	set := k.set
	k.set = func(s *Spec, text string) error {
		err := set(s, text)
		if *field(s) == values[0] {
			*field(s) = ""
		}
		return err
	}
	return k
}

// whole returns the key of a whole number.
func whole(name string, field func(*Spec) *int) key {
	return optional(key{name: name, text: func(s *Spec) string { return zeroEmpty(strconv.Itoa(*field(s))) }, set: func(s *Spec, text string) error {
		v, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%s %q is not a whole number", name, text)
		}
		*field(s) = v
		return nil
	}})
}

// numeric returns the key of a number.
func numeric(name string, field func(*Spec) *float64) key {
	return optional(key{name: name, text: func(s *Spec) string { return zeroEmpty(number(*field(s))) }, set: func(s *Spec, text string) error {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%s %q is not a number", name, text)
		}
		*field(s) = v
		return nil
	}})
}

// truth returns the key of a field that is true where the key is not what it usually is.
func truth(name string, field func(*Spec) *bool, usual bool) key {
	return optional(key{name: name, text: func(s *Spec) string {
		if !*field(s) {
			return ""
		}
		return strconv.FormatBool(!usual)
	}, set: func(s *Spec, text string) error {
		v, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%s %q is neither true nor false", name, text)
		}
		*field(s) = v != usual
		return nil
	}})
}

// zeroEmpty returns "" for what is not set.
func zeroEmpty(text string) string {
	if text == "0" {
		return ""
	}
	return text
}

// setPad reads it.
func setPad(s *Spec, text string) (err error) {
	s.Pad, s.PadChannels, err = ParsePad(text)
	return err
}

// tripleText writes the numbers of three channels.
func tripleText(v [3]float64) string { return number(v[0]) + "," + number(v[1]) + "," + number(v[2]) }

// word returns the key of a field that holds one of some words.
func word[T ~string](name string, field func(*Spec) *T, values []T) key {
	return key{name: name, text: func(s *Spec) string { return string(*field(s)) }, set: func(s *Spec, text string) error {
		*field(s) = T(text)
		if err := oneOf(T(text), values); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}}
}

// triple returns the key of a field that holds a number for each channel.
func triple(name string, field func(*Spec) *[3]float64) key {
	return key{name: name, text: func(s *Spec) string { return tripleText(*field(s)) }, set: func(s *Spec, text string) (err error) {
		if *field(s), err = parseTriple(text); err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
		return nil
	}}
}

// number writes a number with as few digits as make the same number again.
func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func sizeText(width, height int) string { return fmt.Sprintf("%dx%d", width, height) }

// Set sets what a key of an output in the config file is about: "size", "fit", "mean". A
// list may be in brackets. It does not check how the keys go together: see [Spec.Validate].
func (s *Spec) Set(name, text string) error {
	all := keys()
	i := slices.IndexFunc(all, func(k key) bool { return k.name == name })
	if i < 0 {
		return fmt.Errorf("unknown key %q", name)
	}
	return all[i].set(s, text)
}

// A Setting is a key of an output in the config file with its value, written as there.
type Setting struct{ Key, Value string }

// Settings returns the keys whose values differ from those of base, in the order of the
// documentation: what an output with the preset base has to set to be s.
func (s *Spec) Settings(base Spec) []Setting {
	var settings []Setting
	for _, k := range keys() {
		value := k.text(s)
		if value == k.text(&base) {
			continue
		}
		switch {
		case k.name == "mean" || k.name == "std":
			value = "[" + strings.ReplaceAll(value, ",", ", ") + "]"
		case value == "0x0", value == "":
			value = `""`
		case k.name == "scale" && s.Scale != 1 && number(1/(1/s.Scale)) == value && 1/s.Scale == float64(int(1/s.Scale+0.5)):
			value = "1/" + number(1/s.Scale)
		case strings.Contains(value, ",") && value[0] != '{':
			value = strconv.Quote(value)
		}
		settings = append(settings, Setting{k.name, value})
	}
	return settings
}
