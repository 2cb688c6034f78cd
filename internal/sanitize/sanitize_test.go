package sanitize_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/cvfeeder/cvfeeder/internal/sanitize"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"plain, with Ä and 日本 🎥":        "plain, with Ä and 日本 🎥",
		"two\nlines\r\nand\ta tab":      "two lines  and a tab",
		"\x1b[2Jgone\x00\x07\x7f":       "?[2Jgone???",
		"\u202egnp.exe\u2028\u200b":     "?gnp.exe??",
		"bad \xff\xc3( utf-8":           "bad ??( utf-8",
		"\u009b31mred\u00a0":            "?31mred?",
		strings.Repeat("a", 1<<20):      strings.Repeat("a", 2048) + "… (1048576 bytes in all)",
		strings.Repeat("ä", 1200):       strings.Repeat("ä", 1024) + "… (2400 bytes in all)",
		"x" + strings.Repeat("ä", 1200): "x" + strings.Repeat("ä", 1023) + "… (2401 bytes in all)",
	} {
		if got := sanitize.Text(in); got != want {
			t.Errorf("%.80q: %.80q, want %.80q", in, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("\x1b[0m\xff\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		got := sanitize.Text(in)
		if len(got) > sanitize.MaxText+64 || !utf8.ValidString(got) || sanitize.Text(got) != got && len(got) <= sanitize.MaxText {
			t.Errorf("%q", got)
		}
		for _, r := range got {
			if unicode.IsControl(r) {
				t.Errorf("%q has %q", got, r)
			}
		}
	})
}
