package config

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
)

const (
	document = "../../docs/configuration.md"
	begin    = "<!-- keys: made by make docs -->\n"
	end      = "<!-- end of keys -->\n"
)

// TestDocumentIsInStep compares the tables of the documentation with the types and their
// defaults, or writes them if -update is set.
func TestDocumentIsInStep(t *testing.T) {
	have, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(have, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", document, begin, end)
	}
	comments, err := fieldComments()
	if err != nil {
		t.Fatal(err)
	}
	want := string(before) + begin + "\n" + tables{comments}.all() + end + string(after)
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("%s is not in step with the config: run make docs (-want +have):\n%s", document, diff)
	}
}

// tables writes a row of Markdown for each key.
type tables struct{ comments map[string]string }

func (d tables) all() string {
	var b strings.Builder
	d.table(&b, "Streams", "Each entry of `streams` is one camera, or all those of a prefix. It needs exactly one of `name`, `arn` and `prefix`, and `outputs`.",
		started(reflect.TypeFor[Stream]()), "")
	d.table(&b, "Masks", "Each entry of a stream's `masks` is one part of its pictures that nobody is to see: see [privacy masks](masks.md). It needs one of `polygon` and `box`.",
		started(reflect.TypeFor[Mask]()), "")
	d.table(&b, "Outputs", "Each key below `outputs` is the name of an output, with these keys. The defaults are those of the preset; here of `yolo`.",
		started(reflect.TypeFor[Output]()), "")
	d.table(&b, "Everything else", "All of it can be left out.", reflect.ValueOf(*defaults()), "")
	return b.String()
}

func (d tables) table(b *strings.Builder, title, text string, v reflect.Value, prefix string) {
	fmt.Fprintf(b, "## %s\n\n%s\n\n| key | type | default | meaning |\n|---|---|---|---|\n", title, text)
	d.rows(b, v, prefix)
	b.WriteString("\n")
}

func (d tables) rows(b *strings.Builder, v reflect.Value, prefix string) {
	for f := range strictyaml.Fields(v.Type()) {
		key, value := prefix+f.Tag.Get("yaml"), v.FieldByIndex(f.Index)
		if value.Kind() == reflect.Struct && mapped(f.Type) == nil {
			d.rows(b, value, key+".")
			continue
		}
		if value.Kind() == reflect.Map || value.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			continue // has a table of its own
		}
		text := meaning(d.comments[v.Type().Name()+"."+f.Name], f.Name)
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", key, kindOf(f), code(value), strings.ReplaceAll(text, "|", "\\|"))
	}
}

func code(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		return ""
	}
	if text := strictyaml.Format(v.Interface()); text != "" {
		return "`" + text + "`"
	}
	return "`\"\"`"
}

// kindOf returns the text of the column "type": how a value is written.
func kindOf(f reflect.StructField) string {
	rules := map[string][]string{}
	for rule := range strings.SplitSeq(f.Tag.Get("jsonschema"), ",") {
		name, value, _ := strings.Cut(rule, "=")
		rules[name] = append(rules[name], value)
	}
	if words := rules["enum"]; words != nil {
		return "`" + strings.Join(words, "`, `") + "`"
	}
	bounds := ""
	switch least, most := rules["minimum"], rules["maximum"]; {
	case least != nil && most != nil:
		bounds = fmt.Sprintf(", %s to %s", least[0], most[0])
	case least != nil:
		bounds = fmt.Sprintf(", at least %s", least[0])
	}
	switch name := f.Type.Name(); name {
	case "Duration":
		return "duration"
	case "AutoDuration":
		return "`auto`, or a duration"
	case "Bytes":
		return "bytes"
	case "Size":
		return "`WIDTHxHEIGHT`"
	case "Box":
		return "`SIDE`, or `WIDTHxHEIGHT`"
	case "Pad":
		return "number, or `\"a,b,c\"`"
	case "Fill":
		return "whole number, 0 to 255, or `\"r,g,b\"`"
	case "Preset":
		return "name"
	case "ROI":
		return "`\"x,y,w,h\"`"
	case "Share":
		return "percentage"
	case "Scale":
		return "number, or fraction"
	case "Start":
		return "`resume`, `now`, or a time"
	case "End":
		return "time"
	}
	switch f.Type.Kind() {
	case reflect.Bool:
		return "`true`, `false`"
	case reflect.Uint8:
		return "whole number, 0 to 255"
	case reflect.Int:
		return "whole number" + bounds
	case reflect.Float64:
		return "number" + bounds
	case reflect.Array:
		return fmt.Sprintf("list of %d numbers", f.Type.Len())
	case reflect.Slice:
		if f.Type.Elem().Kind() == reflect.Array {
			return "list of lists of 2 numbers"
		}
		if f.Type.Elem().Kind() == reflect.Float64 {
			return "list of numbers"
		}
		return "list of names"
	default:
		return "text"
	}
}

// TestFormat: a value that is written and read again is the same.
func TestFormat(t *testing.T) {
	text := `
delivery: {inflight: 1.5GiB, stream: {max_bytes: 500KB}}
streams:
  - {name: a, outputs: [x], lag: 2s, overlap: auto, from: 2026-01-02T03:04:05.5Z, to: 2026-01-03T03:04:05Z, request: {size: 1280x720}}
outputs: {x: {roi: "0.25,0,0.5,1", scale: 0.25, mean: [0.1, 0, 1]}, y: {scale: 3, roi: "0,0,10,20"}, z: {preset: clip}}`
	for _, cfg := range []*Config{parseOK(t, text), parseOK(t, minimalFile)} {
		checkFormat(t, reflect.ValueOf(*cfg))
	}
}

func checkFormat(t *testing.T, v reflect.Value) {
	t.Helper()
	switch {
	case mapped(v.Type()) != nil:
		text := strictyaml.Format(v.Interface())
		if again, err := readValue(v.Type(), text); err != nil || !reflect.DeepEqual(again, v.Interface()) {
			t.Errorf("%v is written as %q, and read as %v, %v", v, text, again, err)
		}
	case v.Kind() == reflect.Struct:
		for f := range strictyaml.Fields(v.Type()) {
			checkFormat(t, v.FieldByIndex(f.Index))
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			checkFormat(t, v.Index(i))
		}
	case v.Kind() == reflect.Map:
		for _, k := range v.MapKeys() {
			checkFormat(t, v.MapIndex(k))
		}
	}
}

// readValue reads text as the value of a key of the type.
func readValue(t reflect.Type, text string) (any, error) {
	v := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "Key", Type: t, Tag: `yaml:"key"`}}))
	doc := strictyaml.Decode("test.yaml", fmt.Appendf(nil, "key: %q", text), env, v.Interface())
	return v.Elem().Field(0).Interface(), doc.Err()
}
