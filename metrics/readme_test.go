package metrics_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/metrics"
)

var update = flag.Bool("update", false, "rewrite the table of metrics in README.md")

const (
	readme     = "../README.md"
	beginTable = "<!-- metrics: made by make docs -->\n"
	endTable   = "<!-- end of metrics -->\n"
)

// TestREADME compares the table in README.md with the metrics. With -update it rewrites
// the table.
func TestREADME(t *testing.T) {
	have, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(have, []byte(beginTable))
	_, after, ok2 := bytes.Cut(rest, []byte(endTable))
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", readme, beginTable, endTable)
	}
	want := string(before) + beginTable + table(read(metrics.New(metrics.Build{}), sources(t)).Families()) + endTable + string(after)
	if *update {
		if err := os.WriteFile(readme, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("the table of metrics in README.md is out of date: run make docs (-want +have):\n%s", diff)
	}
}

func table(families []metrics.Family) string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, strings.ToLower(f.Type.String()), strings.Join(f.Labels, ", "), f.Help)
	}
	return b.String()
}
