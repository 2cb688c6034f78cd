package kinesistest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cvfeeder/cvfeeder/source"
)

// fields are the members of a request's JSON object. As with AWS, their names are
// case-sensitive, null is the same as absent, and unknown ones are ignored. What is wrong
// with a member is kept for [fields.check], so that all of them can be read first.
type fields struct {
	raw      map[string]json.RawMessage
	path     string // of the object in the request
	problems *problems
}

// problems are the first member of a wrong type, and the first that violates a constraint
// of the service's model. The types are checked first.
type problems struct{ mistyped, violated error }

func parseFields(body []byte) (*fields, error) {
	f := &fields{problems: &problems{}}
	if len(bytes.TrimSpace(body)) == 0 {
		return f, nil
	}
	if err := json.Unmarshal(body, &f.raw); err != nil {
		return nil, malformed("The request's body is not a JSON object: %v", err)
	}
	return f, nil
}

// check returns what is wrong with the members that were read so far, nil for nothing.
func (f *fields) check() error { return cmp.Or(f.problems.mistyped, f.problems.violated) }

func (f *fields) mistyped(format string, args ...any) {
	f.problems.mistyped = cmp.Or(f.problems.mistyped, error(malformed(format, args...)))
}

// violated says that a member violates a constraint of the service's model.
func (f *fields) violated(name string, value any, constraint string) {
	member := f.path + strings.ToLower(name[:1]) + name[1:]
	f.problems.violated = cmp.Or(f.problems.violated, error(invalidValue(member, value, constraint)))
}

// required violates the model if the member is not there.
func (f *fields) required(name string, there bool) {
	if !there {
		f.violated(name, "null", "Member must not be null")
	}
}

// field returns the member of that name, and whether it is there.
func field[T any](f *fields, name string) (value T, ok bool) {
	raw, ok := f.raw[name]
	if !ok || string(raw) == "null" {
		return value, false
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		f.mistyped("%s%s: %v", f.path, name, err)
		return value, false
	}
	return value, true
}

// nested returns the members of a member that is an object.
func (f *fields) nested(name string) (inner *fields, ok bool) {
	raw, ok := field[map[string]json.RawMessage](f, name)
	return &fields{raw: raw, path: f.path + strings.ToLower(name[:1]) + name[1:] + ".", problems: f.problems}, ok
}

// A shape is a kind of text in the service's model.
type shape int

const (
	streamNameShape shape = iota
	streamARNShape
	listTokenShape  // of ListStreams
	mediaTokenShape // of GetImages and ListFragments
	formatValueShape
)

var (
	streamNames  = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)
	streamARNs   = regexp.MustCompile(`^arn:[a-z\d-]+:kinesisvideo:[a-z0-9-]+:[0-9]+:[a-z]+/[a-zA-Z0-9_.-]+/[0-9]+$`)
	listTokens   = regexp.MustCompile(`^[a-zA-Z0-9+/=]*$`)
	mediaTokens  = regexp.MustCompile(`^[a-zA-Z0-9+/]+={0,2}$`)
	formatValues = regexp.MustCompile(`^[a-zA-Z_0-9]+$`)
)

// constraints returns the length of a text in characters, and the pattern that it matches as
// a whole.
func (s shape) constraints() (shortest, longest int, pattern *regexp.Regexp) {
	switch s {
	case streamNameShape:
		return 1, 256, streamNames
	case streamARNShape:
		return 1, 1024, streamARNs
	case listTokenShape:
		return 0, 1024, listTokens
	case mediaTokenShape:
		return 1, 4096, mediaTokens
	default:
		return 0, 256, formatValues
	}
}

// violatedBy returns the constraint that a text does not satisfy, "" for none.
func (s shape) violatedBy(text string) string {
	shortest, longest, pattern := s.constraints()
	switch n := utf8.RuneCountInString(text); {
	case n < shortest:
		return fmt.Sprintf("Member must have length greater than or equal to %d", shortest)
	case n > longest:
		return fmt.Sprintf("Member must have length less than or equal to %d", longest)
	case !pattern.MatchString(text):
		return "Member must satisfy regular expression pattern: " + pattern.String()
	}
	return ""
}

// text returns a member that is a text of the given shape, "" if it is absent.
func (f *fields) text(name string, s shape) string {
	text, ok := field[string](f, name)
	if ok {
		f.checkText(name, text, s)
	}
	return text
}

func (f *fields) checkText(name, text string, s shape) {
	if constraint := s.violatedBy(text); constraint != "" {
		f.violated(name, text, constraint)
	}
}

// oneOf returns a member that is one of the given values, and whether it is there.
func (f *fields) oneOf(name string, values ...string) (string, bool) {
	text, ok := field[string](f, name)
	if ok && !slices.Contains(values, text) {
		f.violated(name, text, fmt.Sprintf("Member must satisfy enum value set: [%s]", strings.Join(values, ", ")))
	}
	return text, ok
}

// number returns a member from low to high, and whether it is there.
func number[T int32 | int64](f *fields, name string, low, high T) (T, bool) {
	n, ok := field[T](f, name)
	if ok && (n < low || n > high) {
		f.violated(name, n, fmt.Sprintf("Member must have value between %d and %d", low, high))
	}
	return n, ok
}

// lastInstant is the end of the year 9999, in seconds since the epoch.
const lastInstant = 253402300799

// instant returns a required member that is a timestamp: seconds since the epoch, with
// fractions. It is rounded to whole milliseconds.
func (f *fields) instant(name string) source.Slot {
	seconds, ok := field[float64](f, name)
	f.required(name, ok)
	if math.Abs(seconds) > lastInstant {
		f.mistyped("%s%s: %v is not a time in seconds since the epoch", f.path, name, seconds)
		return 0
	}
	return source.Slot(math.Round(seconds * 1000))
}

// seconds is an instant as REST-JSON writes it: seconds since the epoch, with
// milliseconds.
func seconds(t time.Time) json.Number {
	return json.Number(appendSeconds(nil, t))
}

func appendSeconds(b []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	return append(b, '.', byte('0'+ms/100%10), byte('0'+ms/10%10), byte('0'+ms%10))
}
