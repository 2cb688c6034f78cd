package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// scalingFile has the tables, from the top of the repository, between two marks.
const (
	scalingFile = "docs/scaling.md"

	tablesBegin = "<!-- fleet -->\n"
	tablesEnd   = "<!-- end of fleet -->"
)

// document prints the tables, with where their figures come from.
func (f *fleet) document(out io.Writer) {
	m := f.figures
	fmt.Fprintf(out, "\nMeasured on %s, at commit %s: %.1f ms for a 1080p JPEG to a tensor, and %.0f ms for an answer with 25 of them; with %d ms for all around it, a core publishes %.0f frames a second. %s leases written a second on one server, and %s on three.\n\n",
		m.Machine, m.Commit, m.TransformMS, m.PageMS, aroundMS, f.perCore(), thousands(m.WritesOne), thousands(m.WritesThree))
	f.needs(out)
	fmt.Fprintln(out)
	f.report(out)
	fmt.Fprintln(out)
	f.costs(out)
	fmt.Fprintln(out)
}

// write replaces the tables of a file.
func (f *fleet) write(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, ok1 := strings.Cut(string(text), tablesBegin)
	_, tail, ok2 := strings.Cut(rest, tablesEnd)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no place for the tables", file)
	}
	var b strings.Builder
	f.document(&b)
	//nolint:gosec // a constant names the file, or a test does
	return os.WriteFile(file, []byte(head+tablesBegin+b.String()+tablesEnd+tail), 0o600)
}
