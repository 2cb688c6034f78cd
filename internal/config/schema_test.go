package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
)

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("cvfeeder.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("cvfeeder.schema.json") // validates it against its meta-schema, too
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// refusal returns why the schema rejects a file. Like an editor, it does not know the
// environment.
func refusal(t testing.TB, schema *jsonschema.Schema, text []byte) error {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		return err
	}
	return schema.Validate(jsonValue(value))
}

// jsonValue converts a decoded YAML value to what a JSON file would hold.
func jsonValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = jsonValue(e)
		}
	case []any:
		for i, e := range v {
			v[i] = jsonValue(e)
		}
	case uint64:
		return int64(v)
	}
	return v
}

func TestSchemaTakesGoodFiles(t *testing.T) {
	schema := compileSchema(t)
	example, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"shipped": string(example),
		"minimal": minimalFile,
		"anchors": "streams:\n- &a {name: a, interval: 1s, outputs: [x]}\n- {<<: *a, name: b}\noutputs: {x: }\n",
		"arn": `streams: [{arn: "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/yard/1609459200000", outputs: [x], freshness: 0}]
outputs: {x: {preset: none, size: "", scale: 0.5, mean: [0, "0.1", 1e-3], roi: "0,0,0.5,1", pad: 0}}`,
		"masks": `streams: [{name: a, outputs: [x], masks: [{polygon: [[0, 0], [1, "0.5"], [.5, 1e-1]], fill: "255, 0,0"}, {box: [0.9, 0.9, 0.1, 0.1], pixelate: 16}]}]
outputs: {x: }`,
		"variables": `
aws: {region: "${REGION}", endpoint: "http://${NAME}:80"}
http: {pprof: "${PPROF}"}
log:
delivery: {mode: ring, inflight: 1.5 GiB, stream: {keep: "5"}}
price: {per_million_images: 0}
streams:
  - {prefix: 1, interval: "${INTERVAL}", from: 2026-01-02T03:04:05+01:00, grace: 1m30.5s, lag: 5s, overlap: auto, outputs: [1], request: {quality: "${EMPTY}1"}}
outputs:
  1: {preset: "${PRESET}", scale: " 1 / 255", size: 320X240}`,
	} {
		if _, err := Parse(name, []byte(text), env); err != nil {
			t.Errorf("%s is not a good file: %v", name, err)
		}
		if err := refusal(t, schema, []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// beyondSchema holds the texts of problems that a schema cannot detect: those of YAML and
// of the environment.
var beyondSchema = []string{
	"not valid YAML", "duplicate key", "there is no anchor", "aliases in a row", "merges in a row", "the tag ",
	"environment variable", "not text in UTF-8", "a second YAML document",
}

// TestSchemaRefusesBrokenFiles: the schema rejects every file in which a key on its own is
// wrong.
func TestSchemaRefusesBrokenFiles(t *testing.T) {
	schema := compileSchema(t)
	archive, err := txtar.ParseFile(errorsFile)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, file := range archive.Files {
		if !strings.HasSuffix(file.Name, ".yaml") {
			continue
		}
		structural := structuralProblems(file.Data)
		err := refusal(t, schema, file.Data)
		switch {
		case len(structural) > 0 && err == nil:
			t.Errorf("the schema takes %s, which has\n%v", file.Name, structural)
		case len(structural) > 0:
			refused++
		}
	}
	if refused < 5 {
		t.Errorf("only %d files of %s are broken in a way that the schema can know", refused, errorsFile)
	}
}

// structuralProblems returns what is wrong with each key on its own, except what a schema
// cannot detect.
func structuralProblems(text []byte) strictyaml.Errors {
	_, doc := decode("test.yaml", text, env)
	var all, structural strictyaml.Errors
	errors.As(doc.Err(), &all)
	for _, p := range all {
		known := false
		for _, text := range beyondSchema {
			known = known || strings.Contains(p.Text, text)
		}
		if !known {
			structural = append(structural, p)
		}
	}
	return structural
}

// odd holds values of all kinds, as they are written in a file.
var odd = []string{
	`""`, `0`, `1`, `-1`, `5`, `6`, `101`, `256`, `0.5`, `-0.5`, `1e3`, `true`, `false`, `word`, `"5"`, `"0.5"`, `"1/2"`,
	`200ms`, `5s`, `1h30m`, `-5s`, `5`, `5 s`, `s`, `.5s`, `auto`, `64MiB`, `64 kb`, `64`, `1.5GiB`, `MiB`, `64M`, `4096B`,
	`640x480`, `640 X 480`, `640x`, `640x0`, `640x480x3`, `640`, `"0,0,1,1"`, `"0.0,0,.5,1"`, `"0,0,1"`, `"a,0,1,1"`,
	`2%`, `0.5 %`, `101%`, `%`, `2`, `-1%`,
	`07:00-19:00`, `Mon-Fri 07:00-19:00, Sat 22:00-06:00 Europe/Berlin`, `07:00`, `07:00-19:00,`, `Mon - Fri 7:00 - 9:00 UTC`, `"07:00-19:00 "`,
	`1/255`, `1/x`, `a/2`, `resume`, `now`, `2026-01-02T03:04:05Z`, `2026-01-02T03:04:05.5+01:00`, `2026-01-02`, `yesterday`,
	`live`, `Live`, `jpeg`, `yolo`, `uint8`, `rgb`, `debug`, `text`, `limits`,
	`[]`, `[a]`, `[1, 2, 3]`, `[1, 2]`, `[a, b, c]`, `[1, "2", 3.5]`, `[[1], 2, 3]`, `[[0, 0], [1, 0], [0, "1"]]`, `[1, 2, 3, 4]`, `[1, 2, 3, 4, 5, 6, 7, 8, 9]`, `{}`, `{a: b}`, `null`,
	`"${NAME}"`, `"${PPROF}"`, `"a ${REGION} b"`, `"$${NAME}"`, `"${1}"`, `"${"`, `"${NAME"`, `"$$$"`, `"a$b"`,
}

// TestSchemaIsAsStrictAsTheDecoder sets each key to each odd value. The decoder and the
// schema must agree on it, unless it is a variable.
func TestSchemaIsAsStrictAsTheDecoder(t *testing.T) {
	schema := compileSchema(t)
	for _, key := range keys(reflect.TypeFor[Config](), "") {
		taken, refused := 0, 0
		for _, value := range odd {
			text := fileWith(key, value)
			structural, err := structuralProblems([]byte(text)), refusal(t, schema, []byte(text))
			_, loadErr := Parse("test.yaml", []byte(text), env)
			switch {
			case loadErr == nil && err != nil:
				t.Errorf("%s: %s is fine, but the schema refuses it: %v", key, value, err)
			case len(structural) > 0 && err == nil && !excused(value):
				t.Errorf("%s: the schema takes %s, the decoder says: %v", key, value, structural)
			}
			if err == nil {
				taken++
			} else {
				refused++
			}
		}
		if refused == 0 || taken == 0 && !strings.HasSuffix(key, ".outputs") && key != "streams" && key != "streams[]" {
			if key != "outputs" {
				t.Errorf("%s: the schema takes %d values and refuses %d", key, taken, refused)
			}
		}
	}
}

// excused reports whether only the decoder can judge a value: one with a variable, or a
// quoted number.
func excused(value string) bool {
	return strings.Contains(value, "${NAME}") || strings.Contains(value, "${PPROF}") || strings.Contains(value, "${REGION}") ||
		strings.HasPrefix(value, `"5"`)
}

// fileWith returns a file in which one key has the value and everything else is valid.
func fileWith(key, value string) string {
	var b strings.Builder
	stream, output := "name: front-door, outputs: [detector]", ""
	if rest, ok := strings.CutPrefix(key, "streams[]."); ok {
		stream = "outputs: [detector], " + nested(rest, value)
		switch rest {
		case "outputs":
			stream = "name: front-door, outputs: " + value
		case "name", "arn", "prefix":
		default:
			stream = "name: front-door, " + stream
		}
	} else if rest, ok := strings.CutPrefix(key, "outputs.*."); ok {
		output = nested(rest, value)
	} else if key == "streams" {
		return "streams: " + value + "\noutputs: {detector: }\n"
	} else if key == "outputs" {
		return "streams: [{name: a, outputs: [a]}]\noutputs: " + value + "\n"
	} else {
		fmt.Fprintln(&b, nested(key, value))
	}
	fmt.Fprintf(&b, "streams: [{%s}]\noutputs: {detector: {%s}}\n", stream, output)
	return b.String()
}

// nested writes the key a.b as a: {b: value}.
func nested(key, value string) string {
	if first, rest, deeper := strings.Cut(key, "[]."); deeper && !strings.Contains(first, ".") {
		return first + ": [{" + nested(rest, value) + "}]"
	}
	if first, rest, deeper := strings.Cut(key, "."); deeper {
		return first + ": {" + nested(rest, value) + "}"
	}
	return key + ": " + value
}

// TestSchemaDescribesEveryKey: each key has a meaning, without links to Go names.
func TestSchemaDescribesEveryKey(t *testing.T) {
	comments, err := fieldComments()
	if err != nil {
		t.Fatal(err)
	}
	described := 0
	var walk func(t reflect.Type)
	walk = func(typ reflect.Type) {
		for f := range strictyaml.Fields(typ) {
			comment := comments[typ.Name()+"."+f.Name]
			text := meaning(comment, f.Name)
			if text == "" || strings.ContainsAny(text, "[]") {
				t.Errorf("the comment of %s.%s does not do for the schema and the documentation: %q", typ.Name(), f.Name, text)
			}
			if !strings.HasPrefix(comment, f.Name+" is ") && !strings.HasPrefix(comment, f.Name+" are ") {
				t.Errorf("the comment of %s.%s says neither what it is nor what they are: %q", typ.Name(), f.Name, comment)
			}
			described++
			ft := f.Type
			if ft.Kind() == reflect.Slice || ft.Kind() == reflect.Map {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct && mapped(ft) == nil {
				walk(ft)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
	if n := len(keys(reflect.TypeFor[Config](), "")); described < n {
		t.Errorf("%d keys are described, there are %d", described, n)
	}
}

// FuzzSchema: the schema accepts every valid file.
func FuzzSchema(f *testing.F) {
	schema := compileSchema(f)
	for _, value := range odd {
		f.Add([]byte(fileWith("streams[].interval", value)))
		f.Add([]byte(fileWith("outputs.*.scale", value)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := Parse("fuzz.yaml", text, env); err != nil {
			return
		}
		var value any
		if yaml.Unmarshal(text, &value) != nil {
			return
		}
		var invalid *jsonschema.ValidationError
		if err := schema.Validate(jsonValue(value)); errors.As(err, &invalid) {
			t.Errorf("the schema refuses a good file: %v", err)
		}
	})
}
