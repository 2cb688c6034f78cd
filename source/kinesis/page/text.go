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

// open reads the quote at the beginning of a string.
func (s *scanner) open(what string) error { return s.expect('"', what) }

// rest reads the rest of a string after its first quote, at most limit bytes as sent, and
// returns its value.
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

// scan reads up to and including the closing quote, and checks the escapes before it. With
// keep, it appends what it reads to s.raw unchanged, without the quote.
func (s *scanner) scan(limit int, keep bool) error {
	var in escapeState
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

// An escapeState is the position within an escape: 0 outside of one, backslash right after
// the backslash, and 1 to 4 the number of hexadecimal digits that are still to come.
type escapeState int

const backslash escapeState = 5

// step tells whether c continues the string.
func (e *escapeState) step(c byte) bool {
	switch {
	case *e == 0 && c == '\\':
		*e = backslash
	case *e == 0:
		return c >= ' ' && c != '"'
	case *e == backslash && c == 'u':
		*e = 4
	case *e == backslash:
		if strings.IndexByte(`"\/bfnrt`, c) < 0 {
			return false
		}
		*e = 0
	default:
		if strings.IndexByte("0123456789abcdefABCDEF", c) < 0 {
			return false
		}
		*e--
	}
	return true
}
