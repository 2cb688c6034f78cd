package config

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The comments of the fields describe the keys. Only the source has them.
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

// meaning turns the comment of a field into the meaning of its key: "Grace is how long …"
// becomes "How long …", and "Level is the lowest …" becomes "Lowest …".
func meaning(comment, field string) string {
	text := strings.TrimSuffix(strings.Join(strings.Fields(comment), " "), ".")
	text = strings.TrimPrefix(text, field+" ")
	for _, start := range []string{"is ", "are ", "the ", "a ", "an "} {
		text = strings.TrimPrefix(text, start)
	}
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:]
}
