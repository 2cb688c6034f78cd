package publish_test

import (
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/publish"
)

const traced = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestTraceparent(t *testing.T) {
	for name, tt := range map[string]struct {
		values []string
		want   string
	}{
		"sampled":      {[]string{traced}, traced},
		"none":         {nil, ""},
		"two":          {[]string{traced, traced}, ""},
		"empty":        {[]string{""}, ""},
		"other digits": {[]string{"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"}, ""},
		"too short":    {[]string{traced[:len(traced)-1]}, ""},
		"too long":     {[]string{traced + "-x"}, ""},
		"no trace":     {[]string{"00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, ""},
		"no span":      {[]string{"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"}, ""},
		"version ff":   {[]string{"ff" + traced[2:]}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := publish.NewMessage("a", tensor(t, "yolo", nil))
			m.Header[publish.HeaderTraceparent] = tt.values
			e, err := publish.ParseEnvelope(m.Header)
			if err != nil || e.Traceparent != tt.want {
				t.Errorf("%q, %v; want %q", e.Traceparent, err, tt.want)
			}
		})
	}
}

// TestPartsOfTwoTraces: parts of two attempts at a tensor are joined although their
// traces differ.
func TestPartsOfTwoTraces(t *testing.T) {
	m := sized(t, "a", 1000, 64, 48)
	m.Header[publish.HeaderTraceparent] = []string{traced}
	parts := split(t, m, 5000)
	for _, last := range []string{strings.Replace(traced, "-00f", "-11f", 1), "nonsense"} {
		again := parts[len(parts)-1]
		again.Header[publish.HeaderTraceparent] = []string{last}
		var j publish.Joiner
		gone := dropped(&j)
		whole := join(t, &j, append(parts[:len(parts)-1:len(parts)-1], again)...)
		if len(whole) != 1 || len(*gone) != 0 {
			t.Fatalf("%d tensors, dropped %q", len(whole), *gone)
		}
		if got := whole[0].Header[publish.HeaderTraceparent]; len(got) != 1 || got[0] != traced {
			t.Errorf("traceparent %q", got)
		}
	}
}
