package transform

import (
	"fmt"
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

// ParseScale reads the factor of the pixels: a number ("0.0039") or a fraction
// ("1/255"), finite and not 0.
func ParseScale(text string) (float64, error) {
	top, bottom, fraction := strings.Cut(text, "/")
	scale, err := strconv.ParseFloat(strings.TrimSpace(top), 64)
	if fraction && err == nil {
		var divisor float64
		divisor, err = strconv.ParseFloat(strings.TrimSpace(bottom), 64)
		scale /= divisor
	}
	if err != nil {
		return 0, fmt.Errorf(`scale %q is not a number or a fraction such as "1/255"`, text)
	}
	if scale == 0 || !finite(scale) {
		return 0, fmt.Errorf("scale %q must be a number other than 0", text)
	}
	return scale, nil
}
