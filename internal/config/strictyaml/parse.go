package strictyaml

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// root returns the only document of the file. It returns nil if there is none, or
// after it has reported what is wrong.
func (d *decoder) root(data []byte) ast.Node {
	if !utf8.Valid(data) {
		d.reportAt(nil, "", "not text in UTF-8; save the file as UTF-8")
		return nil
	}
	wrong := checkText(data)
	var all token.Tokens
	if wrong == "" {
		all, wrong = tokens(data)
	}
	if wrong != "" {
		d.reportAt(nil, "", "%s", wrong)
		return nil
	}
	file, err := parser.Parse(all, 0, parser.AllowDuplicateMapKey())
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
				d.reportAt(position(body), "", "a second YAML document starts here; a file holds one, so remove the --- before it")
				return nil
			}
			root = body
		}
	}
	d.empty = root == nil
	return root
}

// reportSyntax reports an error of the YAML library.
func (d *decoder) reportSyntax(err error, data []byte) {
	var syntax yaml.Error
	if !errors.As(err, &syntax) || syntax.GetToken() == nil {
		d.reportAt(nil, "", "not valid YAML: %v", err)
		return
	}
	pos, hint := syntax.GetToken().Position, ""
	lines := bytes.Split(data, []byte("\n"))
	if n := pos.Line - 1; n >= 0 && n < len(lines) && bytes.Contains(lines[n], []byte("${")) {
		hint = `; inside { } and [ ] a variable needs quotes, as in "${VAR}"`
	}
	d.reportAt(pos, "", "not valid YAML: %s%s", strings.ReplaceAll(syntax.GetMessage(), "\t", `\t`), hint)
}
