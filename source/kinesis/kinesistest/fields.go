package kinesistest

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// fields are the members of a request's JSON object. As with AWS, their names are
// case-sensitive, null is the same as absent, and unknown ones are ignored.
type fields struct {
	raw map[string]json.RawMessage
	err error // the first member of a wrong type
}

func parseFields(body []byte) (*fields, error) {
	f := &fields{}
	if len(bytes.TrimSpace(body)) == 0 {
		return f, nil
	}
	if err := json.Unmarshal(body, &f.raw); err != nil {
		return nil, malformed("The request's body is not a JSON object: %v", err)
	}
	return f, nil
}

// field returns the member of that name, and whether it is there. f.err keeps the first
// member of the wrong type.
func field[T any](f *fields, name string) (value T, ok bool) {
	raw, ok := f.raw[name]
	if !ok || string(raw) == "null" {
		return value, false
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		if f.err == nil {
			f.err = malformed("%s: %v", name, err)
		}
		return value, false
	}
	return value, true
}

func (f *fields) text(name string) string {
	s, _ := field[string](f, name)
	return s
}

// lastInstant is the end of the year 9999, in seconds since the epoch.
const lastInstant = 253402300799

// instant returns a member that is a timestamp: seconds since the epoch, with
// fractions. It is rounded to whole milliseconds.
func (f *fields) instant(name string) (at source.Slot, ok bool) {
	seconds, ok := field[float64](f, name)
	if !ok {
		return 0, false
	}
	if math.Abs(seconds) > lastInstant {
		if f.err == nil {
			f.err = malformed("%s: %v is not a time in seconds since the epoch", name, seconds)
		}
		return 0, false
	}
	return source.Slot(math.Round(seconds * 1000)), true
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
