package config

import (
	"fmt"
	"reflect"

	"github.com/goccy/go-yaml"
)

// Excerpt returns what a config file has to say to get a stream and its outputs, and nothing
// else, in YAML. Keys that have their default values are left out, but the name of a stream
// that a prefix found takes the place of the prefix.
func (c *Config) Excerpt(s Stream) (string, error) {
	if s.Prefix != "" {
		s.Prefix, s.ARN = "", ""
	}
	if s.ARN != "" {
		s.Name = ""
	}
	var plain Stream
	plain.SetDefaults(nil)
	outputs := yaml.MapSlice{}
	for _, name := range s.Outputs {
		o, is := c.Outputs[name]
		if !is {
			return "", fmt.Errorf("stream %s: there is no output %q", s.Name, name)
		}
		var plain Output
		plain.SetDefaults(func(key string) string {
			if key == "preset" {
				return o.Preset
			}
			return ""
		})
		keys := changed(o, plain)
		outputs = append(outputs, yaml.MapItem{Key: name, Value: append(yaml.MapSlice{{Key: "preset", Value: o.Preset}}, keys...)})
	}
	text, err := yaml.Marshal(yaml.MapSlice{
		{Key: "streams", Value: []yaml.MapSlice{changed(s, plain)}},
		{Key: "outputs", Value: outputs},
	})
	return string(text), err
}

// changed returns the keys of a struct whose values are not those of another.
func changed[T any](of, from T) yaml.MapSlice {
	var keys yaml.MapSlice
	v, w := reflect.ValueOf(of), reflect.ValueOf(from)
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("yaml")
		if key == "-" || key == "preset" || key == "" || reflect.DeepEqual(v.Field(i).Interface(), w.Field(i).Interface()) {
			continue
		}
		var value any = v.Field(i).Interface()
		if of, is := value.(Request); is {
			value = changed(of, w.Field(i).Interface().(Request))
		}
		keys = append(keys, yaml.MapItem{Key: key, Value: value})
	}
	return keys
}
