package servicemodel

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"unicode/utf8"
)

// Check returns what is wrong with a value of the given shape: a line for each constraint
// that it violates, none if it conforms. The value is as encoding/json decodes it with
// [json.Decoder.UseNumber]. A member that is null counts as absent, as the service itself
// writes it.
func (s *Service) Check(shape string, value any) []string {
	var problems []string
	s.check(shape, value, shape, func(path, format string, args ...any) {
		problems = append(problems, path+": "+fmt.Sprintf(format, args...))
	})
	return problems
}

type report func(path, format string, args ...any)

func (s *Service) check(name string, value any, path string, problem report) {
	shape := s.Shapes[name]
	if shape == nil {
		problem(path, "the model has no shape %q", name)
		return
	}
	switch v := value.(type) {
	case map[string]any:
		if shape.Type == "map" {
			s.checkMap(shape, v, path, problem)
			return
		}
		if shape.Type == "structure" {
			s.checkStructure(shape, v, path, problem)
			return
		}
	case []any:
		if shape.Type == "list" {
			shape.checkSize(float64(len(v)), path, problem)
			for i, member := range v {
				s.check(shape.Member.Shape, member, fmt.Sprintf("%s[%d]", path, i), problem)
			}
			return
		}
	case string:
		if shape.Type == "string" {
			shape.checkText(v, path, problem)
			return
		}
	case json.Number:
		if shape.checkNumber(v, path, problem) {
			return
		}
	}
	problem(path, "%v is a %T, not a %s", value, value, shape.Type)
}

func (s *Service) checkStructure(shape *Shape, v map[string]any, path string, problem report) {
	for _, name := range shape.Required {
		if v[name] == nil {
			problem(path, "%s is required", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		member, ok := shape.Members[name]
		switch {
		case !ok:
			problem(path, "the model has no member %s", name)
		case v[name] != nil:
			s.check(member.Shape, v[name], path+"."+name, problem)
		}
	}
}

func (s *Service) checkMap(shape *Shape, v map[string]any, path string, problem report) {
	shape.checkSize(float64(len(v)), path, problem)
	for _, key := range slices.Sorted(maps.Keys(v)) {
		s.check(shape.Key.Shape, key, path+" key", problem)
		s.check(shape.Value.Shape, v[key], path+"."+key, problem)
	}
}

func (shape *Shape) checkSize(n float64, path string, problem report) {
	if shape.Min != nil && n < *shape.Min {
		problem(path, "%v is below %v", n, *shape.Min)
	}
	if shape.Max != nil && n > *shape.Max {
		problem(path, "%v is above %v", n, *shape.Max)
	}
}

func (shape *Shape) checkText(text, path string, problem report) {
	shape.checkSize(float64(utf8.RuneCountInString(text)), path, problem)
	if shape.Pattern != "" && !regexp.MustCompile(`^(?:`+shape.Pattern+`)$`).MatchString(text) {
		problem(path, "%.80q does not match %s", text, shape.Pattern)
	}
	if len(shape.Enum) > 0 && !slices.Contains(shape.Enum, text) {
		problem(path, "%.80q is none of %q", text, shape.Enum)
	}
}

// checkNumber returns false if the shape is not that of a number.
func (shape *Shape) checkNumber(v json.Number, path string, problem report) bool {
	switch shape.Type {
	case "integer", "long":
		n, err := v.Int64()
		if err != nil {
			problem(path, "%v is not a whole number", v)
		}
		shape.checkSize(float64(n), path, problem)
		return true
	case "timestamp": // seconds since the epoch, in bodies of REST-JSON
		_, err := v.Float64()
		return err == nil
	}
	return false
}
