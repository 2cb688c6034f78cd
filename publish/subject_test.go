package publish_test

import (
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/publish"
)

func TestSubject(t *testing.T) {
	for _, tt := range []struct{ template, stream, output, want string }{
		{publish.DefaultSubject, "front-door", "detector", "cvf.t.front-door.detector"},
		{publish.DefaultSubject, "a.b c", "d*>e", "cvf.t.a_b_c.d__e"},
		{publish.DefaultSubject, "", "x", "cvf.t._.x"},
		{publish.DefaultSubject, "Tür-東京", "é", "cvf.t.Tür-東京.é"},
		{publish.DefaultSubject, "a\x00\u200b\xff\n", "x", "cvf.t.a____.x"},
		{publish.DefaultSubject, "{output}", "{stream}", "cvf.t.{output}.{stream}"},
		{"site1.{output}.cam-{stream}.raw", "s", "o", "site1.o.cam-s.raw"},
	} {
		template, err := publish.ParseSubject(tt.template)
		if err != nil {
			t.Errorf("%s: %v", tt.template, err)
			continue
		}
		if got := template.Subject(tt.stream, tt.output); got != tt.want {
			t.Errorf("%s with %q and %q: %q, want %q", tt.template, tt.stream, tt.output, got, tt.want)
		}
	}
}

func TestParseSubjectErrors(t *testing.T) {
	for template, want := range map[string]string{
		"":                                 "must contain {stream}",
		"cvf.t.{stream}":                   "must contain {output}",
		"cvf.t.{stream}.{stream}.{output}": "must contain {stream} once",
		"cvf.t.{stream}-{output}":          "separated by a dot",
		"cvf.t.{stream}.{output}.":         "extra dot",
		"cvf..{stream}.{output}":           "extra dot",
		"cvf.*.{stream}.{output}":          "wildcards",
		"{stream}.{output}.>":              "wildcards",
		"cvf t.{stream}.{output}":          "spaces",
		"cvf.{kind}.{stream}.{output}":     "{kind}",
		"cvf.gap.{stream}.{output}":        "cvf.gap.",
		"$JS.{stream}.{output}":            "must not begin",
	} {
		_, err := publish.ParseSubject(template)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v does not say %q", template, err, want)
		}
	}
}

func TestGapSubject(t *testing.T) {
	if got := publish.GapSubject("a.b"); got != "cvf.gap.a_b" {
		t.Error(got)
	}
}

func FuzzSubject(f *testing.F) {
	f.Add("front-door", "a.b *>\x00\xff")
	f.Fuzz(func(t *testing.T, stream, output string) {
		template, err := publish.ParseSubject(publish.DefaultSubject)
		if err != nil {
			t.Fatal(err)
		}
		subject := template.Subject(stream, output)
		tokens := strings.Split(subject, ".")
		if len(tokens) != 4 || tokens[2] == "" || tokens[3] == "" || strings.ContainsAny(subject, " \t\r\n*>\x00") {
			t.Errorf("%q and %q make %q", stream, output, subject)
		}
	})
}
