package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is one thing that is wrong with a file.
type Problem struct {
	// File is the name of the file. Line and Column count from 1; both are 0 if the
	// problem is that of the whole file.
	File         string
	Line, Column int
	// Key is the path of the key, as in "routes[0].port". It is empty if the problem is
	// that of the whole file.
	Key string
	// Text says what is wrong, and after a semicolon what is allowed.
	Text string
}

// Error returns "file:line:column: key: what is wrong; what is allowed".
func (p Problem) Error() string {
	parts := []string{p.File}
	if p.Line > 0 {
		parts[0] = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	if p.Key != "" {
		parts = append(parts, p.Key)
	}
	return strings.Join(append(parts, p.Text), ": ")
}

// Errors is everything that is wrong with a file, in the order of the file.
type Errors []Problem

// Error returns one line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems one by one.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, p := range e {
		errs[i] = p
	}
	return errs
}

// sorted returns the problems by position. Those at the same position keep their order.
func (e Errors) sorted() Errors {
	return slices.SortedStableFunc(slices.Values(e), func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
