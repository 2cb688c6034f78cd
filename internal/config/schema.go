package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
	"github.com/cvfeeder/cvfeeder/transform"
)

// Schema returns the JSON schema of the config file: its keys with their types, enums,
// defaults and meanings, for editors that check and complete YAML. It accepts every file
// that [Load] accepts. References, keys that do not go together, and limits of durations
// are checked only by Load.
func Schema() ([]byte, error) {
	comments, err := fieldComments()
	if err != nil {
		return nil, err
	}
	s := schemer{comments: comments}
	r := jsonschema.Reflector{
		Anonymous: true, DoNotReference: true, ExpandedStruct: true,
		FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true, Mapper: mapped,
	}
	root := r.Reflect(&Config{})
	root.Title = "The config file of cvfeeder"
	s.structure(root, reflect.ValueOf(*defaults()))
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("the schema: %w", err)
	}
	return append(out, '\n'), nil
}

// Patterns of values. Any value may hold variables, ${NAME}, because the schema is applied
// before they are expanded.
const (
	variable = `\$\{[A-Za-z_][A-Za-z0-9_]*\}`
	number   = `[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?`
	length   = `\+?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+|[+-]?0`
	amount   = `[0-9]+(\.[0-9]+)?\s*([kKmMgG][iI]?)?[bB]`
	side     = `\s*\+?0*[1-9][0-9]{0,3}\s*`
	pixels   = side + `[xX]` + side
	instant  = `[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})`
	region   = `(\s*` + number + `\s*,){3}\s*` + number + `\s*`
	daytime  = `[0-9]{1,2}:[0-9]{2}`
	opening  = `\s*([A-Za-z]{3,9}(\s*-\s*[A-Za-z]{3,9})?\s+)?` + daytime + `\s*-\s*` + daytime
	weekly   = opening + `(\s*,` + opening + `)*(\s+[A-Za-z][A-Za-z0-9_+/-]*)?\s*`
	percent  = `(100(\.0+)?|0?[0-9]{1,2}(\.[0-9]{1,6})?|\.[0-9]{1,6})%`
	factor   = `\s*` + number + `\s*(/\s*` + number + `\s*)?`
	// noStray matches text in which every ${ starts a variable or is a literal $${.
	noStray = `^([^$]|\$+[^${]|\$\$+\{|` + variable + `)*\$*$`
)

// only returns the pattern of values that have one of the forms, or hold a variable.
func only(forms ...string) string {
	return `^(` + strings.Join(forms, `|`) + `)$|` + variable
}

// mapped returns the schema of a type that is written in a form of its own, such as a
// duration, and nil for other types.
func mapped(t reflect.Type) *jsonschema.Schema {
	text := func(pattern string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Pattern: pattern} }
	zero := jsonschema.Schema{Const: 0}
	switch t {
	case reflect.TypeFor[time.Duration]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{text(only(length)), &zero}}
	case reflect.TypeFor[AutoDuration]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{text(only("auto", length)), &zero}}
	case reflect.TypeFor[Bytes]():
		return text(only(amount))
	case reflect.TypeFor[Size]():
		return text(only(`\s*`, pixels))
	case reflect.TypeFor[Box]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{text(only(`\s*`, side, pixels)), {Type: "integer", Minimum: "1", Maximum: "8192"}}}
	case reflect.TypeFor[Pad]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{text(only(`\s*`+number+`\s*`, `\s*\[?(\s*`+number+`\s*,){2}\s*`+number+`\s*\]?\s*`)), {Type: "number"}}}
	case reflect.TypeFor[Fill]():
		value := `\s*\+?[0-9]+(\.0*)?\s*`
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{text(only(value, `\s*\[?(`+value+`,){2}`+value+`\]?\s*`)), {Type: "integer", Minimum: "0", Maximum: "255"}}}
	case reflect.TypeFor[Preset]():
		words := &jsonschema.Schema{}
		for _, name := range transform.PresetNames() {
			words.Enum = append(words.Enum, name)
		}
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{words, text(only(`(timm|torchvision)/[A-Za-z0-9_.-]+`))}}
	case reflect.TypeFor[ROI]():
		return text(only(`\s*`, region))
	case reflect.TypeFor[Hours]():
		return text(only(`\s*`, weekly))
	case reflect.TypeFor[QuantScale]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{text(only(factor, `\s*`)), {Type: "number", Minimum: "0"}}}
	case reflect.TypeFor[Scale]():
		s := text(only(factor))
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "number", Not: &zero}}}
	case reflect.TypeFor[Share]():
		return text(only(percent))
	case reflect.TypeFor[Start]():
		return text(only(string(StartResume), string(StartNow), instant))
	case reflect.TypeFor[End]():
		return text(only("", instant))
	}
	return nil
}

