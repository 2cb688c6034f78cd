package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestBill makes the bill of this test's own program.
func TestBill(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run([]string{program, "v1.2.3", "opencv=4.6.0"}, "1767323045", &out); err != nil {
		t.Fatal(err)
	}
	var got bill
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Format != "CycloneDX" || got.Metadata.Timestamp != "2026-01-02T03:04:05Z" {
		t.Errorf("got %+v", got)
	}
	main := got.Metadata.Component
	if main.Version != "v1.2.3" || len(main.Hashes) != 1 || len(main.Hashes[0].Content) != 64 {
		t.Errorf("the program is %+v", main)
	}
	refs := map[string]bool{}
	for _, c := range got.Components {
		if refs[c.Ref] {
			t.Errorf("%s is there twice", c.Ref)
		}
		refs[c.Ref] = true
	}
	for _, want := range []string{"pkg:golang/stdlib@1.", "pkg:generic/opencv@4.6.0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestWrongArguments(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"none":       nil,
		"no program": {"absent", "v1"},
		"no Go":      {"main.go", "v1"},
		"no version": {program, "v1", "opencv"},
	} {
		if err := run(args, "", &bytes.Buffer{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := run([]string{program, "v1"}, "yesterday", &bytes.Buffer{}); err == nil {
		t.Error("a wrong time: no error")
	}
}
