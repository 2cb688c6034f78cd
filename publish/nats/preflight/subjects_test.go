package preflight

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// FuzzWithin compares the verdicts with those of the server, which decides in the
// end.
func FuzzWithin(f *testing.F) {
	for _, pair := range [][2]string{
		{"a.b", "a.b"},
		{"a.b", "a.*"},
		{"a.*", "a.b"},
		{"a.>", "a.*.c"},
		{"*", ">"},
		{">", "*"},
		{"a", "a.>"},
		{"", ""},
		{"", ">"},
		{".", "*.*"},
		{"a..b", "a.*.b"},
		{"a.*b", "a.c"},
		{"a.>b", "a.c"},
		{"*.*", "a.>"},
		{"$JS.API.>", "$JS.*.INFO"},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if got, want := isWithin(a, b), server.SubjectMatchesFilter(a, b); got != want {
			t.Errorf("isWithin(%q, %q) is %v", a, b, got)
		}
		if got, want := mayCollide(a, b), server.SubjectsCollide(a, b); got != want {
			t.Errorf("mayCollide(%q, %q) is %v", a, b, got)
		}
	})
}

// TestSubjects does the same for all pairs of up to three tokens.
func TestSubjects(t *testing.T) {
	var all []string
	tokens := []string{"a", "b", "*", ">", "", "*a", ">a"}
	for _, one := range tokens {
		all = append(all, one)
		for _, two := range tokens {
			all = append(all, one+"."+two)
			for _, three := range tokens {
				all = append(all, strings.Join([]string{one, two, three}, "."))
			}
		}
	}
	for _, a := range all {
		for _, b := range all {
			if got, want := isWithin(a, b), server.SubjectMatchesFilter(a, b); got != want {
				t.Errorf("isWithin(%q, %q) is %v", a, b, got)
			}
			if got, want := mayCollide(a, b), server.SubjectsCollide(a, b); got != want {
				t.Errorf("mayCollide(%q, %q) is %v", a, b, got)
			}
		}
	}
}
