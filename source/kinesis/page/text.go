package page

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// text reads a string, "" for null.
func (s *scanner) text(what string) (string, error) {
	if null, err := s.null(); null || err != nil {
		return "", err
	}
	if err := s.open(what); err != nil {
		return "", err
	}
	return s.rest(maxText)
}

// open reads the quote that a string begins with.
func (s *scanner) open(what string) error { return s.expect('"', what) }

// rest reads a string after its quote, of at most limit characters as they were
// sent, and returns what it stands for.
func (s *scanner) rest(limit int) (string, error) {
	s.raw = append(s.raw[:0], '"')
	if err := s.scan(limit, true); err != nil {
		return "", err
	}
	if bytes.IndexByte(s.raw, '\\') < 0 && isASCII(s.raw) {
		return string(s.raw[1:]), nil
	}
	s.raw = append(s.raw, '"')
	var text string
	if err := json.Unmarshal(s.raw, &text); err != nil {
		return "", s.errorf("%w", err)
	}
	return text, nil
}

func isASCII(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// scan reads up to and including the closing quote, and checks the escapes before
// it. With keep, what it reads is appended to s.raw as it is, without the quote.
func (s *scanner) scan(limit int, keep bool) error {
	var in form
	for {
		i := s.pos
		for i < s.end && in.step(s.buf[i]) {
			i++
		}
		if limit -= i - s.pos; limit < 0 {
			return s.errorf("string %w of its length", ErrLimit)
		}
		if keep {
			s.raw = append(s.raw, s.buf[s.pos:i]...)
		}
		if s.pos = i; i == s.end {
			if err := s.fill(); err != nil {
				return err
			}
			continue
		}
		if c := s.buf[i]; c != '"' || in != 0 {
			return s.errorf("%q in a string", c)
		}
		s.pos++
		return nil
	}
}

// A form is where in a string the scanner is: 0 outside of an escape, 1 to 4 the
// hexadecimal digits that are still to come, escape right after the backslash.
type form int

const escape form = 5

// step tells whether c continues the string.
func (f *form) step(c byte) bool {
	switch {
	case *f == 0 && c == '\\':
		*f = escape
	case *f == 0:
		return c >= ' ' && c != '"'
	case *f == escape && c == 'u':
		*f = 4
	case *f == escape:
		if strings.IndexByte(`"\/bfnrt`, c) < 0 {
			return false
		}
		*f = 0
	default:
		if strings.IndexByte("0123456789abcdefABCDEF", c) < 0 {
			return false
		}
		*f--
	}
	return true
}
