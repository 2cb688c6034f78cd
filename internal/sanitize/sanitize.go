// Package sanitize makes text from outside fit to be shown. Whatever did not come from this
// program or its config goes through it before it reaches a log, a page, a header, a label
// or a terminal, and before it is kept:
//
//	problem = sanitize.Text(err.Error())
package sanitize

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxText is how many bytes of a text are kept.
const MaxText = 2 << 10

// Text returns a text as one line of at most [MaxText] bytes and a note of how much was cut.
// Control and formatting characters, which can move a terminal's cursor or turn the
// direction of writing around, and what is not UTF-8, become spaces or question marks.
func Text(text string) string {
	whole := len(text)
	if whole > MaxText {
		cut := MaxText
		for cut > MaxText-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	if !isClean(text) {
		text = strings.Map(clean, text)
	}
	if whole > MaxText {
		text = fmt.Sprintf("%s… (%d bytes in all)", text, whole)
	}
	return text
}

func isClean(text string) bool {
	for _, r := range text {
		if clean(r) != r || r == utf8.RuneError {
			return false
		}
	}
	return true
}

func clean(r rune) rune {
	switch {
	case r == '\n' || r == '\r' || r == '\t':
		return ' '
	case r == utf8.RuneError, !unicode.IsPrint(r): // IsPrint has no spaces but ' '
		return '?'
	}
	return r
}
