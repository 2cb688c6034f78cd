package tap

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/cvfeeder/cvfeeder/publish"
)

// checkSubject returns what is wrong with a subject to read.
func checkSubject(subject string) error {
	if strings.ContainsFunc(subject, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return fmt.Errorf("subject %q: must not hold spaces", subject)
	}
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		switch {
		case token == "":
			return fmt.Errorf("subject %q: has an empty part: remove the extra dot", subject)
		case token == ">" && i < len(tokens)-1:
			return fmt.Errorf("subject %q: > stands for the rest, and must come last", subject)
		}
	}
	return nil
}

// subjects returns the subjects to subscribe to: the one given, and that of the gap events
// of its streams, unless the first matches those, too.
func subjects(subject string) []string {
	gaps := publish.GapPrefix + ">"
	tokens := strings.Split(subject, ".")
	if len(tokens) > 2 && tokens[0] == "cvf" && tokens[1] == "t" && tokens[2] != ">" {
		gaps = publish.GapPrefix + tokens[2]
	}
	if overlap(strings.Split(subject, "."), strings.Split(gaps, ".")) {
		return []string{subject}
	}
	return []string{subject, gaps}
}

// overlap reports whether there is a subject that matches both.
func overlap(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == ">" || b[i] == ">":
			return true
		case a[i] != b[i] && a[i] != "*" && b[i] != "*":
			return false
		}
	}
	return len(a) == len(b)
}
