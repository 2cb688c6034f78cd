package strictyaml

import "testing"

// env is the environment of the tests.
func env(name string) (string, bool) {
	vars := map[string]string{"NAME": "front-door", "REGION": "eu-west-1", "EMPTY": "", "INJECT": "a\nb: {c: [${NAME}"}
	value, ok := vars[name]
	return value, ok
}

func TestExpand(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "",
		"$NAME {NAME} $":      "$NAME {NAME} $",
		"${NAME}":             "front-door",
		"<${NAME}${EMPTY}|>":  "<front-door|>",
		"$${NAME}":            "${NAME}",
		"$${${REGION}}":       "${eu-west-1}",
		"${INJECT}":           "a\nb: {c: [${NAME}",
		"cost: $5, $${, done": "cost: $5, ${, done",
	} {
		got, err := expand(text, env)
		if err != nil || got != want {
			t.Errorf("expand(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
}
