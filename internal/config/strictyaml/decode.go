package strictyaml

import (
	"encoding"
	"fmt"
	"iter"
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// A Defaulter is a struct that is the element of a list or map and has defaults.
// SetDefaults is called on each new element before its keys are decoded. The defaults
// may depend on what the file says: peek returns the value of one of the element's keys,
// or "" if the key is not there or its value cannot be read.
type Defaulter interface {
	SetDefaults(peek func(key string) string)
}

// A decoder fills structs from the syntax tree of a file. Unlike the YAML library's own
// decoder it continues after a problem, knows the position of every key, and keeps each
// scalar as text until the type of its field is known.
type decoder struct {
	*Document
	env     func(string) (string, bool)
	anchors map[string]ast.Node
	spent   *int // values that were read
}

// A path is the path of a key in the file, as in "routes[0].port".
type path string

func (p path) key(name string) path {
	if p == "" {
		return path(name)
	}
	return p + "." + path(name)
}

func (p path) index(i int) path { return path(fmt.Sprintf("%s[%d]", p, i)) }

// report adds a problem at a node, which is the value of the key at a path.
func (d *decoder) report(n ast.Node, at path, format string, args ...any) {
	d.reportAt(position(n), string(at), format, args...)
}

// decode fills v from n, as far as n has no problem.
func (d *decoder) decode(n ast.Node, at path, v reflect.Value, tag reflect.StructTag) {
	if n == nil || !d.spend(1) {
		return
	}
	d.positions[string(at)] = position(n)
	if n = d.resolve(n, at); n == nil {
		return
	}
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.decodeScalar(n, at, v, tag)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.decodeStruct(n, at, v)
	case reflect.Map:
		d.decodeMap(n, at, v)
	case reflect.Slice, reflect.Array:
		d.decodeList(n, at, v, tag)
	default:
		d.decodeScalar(n, at, v, tag)
	}
}

// decodeStruct fills a struct from a mapping. Fields whose keys are missing keep their
// defaults.
func (d *decoder) decodeStruct(n ast.Node, at path, v reflect.Value) {
	fields := map[string]reflect.StructField{}
	var names []string
	for f := range Fields(v.Type()) {
		name := f.Tag.Get("yaml")
		fields[name], names = f, append(names, name)
	}
	for _, e := range d.entries(n, at) {
		f, ok := fields[e.key]
		if !ok {
			d.reportAt(e.pos, string(at.key(e.key)), "unknown key; %s", suggest(e.key, names))
			continue
		}
		d.decode(e.value, at.key(e.key), v.FieldByIndex(f.Index), f.Tag)
	}
}

// Fields yields the fields of a struct type that are keys of the file. The yaml tag of
// each is the key.
func Fields(t reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(t) {
			if name := f.Tag.Get("yaml"); name != "" && name != "-" && !yield(f) {
				return
			}
		}
	}
}

// decodeMap fills a map from a mapping, whose keys are names that the user has chosen.
func (d *decoder) decodeMap(n ast.Node, at path, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range d.entries(n, at) {
		element := d.element(e.value, at.key(e.key), v.Type().Elem())
		v.SetMapIndex(reflect.ValueOf(e.key), element)
	}
}

// decodeList fills a slice from a sequence, or an array from a sequence of the same
// length. An empty value leaves a slice as it is.
func (d *decoder) decodeList(n ast.Node, at path, v reflect.Value, tag reflect.StructTag) {
	if n.Type() == ast.NullType && v.Kind() == reflect.Slice {
		return
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.report(n, at, "%s is not a list; write [a, b], or a line that starts with \"- \" for each entry", describe(n))
		return
	}
	if v.Kind() == reflect.Array {
		if len(seq.Values) != v.Len() {
			d.report(n, at, "has %d entries; it needs %d", len(seq.Values), v.Len())
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

// element returns a new element of a slice or map.
func (d *decoder) element(n ast.Node, at path, t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	if s, ok := v.Addr().Interface().(Defaulter); ok {
		s.SetDefaults(func(key string) string { return d.peek(n, key) })
	}
	d.decode(n, at, v, "")
	return v
}

// peek returns the value of a key in a mapping, or "" if it is missing or broken. It
// reports nothing: a broken value is reported when it is decoded.
func (d *decoder) peek(n ast.Node, key string) string {
	silent := &decoder{Document: newDocument(d.name), env: d.env, anchors: d.anchors, spent: d.spent}
	n = silent.resolve(n, "")
	if n == nil {
		return ""
	}
	for _, e := range silent.entries(n, "") {
		if e.key != key {
			continue
		}
		if value := silent.resolve(e.value, ""); value != nil {
			text, _ := silent.text(value, "")
			return text
		}
	}
	return ""
}
