package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Load reads the file at path. Variables are looked up with env, normally
// [os.LookupEnv]. What is wrong with the contents is returned as [Errors].
func Load(path string, env func(string) (string, bool)) (*Config, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("config file %s: there is no such file; name it with -c FILE", path)
	case err != nil:
		return nil, fmt.Errorf("config file: %w", err)
	}
	return Parse(path, data, env)
}

// Parse reads a config from data. The name stands for the file in errors, which
// are returned as [Errors]: all that is wrong, in the order of the file.
func Parse(name string, data []byte, env func(string) (string, bool)) (*Config, error) {
	d := newDecoder(name, env)
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // some editors write a byte order mark
	cfg := defaults()
	if root := d.root(data); root != nil {
		d.anchors = collectAnchors(root)
		d.decode(root, place{}, reflect.ValueOf(cfg).Elem(), "")
		if !d.failed("") { // it was a mapping
			d.check(cfg)
		}
	}
	if len(d.problems) > 0 {
		return nil, d.problems.sorted()
	}
	return cfg, nil
}

// root returns the only document of the file, or reports why there is none.
func (d *decoder) root(data []byte) ast.Node {
	if !utf8.Valid(data) {
		d.report(nil, "", "not a text file in UTF-8; save it as such")
		return nil
	}
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.reportSyntax(err, data)
		return nil
	}
	var root ast.Node
	for _, doc := range file.Docs {
		switch body := doc.Body.(type) {
		case nil:
		case *ast.DirectiveNode:
		default:
			if root != nil {
				d.report(position(body), "", "a second YAML document begins here; one file holds one config, remove the --- before it")
				return nil
			}
			root = body
		}
	}
	if root == nil {
		d.report(nil, "", "the file is empty; it needs streams and outputs")
	}
	return root
}

// reportSyntax reports an error of the YAML library.
func (d *decoder) reportSyntax(err error, data []byte) {
	var syntax yaml.Error
	if !errors.As(err, &syntax) || syntax.GetToken() == nil {
		d.report(nil, "", "not valid YAML: %v", err)
		return
	}
	pos, hint := syntax.GetToken().Position, ""
	lines := bytes.Split(data, []byte("\n"))
	if n := pos.Line - 1; n >= 0 && n < len(lines) && bytes.Contains(lines[n], []byte("${")) {
		hint = `; between { } and [ ] a variable needs quotes, as in "${VAR}"`
	}
	d.report(pos, "", "not valid YAML: %s%s", syntax.GetMessage(), hint)
}