// A schemer completes the schema that the reflector makes of the types. It adds
// descriptions and defaults, and allows what a YAML file can have and JSON cannot.
type schemer struct{ comments map[string]string }

// structure completes the schema of a struct, whose value holds the defaults. Unless some
// of its keys are required, it may be left empty.
func (s schemer) structure(schema *jsonschema.Schema, v reflect.Value) {
	if v.Type() == reflect.TypeFor[Stream]() {
		named := func(key string) *jsonschema.Schema { return &jsonschema.Schema{Required: []string{key}} }
		schema.OneOf = []*jsonschema.Schema{named("name"), named("arn"), named("prefix")}
	}
	if len(schema.Required) == 0 {
		types(schema, "object", "null")
	}
	for f := range strictyaml.Fields(v.Type()) {
		property, ok := schema.Properties.Get(f.Tag.Get("yaml"))
		if !ok {
			continue
		}
		s.value(property, v.FieldByIndex(f.Index))
		property.Description = meaning(s.comments[v.Type().Name()+"."+f.Name], f.Name)
	}
}

// value completes the schema of a key, whose default is v.
func (s schemer) value(schema *jsonschema.Schema, v reflect.Value) {
	if mapped(v.Type()) != nil {
		schema.Default = strictyaml.Format(v.Interface())
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		s.structure(schema, v)
	case reflect.Map:
		// The keys are names that the user chooses.
		least := uint64(1)
		schema.MinProperties, schema.PropertyNames = &least, &jsonschema.Schema{Pattern: `\S`}
		s.structure(schema.AdditionalProperties, started(v.Type().Elem()))
	case reflect.Slice:
		if schema.MinItems == nil {
			types(schema, "array", "null")
		}
		switch v.Type().Elem().Kind() {
		case reflect.Struct:
			s.structure(schema.Items, started(v.Type().Elem()))
		case reflect.Array:
			scalar(schema.Items.Items)
		default:
			scalar(schema.Items)
		}
	case reflect.Array:
		scalar(schema.Items)
		schema.Default = v.Interface()
	case reflect.Uint8:
		schema.Minimum, schema.Maximum = "0", "255"
		fallthrough
	default:
		scalar(schema)
		schema.Default = v.Interface()
	}
}

// started returns a new element of a list or map with its defaults.
func started(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if s, ok := v.Interface().(strictyaml.Defaulter); ok {
		s.SetDefaults(func(string) string { return "" })
	}
	return v.Elem()
}

// scalar allows every notation of a single value: a number may be quoted, text may look
// like a number, and any value may be a variable.
func scalar(schema *jsonschema.Schema) {
	switch {
	case schema.Enum != nil:
		words := &jsonschema.Schema{Enum: schema.Enum}
		schema.AnyOf = []*jsonschema.Schema{words, {Type: "string", Pattern: variable}}
		schema.Type, schema.Enum = "", nil
	case schema.Type == "string":
		types(schema, "string", "number", "boolean")
		if schema.Pattern == "" {
			schema.Pattern = noStray
		}
	case schema.Type == "boolean":
		types(schema, "boolean", "string")
		schema.Pattern = only("true", "false")
	case schema.Type == "integer":
		types(schema, "integer", "string")
		schema.Pattern = only(`[+-]?[0-9]+`)
	case schema.Type == "number":
		types(schema, "number", "string")
		schema.Pattern = only(number)
	}
}

func types(schema *jsonschema.Schema, names ...string) {
	schema.Type = ""
	schema.Extras = map[string]any{"type": names}
}
