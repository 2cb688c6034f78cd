package strictyaml

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// A hidden text has variables, whose values are never shown: they may be secrets.
type hidden struct {
	raw  string // as it stands in the file
	text string // with the values
}

// hide expands the variables of a text, and takes note of their values.
func (d *decoder) hide(raw, at string) (string, error) {
	text, err := expand(raw, func(name string) (string, bool) {
		value, ok := d.env(name)
		if value != "" {
			d.values[value] = "${" + name + "}"
		}
		return value, ok
	})
	if err == nil && strings.Contains(raw, "${") {
		d.hidden[at] = hidden{raw, text}
	}
	return text, err
}

// err returns what is wrong with a hidden text, as it would be with the text in the file.
func (h hidden) err(t reflect.Type, tag reflect.StructTag) error {
	if _, err := scalar(t, h.raw, tag); err != nil {
		return err
	}
	return errors.New(h.raw + " has a value that is not allowed here")
}

// leastSecret is how long the value of a variable must be to be hidden within longer texts
// about other keys: it is hidden there wherever it stands alone.
const leastSecret = 4

// masked returns the arguments of a problem without the values of variables.
func (d *Document) masked(path string, args []any) []any {
	if len(d.values) == 0 {
		return args
	}
	out := make([]any, len(args))
	for i, arg := range args {
		out[i] = arg
		switch arg.(type) {
		case string, error, fmt.Stringer, []byte:
		default:
			continue
		}
		text := fmt.Sprintf("%s", arg)
		if h, ok := d.hidden[path]; ok && text != "" && strings.Contains(h.text, text) {
			out[i] = h.raw
			continue
		} else if ok && h.text != "" {
			text = strings.ReplaceAll(text, h.text, h.raw)
		}
		for value, name := range d.values {
			if text == value || len(value) >= leastSecret {
				text = strings.ReplaceAll(text, value, name)
			}
		}
		out[i] = text
	}
	return out
}
