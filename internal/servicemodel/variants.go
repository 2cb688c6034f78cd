package servicemodel

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

// odd are characters with which texts are made that a pattern may refuse.
var odd = []string{" ", "/", "-", "_", ".", ":", "+", "=", "*", "\n", "\x00", "A", "9", "ä", "%"}

// Variants returns values that differ in one place from one that conforms to the shape:
// just inside of each constraint, and just outside. [Service.Check] tells which. A member
// that the given value does not have is not varied.
func (s *Service) Variants(name string, valid any) []any {
	shape := s.Shapes[name]
	switch v := valid.(type) {
	case map[string]any:
		if shape.Type == "map" {
			return s.mapVariants(shape, v)
		}
		return s.structureVariants(shape, v)
	case json.Number:
		return shape.numberVariants(v)
	case string:
		return shape.textVariants(v)
	}
	return nil
}

func (s *Service) structureVariants(shape *Shape, valid map[string]any) (all []any) {
	for _, name := range slices.Sorted(maps.Keys(valid)) {
		all = append(all, without(valid, name), with(valid, name, nil))
		for _, v := range s.Variants(shape.Members[name].Shape, valid[name]) {
			all = append(all, with(valid, name, v))
		}
	}
	return all
}

func (s *Service) mapVariants(shape *Shape, valid map[string]any) (all []any) {
	all = append(all, map[string]any{})
	for _, key := range slices.Sorted(maps.Keys(valid)) {
		for _, other := range s.Variants(shape.Key.Shape, key) {
			all = append(all, map[string]any{other.(string): valid[key]}, with(valid, other.(string), valid[key]))
		}
		for _, v := range s.Variants(shape.Value.Shape, valid[key]) {
			all = append(all, with(valid, key, v))
		}
	}
	return all
}

func (shape *Shape) numberVariants(valid json.Number) []any {
	if shape.Type == "timestamp" {
		return nil
	}
	all := []any{valid}
	for _, bound := range []*float64{shape.Min, shape.Max} {
		if bound != nil {
			for _, off := range []int{-1, 0, 1} {
				all = append(all, json.Number(strconv.Itoa(int(*bound)+off)))
			}
		}
	}
	return all
}

func (shape *Shape) textVariants(valid string) []any {
	all := []any{valid, ""}
	for _, value := range shape.Enum {
		all = append(all, value, value+"_", strings.ToLower(value))
	}
	for _, c := range odd {
		all = append(all, c+valid, valid+c, valid[:len(valid)/2]+c+valid[len(valid)/2:])
	}
	for _, bound := range []*float64{shape.Min, shape.Max} {
		if bound != nil {
			for _, off := range []int{-1, 0, 1} {
				if text, ok := Text(shape.Pattern, int(*bound)+off); ok {
					all = append(all, text)
				}
			}
		}
	}
	return all
}

func with(m map[string]any, key string, value any) map[string]any {
	m = maps.Clone(m)
	m[key] = value
	return m
}

func without(m map[string]any, key string) map[string]any {
	m = maps.Clone(m)
	delete(m, key)
	return m
}

// Text returns a text of the given length that matches a pattern, or false if it finds
// none: it lengthens the shortest match in one place.
func Text(pattern string, length int) (string, bool) {
	if pattern == "" {
		pattern = ".*"
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		panic(fmt.Sprintf("pattern %s: %v", pattern, err))
	}
	extra := 0
	extra = length - len(match(re, &extra))
	if extra < 0 {
		return "", false
	}
	text := match(re, &extra)
	return text, len(text) == length
}

// match returns the shortest match of re, with the first part that can be repeated without
// end repeated as often as fits into the extra length, which it takes off.
func match(re *syntax.Regexp, extra *int) string {
	var b strings.Builder
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		return string(letter(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "a"
	case syntax.OpCapture:
		return match(re.Sub[0], extra)
	case syntax.OpAlternate:
		return match(re.Sub[0], extra)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			b.WriteString(match(sub, extra))
		}
	case syntax.OpStar, syntax.OpPlus, syntax.OpRepeat:
		none := 0
		part := match(re.Sub[0], &none)
		times := map[syntax.Op]int{syntax.OpStar: 0, syntax.OpPlus: 1, syntax.OpRepeat: re.Min}[re.Op]
		if re.Op != syntax.OpRepeat || re.Max < 0 {
			more := *extra / len(part)
			*extra -= more * len(part)
			times += more
		}
		b.WriteString(strings.Repeat(part, times))
	}
	return b.String()
}

// letter returns a small letter of a class if it has one, or its first character.
func letter(class []rune) rune {
	for i := 0; i < len(class); i += 2 {
		if class[i] <= 'a' && 'a' <= class[i+1] {
			return 'a'
		}
	}
	return class[0]
}
