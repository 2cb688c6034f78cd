package strictyaml

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

const errorsFile = "testdata/errors.txtar"

var update = flag.Bool("update", false, "rewrite the expected errors in "+errorsFile)

// A server is a file with fields of every type that can be decoded.
type server struct {
	Name    string            `yaml:"name"`
	Level   string            `yaml:"level" jsonschema:"enum=debug,enum=info,enum=warn"`
	Debug   bool              `yaml:"debug"`
	Workers int               `yaml:"workers" jsonschema:"minimum=1,maximum=8"`
	Shade   uint8             `yaml:"shade"`
	Ratio   float64           `yaml:"ratio" jsonschema:"minimum=0"`
	Timeout time.Duration     `yaml:"timeout"`
	Colour  hex               `yaml:"colour"`
	Tags    []string          `yaml:"tags"`
	Corner  [2]float64        `yaml:"corner"`
	Limits  limits            `yaml:"limits"`
	Routes  []route           `yaml:"routes"`
	Users   map[string]limits `yaml:"users"`
	Ignored string            `yaml:"-"`
	Plain   string
}

type limits struct {
	Soft int `yaml:"soft"`
	Hard int `yaml:"hard"`
}

// A route has defaults, one of which depends on another key.
type route struct {
	Kind string `yaml:"kind"`
	Path string `yaml:"path"`
	Port int    `yaml:"port"`
}

func (r *route) SetDefaults(peek func(key string) string) {
	*r = route{Kind: "http", Path: "/", Port: 80}
	if peek("kind") == "https" {
		r.Port = 443
	}
}

// A hex is a number that is written in a form of its own.
type hex int

func (h *hex) UnmarshalText(text []byte) error {
	if _, err := fmt.Sscanf(string(text), "%xh", (*int)(h)); err != nil {
		return fmt.Errorf("%q is not a colour; such as ff8000h", text)
	}
	return nil
}

func (h hex) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%xh", int(h)), nil }

func decodeOK(t *testing.T, text string) server {
	t.Helper()
	s := server{Name: "default", Level: "info", Tags: []string{"default"}, Limits: limits{Soft: 1, Hard: 2}}
	if err := Decode("test.yaml", []byte(text), env, &s).Err(); err != nil {
		t.Fatalf("unexpected error:\n%v", err)
	}
	return s
}

