package strictyaml

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzDecode: whatever the file holds, the positions of problems are within it, and values
// are those that the fields allow.
func FuzzDecode(f *testing.F) {
	archive, err := txtar.ParseFile(errorsFile)
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		if strings.HasSuffix(file.Name, ".yaml") {
			f.Add(file.Data)
		}
	}
	f.Add([]byte("routes:\n  - &base {path: /a}\n  - {<<: *base, kind: https}\nusers: {ann: &ann {soft: 3}, bob: *ann}\n"))
	f.Add([]byte("timeout: 1m30s\ncolour: ff8000h\nratio: 1e-3\ncorner: [0.5, -2]\nname: |\n  ${NAME}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := server{Level: "info", Workers: 1}
		doc := Decode("fuzz.yaml", data, env, &s)
		if err := doc.Err(); err != nil {
			checkProblems(t, err, bytes.Count(data, []byte("\n"))+1+bytes.Count(data, []byte("\r")))
		} else if doc.Empty() && !reflect.DeepEqual(s, server{Level: "info", Workers: 1}) {
			t.Errorf("an empty file is %+v", s)
		}
		switch {
		case !slices.Contains([]string{"debug", "info", "warn"}, s.Level), s.Workers < 1, s.Workers > 8, s.Timeout < 0,
			s.Ratio < 0, math.IsNaN(s.Ratio), math.IsInf(s.Ratio, 0), s.Ignored != "", s.Plain != "":
			t.Errorf("decoded %+v", s)
		}
	})
}

func checkProblems(t *testing.T, err error, lines int) {
	t.Helper()
	var problems Errors
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("error is %T: %v", err, err)
	}
	before := Problem{}
	for _, p := range problems {
		if p.File != "fuzz.yaml" || p.Text == "" || p.Line < 0 || p.Line > lines || p.Line > 0 && p.Column < 1 {
			t.Errorf("a file of %d lines has the problem %+v", lines, p)
		}
		if p.Line < before.Line || p.Line == before.Line && p.Column < before.Column {
			t.Errorf("%v is reported after %v", p, before)
		}
		before = p
	}
}
