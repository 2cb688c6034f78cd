// Package strictyaml decodes a YAML file into a struct and reports everything that is
// wrong with it at once, each problem with its file, line, column and key.
//
//	cfg := Config{Listen: "127.0.0.1:80"} // the defaults
//	doc := strictyaml.Decode("app.yaml", data, os.LookupEnv, &cfg)
//	if cfg.TLS && !doc.IsSet("cert") {
//		doc.Report("cert", "TLS needs a certificate")
//	}
//	if err := doc.Err(); err != nil {
//		return err // app.yaml:3:9: listen: …
//	}
//
// The yaml tags of the struct's fields are the keys; a field without one, or with "-",
// is no key. An unknown or duplicate key is a problem, and so is a value of the wrong
// type. Fields can be structs, maps from string, slices, arrays, [time.Duration],
// [encoding.TextUnmarshaler] and the types string, bool, int, uint8 and float64. The
// rules enum, minimum and maximum of a field's jsonschema tag are enforced, so that a
// schema made from the same struct cannot disagree.
//
// ${NAME} in a value stands for an environment variable, and $${ for a literal ${.
// Variables are expanded after the YAML is parsed, so that the content of a variable
// stays one value, and is shown in no problem. Keys are not expanded. Anchors, aliases and merge keys (<<: *base)
// work; tags (!!str) and a second document are problems. Size, depth and aliases are bounded
// before the YAML is parsed.
package strictyaml

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/token"

	"github.com/cvfeeder/cvfeeder/internal/sanitize"
)

// A Document is a file that was decoded: which keys are in it, where they stand, and
// what is wrong with them. It is not safe for concurrent use.
type Document struct {
	name  string
	empty bool
	// positions holds the position of every key that is in the file, by its path.
	positions map[string]*token.Position
	// failed holds the paths that have a problem.
	failed   map[string]bool
	problems Errors
	more     int // problems that are not kept
	// hidden holds the texts with variables by their paths, and values the names of variables
	// by their values.
	hidden map[string]hidden
	values map[string]string
}

func newDocument(name string) *Document {
	return &Document{
		name: name, positions: map[string]*token.Position{}, failed: map[string]bool{},
		hidden: map[string]hidden{}, values: map[string]string{},
	}
}

// Decode reads data into v, a pointer to a struct that holds the defaults. The name is
// that of the file in problems. Variables are looked up with env, as by [os.LookupEnv].
// Keys that have a problem keep their defaults; [Document.Err] returns the problems.
func Decode(name string, data []byte, env func(string) (string, bool), v any) *Document {
	d := &decoder{Document: newDocument(name), env: env, spent: new(int)}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // some editors write a byte order mark
	if root := d.root(data); root != nil {
		d.anchors = collectAnchors(root)
		d.decode(root, "", reflect.ValueOf(v).Elem(), "")
		if *d.spent > maxValues {
			d.problems, d.failed[""] = nil, true
			d.reportAt(nil, "", "with its aliases the file has more than %d values", maxValues)
		}
	}
	return d.Document
}

// Empty reports whether the file holds nothing but blanks and comments.
func (d *Document) Empty() bool { return d.empty }

// IsSet reports whether a key is in the file. The path of a key is written
// "routes[0].port".
func (d *Document) IsSet(path string) bool { return d.positions[path] != nil }

// Failed reports whether the key at exactly this path has a problem. The empty path
// stands for the whole file.
func (d *Document) Failed(path string) bool { return d.failed[path] }

// Report adds a problem at a key, or at the nearest key above it that is in the file.
func (d *Document) Report(path, format string, args ...any) {
	at := path
	for d.positions[at] == nil && at != "" {
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
	}
	d.reportAt(d.positions[at], path, format, args...)
}

// reportAt adds a problem at a position, or without one if pos is nil.
func (d *Document) reportAt(pos *token.Position, path, format string, args ...any) {
	d.failed[path] = true
	if len(d.problems) == maxProblems {
		d.more++
		return
	}
	p := Problem{File: d.name, Key: sanitize.Text(path), Text: sanitize.Text(fmt.Sprintf(format, d.masked(path, args)...))}
	if pos != nil {
		p.Line, p.Column = pos.Line, pos.Column
	}
	d.problems = append(d.problems, p)
}

// Err returns the problems as [Errors], in the order of the file, or nil if there are
// none.
func (d *Document) Err() error {
	if len(d.problems) == 0 {
		return nil
	}
	all := d.problems.sorted()
	if d.more > 0 {
		all = append(all, Problem{File: d.name, Text: fmt.Sprintf("%d more problems", d.more)})
	}
	return all
}
