package publish

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DefaultSubject is the default template of the tensors' subjects.
const DefaultSubject = "cvf.t.{stream}.{output}"

// GapPrefix begins the subjects of gap events and of nothing else: see [GapSubject].
const GapPrefix = "cvf.gap."

// MemoryPrefix begins the subjects of tensors in memory and of nothing else: see
// [MemorySubject].
const MemoryPrefix = "cvf.m."

const (
	streamField = "{stream}"
	outputField = "{output}"
	svcPrefix   = "cvf.svc."
)

// A SubjectTemplate makes the subject of a tensor from its stream and output.
type SubjectTemplate struct{ tokens []string }

// ParseSubject reads a template such as [DefaultSubject]: a NATS subject that contains
// {stream} and {output} once each, in different tokens. So different pairs of names
// make different subjects.
func ParseSubject(template string) (SubjectTemplate, error) {
	fail := func(format string, args ...any) (SubjectTemplate, error) {
		return SubjectTemplate{}, fmt.Errorf("subject %q: %s", template, fmt.Sprintf(format, args...))
	}
	for _, field := range []string{streamField, outputField} {
		if n := strings.Count(template, field); n != 1 {
			return fail("must contain %s once, as in %s", field, DefaultSubject)
		}
	}
	for _, reserved := range []string{GapPrefix, svcPrefix, MemoryPrefix, "$", "_INBOX."} {
		if strings.HasPrefix(template, reserved) {
			return fail("must not begin with %q, which is reserved for other messages", reserved)
		}
	}
	tokens := strings.Split(template, ".")
	for _, token := range tokens {
		if strings.Contains(token, streamField) && strings.Contains(token, outputField) {
			return fail("%s and %s must be separated by a dot", streamField, outputField)
		}
		literal := strings.NewReplacer(streamField, "", outputField, "").Replace(token)
		switch {
		case token == "":
			return fail("has an empty part: remove the extra dot")
		case strings.ContainsAny(literal, "{}"):
			return fail("%q contains an unknown field: only %s and %s are replaced", token, streamField, outputField)
		case literal != "" && SubjectToken(literal) != literal:
			return fail("%q contains a character that a subject must not have: no spaces, wildcards (* and >) or control characters", token)
		}
	}
	return SubjectTemplate{tokens}, nil
}

// Subject returns the subject of a stream's output. The names go through [SubjectToken].
func (t SubjectTemplate) Subject(stream, output string) string {
	return t.fill(SubjectToken(stream), SubjectToken(output))
}

// AnyStream returns the subject with a wildcard that matches an output of all streams.
func (t SubjectTemplate) AnyStream(output string) string {
	return t.fill(anyToken, SubjectToken(output))
}

// Wildcard returns the subject with wildcards that matches all streams and outputs.
func (t SubjectTemplate) Wildcard() string { return t.fill(anyToken, anyToken) }

// anyToken matches a whole token. [SubjectToken] never returns it.
const anyToken = "*"

func (t SubjectTemplate) fill(stream, output string) string {
	tokens := slices.Clone(t.tokens)
	for i, token := range tokens {
		field, value := outputField, output
		if strings.Contains(token, streamField) {
			field, value = streamField, stream
		}
		switch {
		case !strings.Contains(token, field):
		case value == anyToken:
			tokens[i] = anyToken
		default:
			tokens[i] = strings.Replace(token, field, value, 1)
		}
	}
	return strings.Join(tokens, ".")
}

// SubjectToken makes name fit into one token of a subject. Dots, wildcards, spaces and
// characters that do not print become underscores; other Unicode characters stay. An
// empty name becomes "_".
func SubjectToken(name string) string {
	if name == "" {
		return "_"
	}
	var b strings.Builder
	for i, r := range name {
		if r == utf8.RuneError && !strings.HasPrefix(name[i:], string(utf8.RuneError)) {
			r = '_' // not UTF-8
		}
		if r == '.' || r == '*' || r == '>' || r == ' ' || !unicode.IsPrint(r) {
			r = '_'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// GapSubject returns the subject of a stream's gap events: cvf.gap.<stream>.
func GapSubject(stream string) string { return GapPrefix + SubjectToken(stream) }
