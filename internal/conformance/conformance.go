// Package conformance keeps the table of which client passes which case of
// clients/conformance. The tests that run the cases write it, and hold it true.
package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	begin  = "<!-- The tests of the clients write this table with -update. -->\n\n"
	end    = "\n<!-- The end of the table. -->\n"
	passes = "✓"
	fails  = "✗"
)

// Clients are the columns of the table.
func Clients() []string { return []string{"Go", "Python", "TypeScript"} }

// Check compares the column of a client with the cases that it has just passed, and the rows
// with the cases that there are below dir, which is clients/conformance. With update, it
// writes the column.
func Check(t *testing.T, dir, client string, passed []string, update bool) {
	t.Helper()
	readme := filepath.Join(dir, "README.md")
	have, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	want, err := withColumn(string(have), dir, client, passed)
	switch {
	case err != nil:
		t.Error(err)
	case update:
		if err := os.WriteFile(readme, []byte(want), 0o644); err != nil { //nolint:gosec // a document
			t.Error(err)
		}
	case want != string(have):
		t.Errorf("the table in %s is not what %s passes: run this test with -update, and look at what has changed", readme, client)
	}
}

// withColumn returns the text with a row for each case, and the column of one client anew.
func withColumn(text, dir, client string, passed []string) (string, error) {
	before, rest, found := strings.Cut(text, begin)
	table, after, ends := strings.Cut(rest, end)
	column := slices.Index(Clients(), client)
	if !found || !ends || column < 0 {
		return "", fmt.Errorf("clients/conformance/README.md has no table with a column %s between %q and %q", client, begin, end)
	}
	cases, err := os.ReadDir(filepath.Join(dir, "cases"))
	if err != nil {
		return "", err
	}
	old := marks(table)
	var b strings.Builder
	fmt.Fprintf(&b, "| case | about | %s |\n|---|---|%s\n", strings.Join(Clients(), " | "), strings.Repeat("---|", len(Clients())))
	for _, c := range cases {
		about, err := about(filepath.Join(dir, "cases", c.Name(), "case.json"))
		if err != nil {
			return "", err
		}
		row := slices.Clone(old[c.Name()])
		if len(row) != len(Clients()) {
			row = slices.Repeat([]string{fails}, len(Clients()))
		}
		row[column] = fails
		if slices.Contains(passed, c.Name()) {
			row[column] = passes
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.Name(), about, strings.Join(row, " | "))
	}
	return before + begin + b.String() + end + after, nil
}

// marks returns what a table says of each case, in the order of the clients.
func marks(table string) map[string][]string {
	found := map[string][]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "| "), " | ")
		if name, is := strings.CutPrefix(cells[0], "`"); is && len(cells) > 2 {
			found[strings.TrimSuffix(name, "`")] = cells[2:]
		}
	}
	return found
}

func about(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var c struct{ About string }
	if err := json.Unmarshal(data, &c); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return c.About, nil
}
