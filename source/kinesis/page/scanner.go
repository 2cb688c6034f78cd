package page

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// bufferSize is how much is read at a time, at most.
const bufferSize = 64 << 10

// A scanner reads JSON from a stream through a buffer, value by value.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int    // of the unread part of buf
	offset   int64  // of buf in the answer
	contents int64  // how much of the answer was, or may still be, contents of images
	err      error  // of r, after the end of buf
	raw      []byte // the string or number that is being read
}

// reset begins an answer, keeping the buffers.
func (s *scanner) reset(r io.Reader) {
	if s.buf == nil {
		s.buf = make([]byte, bufferSize)
	}
	s.r, s.pos, s.end, s.offset, s.contents, s.err = r, 0, 0, 0, 0, nil
}

// consumed returns how much of the answer has been read.
func (s *scanner) consumed() int64 { return s.offset + int64(s.pos) }

// fill reads more into the buffer, and keeps the unread part, which is so small that there
// is always room. The end of the answer is io.ErrUnexpectedEOF.
func (s *scanner) fill() error {
	if s.consumed() > s.contents+maxOther {
		return s.errorf("%w of %d bytes besides the images", ErrLimit, maxOther)
	}
	s.offset += int64(s.pos)
	s.end = copy(s.buf, s.buf[s.pos:s.end])
	s.pos = 0
	for range 100 {
		if errors.Is(s.err, io.EOF) {
			return s.errorf("the answer ends early: %w", io.ErrUnexpectedEOF)
		}
		if s.err != nil {
			return s.errorf("%w", s.err)
		}
		var n int
		n, s.err = s.r.Read(s.buf[s.end:])
		if s.end += n; n > 0 {
			return nil
		}
	}
	return s.errorf("%w", io.ErrNoProgress)
}

// errorf returns an error with the position in the answer.
func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %w", s.consumed(), fmt.Errorf(format, args...))
}

// peek returns the next byte that is not white space, without consuming it.
func (s *scanner) peek() (byte, error) {
	for {
		for ; s.pos < s.end; s.pos++ {
			switch c := s.buf[s.pos]; c {
			case ' ', '\t', '\r', '\n':
			default:
				return c, nil
			}
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// expect consumes the byte c and white space before it.
func (s *scanner) expect(c byte, what string) error {
	got, err := s.peek()
	if err != nil {
		return err
	}
	if got != c {
		return s.errorf("%s: %q where %q was expected", what, got, c)
	}
	s.pos++
	return nil
}

// array calls f before each element, which f has to read.
func (s *scanner) array(what string, f func() error) error {
	if err := s.expect('[', what); err != nil {
		return err
	}
	return s.list(']', f)
}

// object calls f after each key; f has to read the value.
func (s *scanner) object(f func(key string) error) error {
	if err := s.expect('{', "object"); err != nil {
		return err
	}
	return s.list('}', func() error {
		if err := s.open("key"); err != nil {
			return err
		}
		key, err := s.rest(maxText)
		if err != nil {
			return err
		}
		if err := s.expect(':', "after a key"); err != nil {
			return err
		}
		return f(key)
	})
}

// list reads elements up to the closing bracket. The opening one has been read.
func (s *scanner) list(bracket byte, f func() error) error {
	if c, err := s.peek(); err != nil {
		return err
	} else if c == bracket {
		s.pos++
		return nil
	}
	for {
		if err := f(); err != nil {
			return err
		}
		if c, err := s.peek(); err != nil {
			return err
		} else if c != ',' {
			return s.expect(bracket, "after a value")
		}
		s.pos++
	}
}

// skip reads any value and drops it, but checks its syntax.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return s.errorf("%w of %d levels", ErrLimit, maxDepth)
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case '{':
		return s.object(func(string) error { return s.skip(depth + 1) })
	case '[':
		return s.array("", func() error { return s.skip(depth + 1) })
	case '"':
		s.pos++
		return s.scan(maxContent, false)
	case 't', 'f', 'n':
		return s.literal()
	}
	_, err = s.token()
	return err
}

// null tells whether the value is null, and if so consumes it.
func (s *scanner) null() (bool, error) {
	c, err := s.peek()
	if err != nil || c != 'n' {
		return false, err
	}
	return true, s.literal()
}

// literal reads true, false or null.
func (s *scanner) literal() error {
	for _, word := range [...]string{"true", "false", "null"} {
		if s.buf[s.pos] != word[0] {
			continue
		}
		for i := range len(word) {
			if s.pos == s.end {
				if err := s.fill(); err != nil {
					return err
				}
			}
			if s.buf[s.pos] != word[i] {
				return s.errorf("%q in %s", s.buf[s.pos], word)
			}
			s.pos++
		}
		return nil
	}
	return s.errorf("%q where a value was expected", s.buf[s.pos])
}

// token reads a number as text.
func (s *scanner) token() ([]byte, error) {
	s.raw = s.raw[:0]
	for {
		for ; s.pos < s.end; s.pos++ {
			switch c := s.buf[s.pos]; {
			case '0' <= c && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
				if s.raw = append(s.raw, c); len(s.raw) > maxNumber {
					return nil, s.errorf("number %w of %d characters", ErrLimit, maxNumber)
				}
			case len(s.raw) == 0:
				return nil, s.errorf("%q where a value was expected", c)
			case !isNumber(s.raw):
				return nil, s.errorf("%q is not a number", s.raw)
			default:
				return s.raw, nil
			}
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// isNumber tells whether a token has the syntax of a JSON number.
func isNumber(token []byte) bool {
	t := bytes.TrimPrefix(token, []byte("-"))
	whole := digits(t)
	if whole == 0 || whole > 1 && t[0] == '0' {
		return false
	}
	if t = t[whole:]; len(t) > 0 && t[0] == '.' {
		n := digits(t[1:])
		if n == 0 {
			return false
		}
		t = t[1+n:]
	}
	if len(t) == 0 {
		return true
	}
	if t[0] != 'e' && t[0] != 'E' {
		return false
	}
	if t = t[1:]; len(t) > 0 && (t[0] == '+' || t[0] == '-') {
		t = t[1:]
	}
	return len(t) > 0 && digits(t) == len(t)
}

// digits returns the number of digits that t begins with.
func digits(t []byte) int {
	n := 0
	for n < len(t) && '0' <= t[n] && t[n] <= '9' {
		n++
	}
	return n
}

// number reads a number.
func (s *scanner) number() (float64, error) {
	t, err := s.token()
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(string(t), 64)
	if err != nil {
		return 0, s.errorf("%w", err)
	}
	return v, nil
}
