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
	packages := strings.NewReader(`libjpeg62-turbo-dev 1:2.1.5-2 amd64
libpng1.6 1.6.39-2+deb12u4 source
libpng1.6 1.6.39-2+deb12u4 source
`)
	if err := run([]string{program, "v1.2.3", "debian-12"}, "1767323045", packages, &out); err != nil {
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
	for _, want := range []string{
		"pkg:golang/stdlib@1.",
		`"pkg:deb/debian/libjpeg62-turbo-dev@1:2.1.5-2?arch=amd64&distro=debian-12"`,
		`"pkg:deb/debian/libpng1.6@1.6.39-2%2Bdeb12u4?arch=source&distro=debian-12"`,
		`"version": "1.6.39-2+deb12u4"`,
	} {
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
		"no program": {"absent", "v1", "debian-12"},
		"no Go":      {"main.go", "v1", "debian-12"},
		"no distro":  {program, "v1"},
	} {
		if err := run(args, "", strings.NewReader("zlib 1 source"), &bytes.Buffer{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := run([]string{program, "v1", "debian-12"}, "yesterday", strings.NewReader("zlib 1 source"), &bytes.Buffer{}); err == nil {
		t.Error("a wrong time: no error")
	}
	for _, packages := range []string{"", "zlib 1", "zlib"} {
		if err := run([]string{program, "v1", "debian-12"}, "", strings.NewReader(packages), &bytes.Buffer{}); err == nil {
			t.Errorf("packages %q: no error", packages)
		}
	}
}
