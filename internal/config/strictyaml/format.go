package strictyaml

import (
	"encoding"
	"fmt"
	"reflect"
)

// Format returns a scalar, slice or array as it is written in a file.
func Format(v any) string {
	if m, ok := v.(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	if v := reflect.ValueOf(v); v.Kind() == reflect.Array || v.Kind() == reflect.Slice {
		text := "["
		for i := range v.Len() {
			if i > 0 {
				text += ", "
			}
			text += Format(v.Index(i).Interface())
		}
		return text + "]"
	}
	return fmt.Sprint(v)
}
