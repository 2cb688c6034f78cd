package servicemodel

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

const model = `{"shapes": {
	"In": {"type": "structure", "required": ["Name"], "members": {
		"Name": {"shape": "Name"}, "Sizes": {"shape": "Sizes"}, "Kinds": {"shape": "Kinds"}, "At": {"shape": "At"}}},
	"Name": {"type": "string", "min": 2, "max": 5, "pattern": "[a-z]+"},
	"Sizes": {"type": "list", "member": {"shape": "Size"}, "max": 2},
	"Size": {"type": "integer", "min": 1, "max": 9},
	"Kinds": {"type": "map", "key": {"shape": "Kind"}, "value": {"shape": "Name"}, "min": 1, "max": 1},
	"Kind": {"type": "string", "enum": ["x", "y"]},
	"At": {"type": "timestamp"}
}}`

func load(t *testing.T) *Service {
	t.Helper()
	s := &Service{}
	if err := json.Unmarshal([]byte(model), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheck(t *testing.T) {
	s := load(t)
	for value, want := range map[string]string{
		`{"Name": "ab", "Sizes": [1, 9], "Kinds": {"x": "ab"}, "At": 1.5e9}`: "",
		`{"Name": "ab", "At": null}`:                                         "",
		`{}`:                                                                 "In: Name is required",
		`{"Name": null}`:                                                     "In: Name is required",
		`{"Name": 1}`:                                                        "In.Name: 1 is a json.Number, not a string",
		`{"Name": "a"}`:                                                      "In.Name: 1 is below 2",
		`{"Name": "abcdef"}`:                                                 "In.Name: 6 is above 5",
		`{"Name": "a b"}`:                                                    `In.Name: "a b" does not match`,
		`{"Name": "ab", "Other": 1}`:                                         "In: the model has no member Other",
		`{"Name": "ab", "Sizes": [1, 0]}`:                                    "In.Sizes[1]: 0 is below 1",
		`{"Name": "ab", "Sizes": [1.5]}`:                                     "In.Sizes[0]: 1.5 is not a whole number",
		`{"Name": "ab", "Sizes": [1, 2, 3]}`:                                 "In.Sizes: 3 is above 2",
		`{"Name": "ab", "Kinds": {}}`:                                        "In.Kinds: 0 is below 1",
		`{"Name": "ab", "Kinds": {"z": "ab"}}`:                               `In.Kinds key: "z" is none of`,
		`{"Name": "ab", "Kinds": {"x": "a"}}`:                                "In.Kinds.x: 1 is below 2",
		`{"Name": "ab", "At": "2026-01-02"}`:                                 "In.At: 2026-01-02 is a string, not a timestamp",
		`{"Name": "ab", "Sizes": {}, "Kinds": [1]}`:                          "In.Kinds: [1] is a []interface {}, not a map\nIn.Sizes: map[] is a map",
	} {
		var v any
		dec := json.NewDecoder(strings.NewReader(value))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.Check("In", v), "\n"); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}

// Every constraint is touched from both sides.
func TestVariants(t *testing.T) {
	s := load(t)
	kinds := map[bool]int{}
	problems := map[string]bool{}
	valid := map[string]any{"Name": "abc", "Kinds": map[string]any{"x": "ab"}}
	for _, v := range s.Variants("In", valid) {
		found := s.Check("In", v)
		kinds[len(found) == 0]++
		for _, p := range found {
			problems[p] = true
		}
	}
	for _, n := range s.Variants("Size", json.Number("5")) {
		found := s.Check("Size", n)
		kinds[len(found) == 0]++
		for _, p := range found {
			problems[p] = true
		}
	}
	for _, want := range []string{
		"In: Name is required", "In.Name: 1 is below 2", "In.Name: 6 is above 5", "In.Kinds: 0 is below 1", "In.Kinds: 2 is above 1",
		`In.Kinds key: "x_" is none of ["x" "y"]`, "In.Kinds.x: 1 is below 2", "Size: 0 is below 1", "Size: 10 is above 9",
		`In.Name: "abc/" does not match [a-z]+`,
	} {
		if !problems[want] {
			t.Errorf("no variant has %q", want)
		}
	}
	if kinds[true] < 10 {
		t.Errorf("only %d variants conform", kinds[true])
	}
}

func TestText(t *testing.T) {
	for pattern, shortest := range map[string]int{
		`[a-zA-Z0-9_.-]+`: 1, `arn:[a-z\d-]+:x:[0-9]+:[a-z]+/[a-zA-Z0-9_.-]+/[0-9]+`: len("arn:a:x:0:a/a/0"),
		`[a-zA-Z0-9+/=]*`: 0, `[a-zA-Z0-9+/]+={0,2}`: 1, `^[a-zA-Z_0-9]+`: 1,
		`[\w\-\.\+]+/[\w\-\.\+]+(,[\w\-\.\+]+/[\w\-\.\+]+)*`: 3, "": 0,
	} {
		re := regexp.MustCompile(`^(?:` + pattern + `)$`)
		for _, n := range []int{0, 1, 2, 3, 14, 15, 1024} {
			text, ok := Text(pattern, n)
			if ok != (n >= shortest) || ok && (len(text) != n || pattern != "" && !re.MatchString(text)) {
				t.Errorf("%s of %d: %q, %t", pattern, n, text, ok)
			}
		}
	}
}
