package publish

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// fields reads headers. It keeps the first error; from then on, all methods return
// zero values.
type fields struct {
	header map[string][]string
	err    error
}

func (f *fields) fail(name, format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf("header %s: %s", name, fmt.Sprintf(format, args...))
	}
}

func (f *fields) text(name string) string { return f.long(name, maxText) }

// long returns a text of up to most bytes.
func (f *fields) long(name string, most int) string {
	values := f.header[name]
	switch {
	case f.err != nil:
	case len(values) == 0:
		f.fail(name, "is missing")
	case len(values) > 1:
		f.fail(name, "has %d values instead of one", len(values))
	case values[0] == "":
		f.fail(name, "is empty")
	case len(values[0]) > most:
		f.fail(name, "has %d bytes, more than %d", len(values[0]), most)
	default:
		return values[0]
	}
	return ""
}

func (f *fields) version() {
	if v := f.text(HeaderVersion); f.err == nil && v != Version {
		f.fail(HeaderVersion, "is %.40q, but this program reads only version %s", v, Version)
	}
}

func (f *fields) time(name string) time.Time {
	s := f.text(name)
	if f.err != nil {
		return time.Time{}
	}
	t, err := source.ParseTime(s)
	if err != nil {
		f.fail(name, "%v", err)
	}
	return t
}

func (f *fields) slot(name string) source.Slot { return source.SlotAt(f.time(name)) }

// count reads a positive whole number without a sign or leading zeros.
func (f *fields) count(name string) int {
	s := f.text(name)
	n, ok := parseCount(s)
	if f.err == nil && !ok {
		f.fail(name, "%.40q is not a positive whole number", s)
	}
	return n
}

// chunk reads the number of this part and how many parts there are.
func (f *fields) chunk() (part, parts int) {
	s := f.text(HeaderChunk)
	if f.err != nil {
		return 0, 0
	}
	first, second, _ := strings.Cut(s, "/")
	part, ok1 := parseCount(first)
	parts, ok2 := parseCount(second)
	if !ok1 || !ok2 || part > parts || parts < 2 || parts > maxParts {
		f.fail(HeaderChunk, "%.40q is not a part such as 2/5, of 2 to %d parts", s, maxParts)
		return 0, 0
	}
	return part, parts
}

func parseCount(s string) (n int, ok bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n > 0 && strconv.Itoa(n) == s
}

// sides reads n lengths in pixels.
func (f *fields) sides(name, separator string, n int) []int {
	return split(f, name, separator, n, func(s string) (int, error) {
		v, err := strconv.Atoi(s)
		if err == nil && (v < 1 || v > maxSide) {
			err = errors.New("out of range")
		}
		return v, err
	})
}

// floats reads n finite numbers.
func (f *fields) floats(name string, n int) []float64 {
	return split(f, name, ",", n, parseFinite)
}

func parseFinite(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		err = errors.New("not finite")
	}
	return v, err
}

// affines reads the maps of all pictures of a tensor.
func (f *fields) affines(name string) []transform.Affine {
	text := f.long(name, maxPictures*maxText/4)
	if f.err != nil {
		return nil
	}
	maps := strings.Split(text, ";")
	if len(maps) > maxPictures {
		f.fail(name, "has %d maps, more than %d", len(maps), maxPictures)
		return nil
	}
	all := make([]transform.Affine, len(maps))
	for i, text := range maps {
		copy(all[i][:], splitText(f, name, text, ",", len(all[i]), parseFinite))
	}
	return all
}

func split[T any](f *fields, name, separator string, n int, parse func(string) (T, error)) []T {
	return splitText(f, name, f.text(name), separator, n, parse)
}

func splitText[T any](f *fields, name, s, separator string, n int, parse func(string) (T, error)) []T {
	if f.err != nil {
		return nil
	}
	parts := strings.Split(s, separator)
	if len(parts) != n {
		f.fail(name, "%.40q does not have %d parts", s, n)
		return nil
	}
	values := make([]T, n)
	for i, part := range parts {
		v, err := parse(part)
		if err != nil {
			f.fail(name, "%.40q is not a valid number", part)
			return nil
		}
		values[i] = v
	}
	return values
}

// dtype returns the element type that a header names as the Open Inference Protocol does.
func (f *fields) dtype(name string) transform.DType {
	s := f.text(name)
	d, known := transform.DTypeOfWire(s)
	if f.err == nil && !known {
		f.fail(name, "%.40q is not known", s)
	}
	return d
}

func oneOf[T any](f *fields, name string, values map[string]T) T {
	s := f.text(name)
	v, known := values[s]
	if f.err == nil && !known {
		f.fail(name, "%.40q is not known", s)
	}
	return v
}
