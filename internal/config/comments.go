package config

import (
	"embed"
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
//go:embed config.go health.go output.go
var typesSources embed.FS

// fieldComments returns the comments of the fields of all types, by "Type.Field".
func fieldComments() (map[string]string, error) {
	comments := map[string]string{}
	for _, name := range []string{"config.go", "health.go", "output.go"} {
		source, err := typesSources.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("the program's own source: %w", err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("the program's own source: %w", err)
		}
		addComments(comments, file)
	}
	return comments, nil
}

// addComments adds the comments of a file's fields.
func addComments(comments map[string]string, file *ast.File) {
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
