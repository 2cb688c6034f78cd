package strictyaml

import (
	"fmt"
	"regexp"
	"strings"
)

// reference matches ${NAME}, the escape $${, and malformed references, so that a typing
// mistake is an error instead of literal text.
var reference = regexp.MustCompile(`\$\$\{|\$\{([^}]*)\}?`)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces each ${NAME} in text with the value of the variable, and $${ with a
// literal ${. The value of a variable is not expanded again.
func expand(text string, env func(string) (string, bool)) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var failed error
	out := reference.ReplaceAllStringFunc(text, func(ref string) string {
		if ref == "$${" || failed != nil {
			return "${"
		}
		var value string
		value, failed = lookUp(ref, env)
		return value
	})
	return out, failed
}

// lookUp returns the value of a reference such as ${NAME}.
func lookUp(ref string, env func(string) (string, bool)) (string, error) {
	name, closed := strings.CutSuffix(strings.TrimPrefix(ref, "${"), "}")
	switch {
	case !closed:
		return "", fmt.Errorf(`%q has no closing brace; write ${NAME}, or $${ for a literal ${`, ref)
	case !variableName.MatchString(name):
		return "", fmt.Errorf(`%q is not the name of an environment variable; write ${NAME}, or $${ for a literal ${`, name)
	}
	value, ok := env(name)
	if !ok {
		return "", fmt.Errorf(`the environment variable %s is not set; set it, or write $${ for a literal ${`, name)
	}
	return value, nil
}
