package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
)

// A Difference lists how two configs differ.
type Difference struct {
	// Restart holds the keys that differ and that a running process cannot change.
	Restart []string
	// Changes describes the other differences, one by one: "stream front-door: interval
	// is 1s, was 200ms".
	Changes []string
}

// Diff compares the config in use with one that is to replace it. Streams, outputs and
// prices can be changed at run time. The values of other keys may be secrets and are left
// out.
func Diff(old, to *Config) Difference {
	var d Difference
	a, b := reflect.ValueOf(*old), reflect.ValueOf(*to)
	for f := range strictyaml.Fields(a.Type()) {
		was, is := a.FieldByIndex(f.Index), b.FieldByIndex(f.Index)
		switch key := f.Tag.Get("yaml"); key {
		case "streams", "outputs":
		case "price":
			d.changes("price", was, is)
		default:
			eachDifference(key, was, is, func(key string, _, _ reflect.Value) { d.Restart = append(d.Restart, key) })
		}
	}
	oldStreams, newStreams := byIdentity(old.Streams), byIdentity(to.Streams)
	d.compare("stream", reflect.ValueOf(oldStreams), reflect.ValueOf(newStreams))
	d.compare("output", reflect.ValueOf(old.Outputs), reflect.ValueOf(to.Outputs))
	return d
}

// byIdentity returns streams by name, or by prefix followed by a star.
func byIdentity(streams []Stream) map[string]Stream {
	all := make(map[string]Stream, len(streams))
	for _, s := range streams {
		name := s.Name
		if s.Prefix != "" {
			name = s.Prefix + "*"
		}
		all[name] = s
	}
	return all
}

// compare adds the differences between two maps.
func (d *Difference) compare(kind string, old, to reflect.Value) {
	for _, name := range keysOf(old, to) {
		was, is := old.MapIndex(name), to.MapIndex(name)
		what := fmt.Sprintf("%s %s", kind, name)
		switch {
		case !was.IsValid():
			d.Changes = append(d.Changes, what+" is new")
		case !is.IsValid():
			d.Changes = append(d.Changes, what+" is gone")
		default:
			d.changes(what, was, is)
		}
	}
}

func keysOf(maps ...reflect.Value) []reflect.Value {
	var all []reflect.Value
	for i, m := range maps {
		for _, k := range m.MapKeys() {
			if i == 0 || !maps[0].MapIndex(k).IsValid() {
				all = append(all, k)
			}
		}
	}
	slices.SortFunc(all, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// changes adds the differences between two values of the same entry.
func (d *Difference) changes(what string, was, is reflect.Value) {
	eachDifference("", was, is, func(key string, was, is reflect.Value) {
		d.Changes = append(d.Changes, fmt.Sprintf("%s: %s is %s, was %s", what, key, shown(is), shown(was)))
	})
}

func shown(v reflect.Value) string {
	if text := strictyaml.Format(v.Interface()); text != "" {
		return text
	}
	return `""`
}

// eachDifference calls f for each key, at or below path, whose value differs.
func eachDifference(path string, was, is reflect.Value, f func(key string, was, is reflect.Value)) {
	if was.Kind() == reflect.Struct && mapped(was.Type()) == nil {
		for field := range strictyaml.Fields(was.Type()) {
			key := field.Tag.Get("yaml")
			if path != "" {
				key = path + "." + key
			}
			eachDifference(key, was.FieldByIndex(field.Index), is.FieldByIndex(field.Index), f)
		}
		return
	}
	if !reflect.DeepEqual(was.Interface(), is.Interface()) {
		f(path, was, is)
	}
}
