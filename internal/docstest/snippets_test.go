package docstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// assumed is what the manual's fragments in Python take for granted: the reader's own model,
// session and so on.
const assumed = `from __future__ import annotations
import asyncio, sys
from typing import Any
import cvfeeder
model: Any; store: Any; session: Any; url: Any; detect: Any; torch: Any; ModelInferRequest: Any
`

// TestSnippetsAreTyped: what the manual says in Python of the client is checked by mypy, which
// knows all options, methods and fields: a name that has changed is an error. The programs of
// the manual are run elsewhere, too.
func TestSnippetsAreTyped(t *testing.T) {
	python := os.Getenv("CVFEEDER_PYTHON")
	if python == "" {
		t.Skip("CVFEEDER_PYTHON does not name a Python with mypy: `make test` makes one")
	}
	dir := t.TempDir()
	n := 0
	for _, file := range []string{"README.md", "docs/consumers.md", "docs/tutorial.md", "clients/python/README.md"} {
		for i, block := range blocks(read(t, filepath.Join(root, file))) {
			if block.language != "python" && block.language != "py" || !strings.Contains(block.text, "cvfeeder") && !strings.Contains(block.text, "to_oip") {
				continue
			}
			n++
			text := "    " + strings.ReplaceAll(strings.TrimSpace(block.text), "\n", "\n    ")
			name := strings.NewReplacer("/", "_", ".md", "").Replace(file)
			// A fragment about one tensor has it from the text around.
			program := fmt.Sprintf("%sasync def block(t: cvfeeder.Tensor) -> None:\n%s\n", assumed, text)
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s_%d.py", name, i)), []byte(program), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n < 8 {
		t.Errorf("only %d fragments in Python", n)
	}
	client, err := filepath.Abs(filepath.Join(root, "clients", "python", "src"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-m", "mypy", "--ignore-missing-imports", "--check-untyped-defs", "--cache-dir", filepath.Join(dir, "cache"), dir)
	cmd.Env = append(os.Environ(), "MYPYPATH="+client)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
