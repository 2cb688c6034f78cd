package config

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
)

// Excerpt returns what a config file has to say to get a stream and its outputs, and nothing
// else, in YAML. Keys that have their default values are left out. The name of a stream that a
// prefix found takes the place of the prefix. Batches are left out, as they have other streams.
func (c *Config) Excerpt(s Stream) (string, error) {
	s.Prefix = ""
	if s.ARN != "" {
		s.Name = ""
	}
	var text strings.Builder
	var plain Stream
	plain.SetDefaults(nil)
	text.WriteString("streams:\n")
	writeChanged(&text, "- ", s, plain)
	text.WriteString("outputs:\n")
	for _, name := range s.Outputs {
		o, is := c.Outputs[name]
		if !is {
			return "", fmt.Errorf("stream %s: there is no output %q", s.Name, name)
		}
		var plain Output
		plain.SetDefaults(func(key string) string {
			if key == "preset" {
				return string(o.Preset)
			}
			return ""
		})
		plain.Preset = "" // it is always there
		o.Batch = plain.Batch
		fmt.Fprintf(&text, "  %s:\n", name)
		writeChanged(&text, "    ", o, plain)
	}
	return text.String(), nil
}

// writeChanged writes the keys of a struct whose values are not those of another. The first
// line begins with indent, and the others with as many spaces.
func writeChanged(text *strings.Builder, indent string, of, from any) {
	v, w := reflect.ValueOf(of), reflect.ValueOf(from)
	for i := range v.NumField() {
		key, value := v.Type().Field(i).Tag.Get("yaml"), v.Field(i)
		if key == "-" || reflect.DeepEqual(value.Interface(), w.Field(i).Interface()) {
			continue
		}
		if _, is := value.Interface().(encoding.TextMarshaler); !is && value.Kind() == reflect.Struct {
			fmt.Fprintf(text, "%s%s:\n", indent, key)
			indent = strings.Repeat(" ", len(indent))
			writeChanged(text, indent+"  ", value.Interface(), w.Field(i).Interface())
			continue
		}
		fmt.Fprintf(text, "%s%s: %s\n", indent, key, written(value))
		indent = strings.Repeat(" ", len(indent))
	}
}

// bare are the texts that need no quotation marks.
var bare = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./:-]*$`)

func written(v reflect.Value) string {
	text := strictyaml.Format(v.Interface())
	if v.Kind() == reflect.String && !bare.MatchString(text) || text == "" {
		return strconv.Quote(text)
	}
	return text
}
