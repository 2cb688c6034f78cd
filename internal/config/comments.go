package config

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The schema describes each key with the comment of its field, which only the
// source has.
//
//go:embed config.go
var typesSource string

// fieldComments returns the comments of the fields in config.go, by "Type.Field".
func fieldComments() (map[string]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", typesSource, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("the program's own source: %w", err)
	}
	comments := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if fields, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range fields.Fields.List {
				for _, name := range f.Names {
					comments[spec.Name.Name+"."+name.Name] = f.Doc.Text()
				}
			}
		}
		return false
	})
	return comments, nil
}

// meaning turns the comment of a field into a sentence about its key: "Grace is how
// long …" becomes "How long …", and otherwise the field's name becomes the key.
func meaning(comment string, f reflect.StructField) string {
	text := strings.Join(strings.Fields(comment), " ")
	text = strings.TrimSuffix(text, ".")
	rest, ok := strings.CutPrefix(text, f.Name+" ")
	if !ok {
		return text
	}
	for _, verb := range []string{"is ", "are "} {
		if what, ok := strings.CutPrefix(rest, verb); ok {
			first, size := utf8.DecodeRuneInString(what)
			return string(unicode.ToUpper(first)) + what[size:]
		}
	}
	return f.Tag.Get("yaml") + " " + rest
}
