package transform

import (
	"fmt"
	"image"
	"iter"
	"strconv"
	"strings"
)

// ParseSize reads a tensor's size, "WIDTHxHEIGHT" in pixels: "640x480". The empty
// string is 0, 0: the picture's own size.
func ParseSize(text string) (width, height int, err error) {
	if strings.TrimSpace(text) == "" {
		return 0, 0, nil
	}
	w, h, found := strings.Cut(strings.ToLower(text), "x")
	width, errW := strconv.Atoi(strings.TrimSpace(w))
	height, errH := strconv.Atoi(strings.TrimSpace(h))
	if !found || errW != nil || errH != nil {
		return 0, 0, fmt.Errorf(`size %q is not "WIDTHxHEIGHT" in pixels, such as "640x480"`, text)
	}
	if width < 1 || height < 1 || width > maxSide || height > maxSide {
		return 0, 0, fmt.Errorf("size %q: width and height must be 1 to %d", text, maxSide)
	}
	return width, height, nil
}

// ParseBox reads the size of a box, "WIDTHxHEIGHT" in pixels, or "SIDE" of a square one:
// "256x256" and "256" are the same. The empty string is the zero point.
func ParseBox(text string) (image.Point, error) {
	if side := strings.TrimSpace(text); side != "" && !strings.ContainsAny(side, "xX") {
		text = side + "x" + side
	}
	w, h, err := ParseSize(text)
	if err != nil {
		return image.Point{}, fmt.Errorf(`%w, or one side of a square, such as "256"`, err)
	}
	return image.Pt(w, h), nil
}

// FormatBox writes a box as [ParseBox] reads it.
func FormatBox(box image.Point) string {
	switch {
	case box == image.Point{}:
		return ""
	case box.X == box.Y:
		return strconv.Itoa(box.X)
	}
	return sizeText(box.X, box.Y)
}

// ParsePad reads the padding: one number for all channels, or three that are separated by
// commas. It returns the fields of a [Spec].
func ParsePad(text string) (pad uint8, channels [3]float64, err error) {
	v, err := strconv.ParseUint(strings.TrimSpace(text), 10, 8)
	if err == nil {
		return uint8(v), channels, nil
	}
	if !strings.Contains(text, ",") {
		text += "," + text + "," + text
	}
	if channels, err = parseTriple(text); err != nil {
		return 0, channels, fmt.Errorf(`pad %q is neither a whole number from 0 to 255 nor three numbers, one for each channel, such as "104,117,123"`, text)
	}
	return 0, channels, nil
}

// FormatPad writes the padding as [ParsePad] reads it.
func FormatPad(pad uint8, channels [3]float64) string {
	if channels == [3]float64{} {
		return strconv.Itoa(int(pad))
	}
	return tripleText(channels)
}

// parseTriple reads three numbers that are separated by commas, which may be in brackets.
func parseTriple(text string) (v [3]float64, err error) {
	parts := strings.Split(strings.Trim(text, "[] "), ",")
	if len(parts) != len(v) {
		return v, fmt.Errorf("%q has %d numbers: want three", text, len(parts))
	}
	for i, part := range parts {
		if v[i], err = strconv.ParseFloat(strings.TrimSpace(part), 64); err != nil {
			return v, fmt.Errorf("%q: %q is not a number", text, strings.TrimSpace(part))
		}
	}
	return v, nil
}

// ParseScale reads the factor of the pixels: a number ("0.0039") or a fraction
// ("1/255"), finite and not 0.
func ParseScale(text string) (float64, error) { return parseFraction("scale", text) }

// ParseQuantScale reads the scale of a quantization as [ParseScale] does. The empty string and
// 0 are none.
func ParseQuantScale(text string) (float64, error) {
	if text = strings.TrimSpace(text); text == "" || text == "0" {
		return 0, nil
	}
	return parseFraction("quant_scale", text)
}

func parseFraction(key, text string) (float64, error) {
	top, bottom, fraction := strings.Cut(text, "/")
	scale, err := strconv.ParseFloat(strings.TrimSpace(top), 64)
	if fraction && err == nil {
		var divisor float64
		divisor, err = strconv.ParseFloat(strings.TrimSpace(bottom), 64)
		scale /= divisor
	}
	if err != nil {
		return 0, fmt.Errorf(`%s %q is not a number or a fraction such as "1/255"`, key, text)
	}
	if scale == 0 || !finite(scale) {
		return 0, fmt.Errorf("%s %q must be a number other than 0", key, text)
	}
	return scale, nil
}

// flow yields the names and values of a mapping in one line, "{size: 640, overlap: 0.2}". A
// part without a colon is a name without a value.
func flow(text string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for part := range strings.SplitSeq(strings.Trim(text, "{} "), ",") {
			name, value, _ := strings.Cut(part, ":")
			if name = strings.TrimSpace(name); name != "" && !yield(name, strings.TrimSpace(value)) {
				return
			}
		}
	}
}
