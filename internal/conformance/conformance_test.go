package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestColumn writes two columns, and notices a case that a client no longer passes, and one
// that is new.
func TestColumn(t *testing.T) {
	dir := t.TempDir()
	add := func(name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, "cases", name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cases", name, "case.json"), []byte(`{"about": "of `+name+`"}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	column := func(text, client string, passed ...string) string {
		t.Helper()
		got, err := withColumn(text, dir, client, passed)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	add("a")
	add("b")
	text := column("before\n"+begin+end+"after\n", "Go", "a", "b")
	text = column(text, "TypeScript", "b")
	want := []string{"before", "| `a` | of a | ✓ | ✗ | ✗ |", "| `b` | of b | ✓ | ✗ | ✓ |", "after"}
	for _, line := range want {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the text has no line %s:\n%s", line, text)
		}
	}
	if column(text, "Go", "a", "b") != text || column(text, "TypeScript", "b") != text {
		t.Error("the same results change the table")
	}
	if column(text, "Go", "a") == text {
		t.Error("a case that fails does not change the table")
	}
	add("c")
	if column(text, "Go", "a", "b") == text {
		t.Error("a new case does not change the table")
	}
	if _, err := withColumn("no table", dir, "Go", nil); err == nil {
		t.Error("a text without a table is no error")
	}
	if _, err := withColumn(text, dir, "Ada", nil); err == nil {
		t.Error("an unknown client is no error")
	}
}
