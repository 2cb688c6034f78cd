package strictyaml

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// decodeScalar fills v from a single value that its tag allows.
func (d *decoder) decodeScalar(n ast.Node, at path, v reflect.Value, tag reflect.StructTag) {
	text, ok := d.text(n, at)
	if !ok {
		return
	}
	value, err := scalar(v.Type(), text, tag)
	if h, ok := d.hidden[string(at)]; ok && err != nil {
		err = h.err(v.Type(), tag)
	}
	if err != nil {
		d.report(n, at, "%v", err)
		return
	}
	v.Set(value)
}

// scalar returns the value of a text, which the tag has to allow.
func scalar(t reflect.Type, text string, tag reflect.StructTag) (reflect.Value, error) {
	value := reflect.New(t).Elem()
	err := parse(value, text)
	if err == nil {
		err = checkRules(value, tag)
	}
	return value, err
}

// parse fills v from text.
func parse(v reflect.Value, text string) error {
	switch p := v.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(text))
	case *time.Duration:
		d, err := ParseDuration(text)
		*p = d
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Uint8:
		return parseInt(v, text)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("%q is not a number; for example 10 or 0.485", text)
		}
		v.SetFloat(f)
	default:
		return fmt.Errorf("cannot be read into a %s", v.Type())
	}
	return nil
}

func parseInt(v reflect.Value, text string) error {
	i, err := strconv.ParseInt(text, 10, 32)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a whole number; for example 80", text)
	case v.Kind() == reflect.Uint8 && (i < 0 || i > math.MaxUint8):
		return fmt.Errorf("%s is out of range; 0 to 255", text)
	case v.Kind() == reflect.Uint8:
		v.SetUint(uint64(i))
	default:
		v.SetInt(i)
	}
	return nil
}

// ParseDuration reads a duration in Go's notation, such as 1m30s. Like all durations in a
// file it must not be negative. Types that accept a duration among other values use it, so
// that errors read the same everywhere.
func ParseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if _, number := strconv.ParseFloat(text, 64); err != nil && number == nil {
		return 0, fmt.Errorf("%q has no unit; for example 200ms, 5s or 1m30s", text)
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a duration; for example 200ms, 5s or 1m30s", text)
	case d < 0:
		return 0, fmt.Errorf("%s is negative; at least 0s", text)
	}
	return d, nil
}

// checkRules checks a value against the enum, minimum and maximum of its jsonschema tag,
// so that the program and the schema cannot disagree.
func checkRules(v reflect.Value, tag reflect.StructTag) error {
	var words []string
	for rule := range strings.SplitSeq(tag.Get("jsonschema"), ",") {
		name, limit, _ := strings.Cut(rule, "=")
		switch name {
		case "enum":
			words = append(words, limit)
		case "minimum", "maximum":
			bound, err := strconv.ParseInt(limit, 10, 64)
			if err != nil {
				return fmt.Errorf("the limit %q in the program is not a number: %w", rule, err)
			}
			value := numeric(v)
			if name == "minimum" && value < float64(bound) {
				return fmt.Errorf("%v is too small; at least %d", v, bound)
			}
			if name == "maximum" && value > float64(bound) {
				return fmt.Errorf("%v is too large; at most %d", v, bound)
			}
		}
	}
	if words != nil && !slices.Contains(words, v.String()) {
		return fmt.Errorf("unknown value %q; %s", v.String(), suggest(v.String(), words))
	}
	return nil
}

// numeric returns the value of an integer or a float.
func numeric(v reflect.Value) float64 {
	if v.CanFloat() {
		return v.Float()
	}
	return float64(v.Int())
}
