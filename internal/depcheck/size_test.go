package depcheck

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a person can keep in mind. Tables that are generated, and tests, do not count.
const (
	maxFunctionLines = 60
	maxFileLines     = 500
	maxPackageFiles  = 15
	maxPackageLines  = 1500
)

// reason is how the comment of a package says why it is larger than that.
var reason = regexp.MustCompile(`\blarger\s+than\s+most\b`)

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// A sized package is one with its source files.
type sized struct {
	files, lines int
	comment      string
}

// TestSizes names the functions, files and packages that have grown too large to be
// read at one go.
func TestSizes(t *testing.T) {
	packages := map[string]*sized{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		problems, err := measure(path, packages)
		for _, p := range problems {
			t.Error(p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 20 {
		t.Fatalf("only %d packages were found", len(packages))
	}
	for dir, p := range packages {
		if (p.files > maxPackageFiles || p.lines > maxPackageLines) && !reason.MatchString(p.comment) {
			t.Errorf("%s has %d files and %d lines, more than %d or %d: split it, or let its package comment say why it is larger than most packages",
				dir, p.files, p.lines, maxPackageFiles, maxPackageLines)
		}
	}
}

// measure adds a file to its package, and returns what is too long in it.
func measure(path string, packages map[string]*sized) (problems []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	if generated.Match(text) {
		return nil, nil
	}
	dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../../")
	p := packages[dir]
	if p == nil {
		p = &sized{}
		packages[dir] = p
	}
	lines := bytes.Count(text, []byte("\n"))
	p.files, p.lines = p.files+1, p.lines+lines
	p.comment += file.Doc.Text()
	if lines > maxFileLines {
		problems = append(problems, fmt.Sprintf("%s has %d lines, more than %d", path, lines, maxFileLines))
	}
	ast.Inspect(file, func(n ast.Node) bool {
		f, ok := n.(*ast.FuncDecl)
		if !ok {
			return true
		}
		if n := files.Position(f.End()).Line - files.Position(f.Pos()).Line + 1; n > maxFunctionLines {
			problems = append(problems, fmt.Sprintf("%s: %s has %d lines, more than %d", path, f.Name.Name, n, maxFunctionLines))
		}
		return false
	})
	return problems, nil
}
