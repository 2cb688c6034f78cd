package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A decoder fills the struct tree of [Config] from the syntax tree of a file, by
// the yaml tags of the structs. Unlike the YAML library's own decoder it goes on
// after a problem, knows the position of every key, and takes each scalar as text
// until it meets the type of its field.
type decoder struct {
	file    string
	env     envFunc
	anchors map[string]ast.Node
	// places holds the position of every key that is in the file, by its path.
	places map[string]*token.Position
	// broken holds the paths that problems were reported of.
	broken   map[string]bool
	problems Errors
}

func newDecoder(file string, env envFunc) *decoder {
	return &decoder{file: file, env: env, places: map[string]*token.Position{}, broken: map[string]bool{}}
}

// A place is where the decoder is: the key's path.
type place struct{ path string }

func (p place) key(k string) place {
	if p.path == "" {
		return place{k}
	}
	return place{p.path + "." + k}
}

func (p place) index(i int) place {
	return place{fmt.Sprintf("%s[%d]", p.path, i)}
}

func (p place) entry(name string) place { return place{p.path + "." + name} }

// A starter gives a new element of a list or map its defaults, which may depend
// on what the file says of it.
type starter interface {
	start(peek func(key string) string)
}

// report adds a problem at a position.
func (d *decoder) report(pos *token.Position, path, format string, args ...any) {
	p := Problem{File: d.file, Key: path, Text: fmt.Sprintf(format, args...)}
	if pos != nil {
		p.Line, p.Column = pos.Line, pos.Column
	}
	d.problems = append(d.problems, p)
	d.broken[path] = true
}

// reportKey adds a problem at a key, or at the nearest key above it that is in
// the file.
func (d *decoder) reportKey(path, format string, args ...any) {
	at := path
	for d.places[at] == nil && at != "" {
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
	}
	d.report(d.places[at], path, format, args...)
}

// isSet tells whether the key is in the file.
func (d *decoder) isSet(path string) bool { return d.places[path] != nil }

// failed tells whether a problem of the key is reported already.
func (d *decoder) failed(path string) bool { return d.broken[path] }

// decode fills v from n.
func (d *decoder) decode(n ast.Node, at place, v reflect.Value, tag reflect.StructTag) {
	if n == nil {
		return
	}
	d.places[at.path] = position(n)
	if n = d.resolve(n, at); n == nil {
		return
	}
	if _, scalar := v.Addr().Interface().(encoding.TextUnmarshaler); scalar {
		d.scalar(n, at, v, tag)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, at, v)
	case reflect.Map:
		d.table(n, at, v)
	case reflect.Slice, reflect.Array:
		d.list(n, at, v, tag)
	default:
		d.scalar(n, at, v, tag)
	}
}

// structure fills a struct from a mapping. One without keys keeps its defaults.
func (d *decoder) structure(n ast.Node, at place, v reflect.Value) {
	fields := map[string]reflect.StructField{}
	var names []string
	for f := range fieldsOf(v.Type()) {
		name := f.Tag.Get("yaml")
		fields[name], names = f, append(names, name)
	}
	for _, e := range d.entries(n, at) {
		f, ok := fields[e.key]
		if !ok {
			d.report(e.pos, at.key(e.key).path, "unknown key; %s", suggest(e.key, names))
			continue
		}
		d.decode(e.value, at.key(e.key), v.FieldByIndex(f.Index), f.Tag)
	}
}

// fieldsOf yields the fields that are keys of the file.
func fieldsOf(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(t) {
			if name := f.Tag.Get("yaml"); name != "" && name != "-" && !yield(f) {
				return
			}
		}
	}
}

// table fills a map from a mapping whose keys are the user's names.
func (d *decoder) table(n ast.Node, at place, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range d.entries(n, at) {
		element := d.element(e.value, at.entry(e.key), v.Type().Elem())
		v.SetMapIndex(reflect.ValueOf(e.key), element)
	}
}

// list fills a slice, or an array of exactly as many elements, from a sequence. An
// empty value is a list without elements.
func (d *decoder) list(n ast.Node, at place, v reflect.Value, tag reflect.StructTag) {
	if n.Type() == ast.NullType && v.Kind() == reflect.Slice {
		return
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.report(position(n), at.path, "%s is not a list; write [a, b], or one \"- \" line for each", describe(n))
		return
	}
	if v.Kind() == reflect.Array {
		if len(seq.Values) != v.Len() {
			d.report(position(n), at.path, "has %d entries; it takes %d", len(seq.Values), v.Len())
			return
		}
		for i, value := range seq.Values {
			d.decode(value, at.index(i), v.Index(i), tag)
		}
		return
	}
	v.SetZero()
	for i, value := range seq.Values {
		v.Set(reflect.Append(v, d.element(value, at.index(i), v.Type().Elem())))
	}
}

// element returns a new element of a list or map.
func (d *decoder) element(n ast.Node, at place, t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	if s, ok := v.Addr().Interface().(starter); ok {
		s.start(func(key string) string { return d.peek(n, key) })
	}
	d.decode(n, at, v, "")
	return v
}

// peek returns the value of a key in a mapping, or "" where there is none or it
// is not fit to be read; whatever is wrong with it is reported when it is
// decoded.
func (d *decoder) peek(n ast.Node, key string) string {
	silent := newDecoder(d.file, d.env)
	silent.anchors = d.anchors
	n = silent.resolve(n, place{})
	if n == nil {
		return ""
	}
	for _, e := range silent.entries(n, place{}) {
		if e.key != key {
			continue
		}
		if value := silent.resolve(e.value, place{}); value != nil {
			text, _ := silent.text(value, place{})
			return text
		}
	}
	return ""
}

// suggest returns what is allowed in place of an unknown word, the likely one
// first.
func suggest(word string, allowed []string) string {
	list := strings.Join(allowed, ", ")
	best, distance := "", 1+len(word)/3
	for _, a := range allowed {
		if n := editDistance(word, a); n <= distance {
			best, distance = a, n-1
		}
	}
	if best == "" {
		return "allowed: " + list
	}
	return fmt.Sprintf("did you mean %s? allowed: %s", best, list)
}

// editDistance is Levenshtein's, over bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