func TestDecode(t *testing.T) {
	got := decodeOK(t, `
name: "${NAME}"
debug: true
workers: "8"
shade: 255
ratio: 1e-3
timeout: 1m30s
colour: ff8000h
tags: [a, 1, true, "", '$${NAME}']
corner: [0.5, -2]
limits: {hard: 5}
routes:
  - &base {path: /a}
  - {<<: *base, kind: https}
  - *base
  - {kind: https, port: 8443}
users: {ann: &ann {soft: 3}, bob: *ann, cid: }
`)
	want := server{
		Name: "front-door", Level: "info", Debug: true, Workers: 8, Shade: 255, Ratio: 1e-3,
		Timeout: 90 * time.Second, Colour: 0xff8000, Tags: []string{"a", "1", "true", "", "${NAME}"},
		Corner: [2]float64{0.5, -2}, Limits: limits{Soft: 1, Hard: 5},
		Routes: []route{{"http", "/a", 80}, {"https", "/a", 443}, {"http", "/a", 80}, {"https", "/", 8443}},
		Users:  map[string]limits{"ann": {Soft: 3}, "bob": {Soft: 3}, "cid": {}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

// TestEmptyValues: a mapping or list that is left empty keeps its defaults.
func TestEmptyValues(t *testing.T) {
	want := decodeOK(t, "{}")
	for _, text := range []string{"~", "limits:\n", "limits: {}\ntags:\nroutes: ~\n"} {
		if diff := cmp.Diff(want, decodeOK(t, text)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// TestNotation: line endings, a byte order mark and the style of values make no difference.
func TestNotation(t *testing.T) {
	const text = "name: front-door\nlimits:\n  soft: 5\n"
	want := decodeOK(t, text)
	for name, text := range map[string]string{
		"CRLF":      strings.ReplaceAll(text, "\n", "\r\n"),
		"BOM":       "\ufeff" + text,
		"document":  "%YAML 1.2\n---\n" + text + "...\n",
		"empty end": text + "---\n",
		"flow":      `{"name": 'front-door', limits: {soft: "5"}}`,
		"block":     "name: |\n  front-door\nlimits: {soft: 5}\n",
		"explicit":  "? name\n: front-door\n? limits\n: {soft: 5}\n",
	} {
		if diff := cmp.Diff(want, decodeOK(t, text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestVariablesStayOneValue: the content of a variable cannot add keys.
func TestVariablesStayOneValue(t *testing.T) {
	want, _ := env("INJECT")
	if got := decodeOK(t, `name: "${INJECT}"`).Name; got != want {
		t.Errorf("name is %q, want %q", got, want)
	}
}

// TestPeekIsSilent: a broken value is reported once, although it is looked at twice.
func TestPeekIsSilent(t *testing.T) {
	doc := Decode("test.yaml", []byte("routes: [{kind: {}}, {kind: \"${NOT_SET}\"}, 5, *gone]"), env, &server{})
	var problems Errors
	if !errors.As(doc.Err(), &problems) || len(problems) != 4 {
		t.Errorf("problems:\n%v", doc.Err())
	}
}

func TestDocument(t *testing.T) {
	doc := Decode("test.yaml", []byte("limits:\n  soft: x\n  hard: 2\nroutes:\n- port: 1\n"), env, &server{})
	if doc.Empty() {
		t.Error("the document is called empty")
	}
	for path, want := range map[string]bool{
		"": true, "limits": true, "limits.soft": true, "limits.hard": true, "routes[0].port": true,
		"name": false, "routes[0].path": false, "routes[1]": false,
	} {
		if got := doc.IsSet(path); got != want {
			t.Errorf("IsSet(%q) is %v, want %v", path, got, want)
		}
		if got, want := doc.Failed(path), path == "limits.soft"; got != want {
			t.Errorf("Failed(%q) is %v, want %v", path, got, want)
		}
	}
	doc.Report("routes[0].path", "%d paths", 0)
	doc.Report("limits.hard", "bad")
	doc.Report("users.ann", "missing")
	if !doc.Failed("users.ann") {
		t.Error("a reported key has not failed")
	}
	want := `test.yaml:1:1: users.ann: missing
test.yaml:2:9: limits.soft: "x" is not a whole number; for example 80
test.yaml:3:9: limits.hard: bad
test.yaml:5:3: routes[0].path: 0 paths`
	if diff := cmp.Diff(want, doc.Err().Error()); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	var first Problem
	if !errors.As(doc.Err(), &first) || first.Key != "users.ann" {
		t.Errorf("the first problem is %+v", first)
	}
}

func TestEmpty(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "# a comment\n": true, "---\n": true, "%YAML 1.2\n---\n": true, "\ufeff\n": true,
		"~": false, "{}": false, "[": false, "a: b": false, "\xff": false,
	} {
		doc := Decode("test.yaml", []byte(text), env, &server{})
		if got := doc.Empty(); got != want {
			t.Errorf("%q: Empty is %v, want %v", text, got, want)
		}
		if err := doc.Err(); want && err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestUnreadableType: a field of a type that cannot be decoded is a problem, not a panic.
func TestUnreadableType(t *testing.T) {
	for _, v := range []any{
		&struct {
			V complex128 `yaml:"v"`
		}{},
		&struct {
			V *int `yaml:"v"`
		}{},
		&struct {
			V int `yaml:"v" jsonschema:"minimum=few"`
		}{},
	} {
		if err := Decode("test.yaml", []byte("v: 1"), env, v).Err(); err == nil {
			t.Errorf("%T was decoded", v)
		}
	}
}

// TestFormat: a value that is written and read again is the same.
func TestFormat(t *testing.T) {
	for key, v := range map[string]any{
		"name": "a", "debug": true, "workers": 8, "shade": uint8(255), "ratio": 0.1, "timeout": 90 * time.Second,
		"colour": hex(0xabc), "tags": []string{"a", "b"}, "corner": [2]float64{1, -0.5},
	} {
		var s server
		text := fmt.Sprintf("%s: %s", key, Format(v))
		if err := Decode("test.yaml", []byte(text), env, &s).Err(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		for f := range Fields(reflect.TypeFor[server]()) {
			if got := reflect.ValueOf(s).FieldByIndex(f.Index).Interface(); f.Tag.Get("yaml") == key && !reflect.DeepEqual(got, v) {
				t.Errorf("%s is read as %v", text, got)
			}
		}
	}
}

// TestErrors compares the errors of the files NAME.yaml with NAME.want.
func TestErrors(t *testing.T) {
	archive, err := txtar.ParseFile(errorsFile)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*txtar.File{}
	for i := range archive.Files {
		files[archive.Files[i].Name] = &archive.Files[i]
	}
	for name, file := range files {
		stem, ok := strings.CutSuffix(name, ".yaml")
		if !ok {
			continue
		}
		t.Run(stem, func(t *testing.T) {
			want := files[stem+".want"]
			if want == nil {
				t.Fatalf("%s has no %s.want", errorsFile, stem)
			}
			err := Decode(name, file.Data, env, &server{}).Err()
			if err == nil {
				t.Fatal("no error")
			}
			got := err.Error() + "\n"
			if *update {
				want.Data = []byte(got)
				return
			}
			if diff := cmp.Diff(string(want.Data), got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
	if *update {
		if err := os.WriteFile(errorsFile, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
