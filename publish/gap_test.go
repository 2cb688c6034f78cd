package publish_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

func TestGapMessage(t *testing.T) {
	gap := publish.Gap{Stream: "front door", From: 1767323045200, To: 1767323045800, Slots: 4, Reason: "no_media"}
	m, err := publish.NewGapMessage(gap)
	if err != nil {
		t.Fatal(err)
	}
	want := publish.Message{
		Subject: "cvf.gap.front_door",
		Data:    []byte(`{"stream":"front door","from":"2026-01-02T03:04:05.200Z","to":"2026-01-02T03:04:05.800Z","slots":4,"reason":"no_media"}`),
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	back, err := publish.ParseGap(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(gap, back); diff != "" {
		t.Error(diff)
	}
}

func TestParseGapErrors(t *testing.T) {
	valid := `{"stream":"a","from":"2026-01-02T03:04:05.200Z","to":"2026-01-02T03:04:05.800Z","slots":4,"reason":"no_media"}`
	for _, tt := range []struct{ from, to, want string }{
		{valid, "", "unexpected end"},
		{`"a"`, `""`, "no stream"},
		{`"no_media"`, `""`, "no reason"},
		{`:4,`, `:0,`, "0 slots"},
		{`:4,`, `:"4",`, "slots"},
		{"05.800Z", "05.000Z", "before its start"},
		{"2026-01-02T03:04:05.200Z", "yesterday", "yesterday"},
		{`"a"`, `"` + strings.Repeat("a", 70_000) + `"`, "bytes"},
	} {
		_, err := publish.ParseGap([]byte(strings.Replace(valid, tt.from, tt.to, 1)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v does not say %q", tt.to, err, tt.want)
		}
	}
}

// TestGapsThatAreNone: what a gap says of itself has to make sense, whoever sent it.
func TestGapsThatAreNone(t *testing.T) {
	for _, text := range []string{
		`{"stream":"a","from":"2026-01-02T03:04:05.200Z","to":"2026-01-02T03:04:05.800Z","slots":5,"reason":"no_media"}`,
		`{"stream":"a","from":"2026-01-02T03:04:05.200Z","to":"2026-01-02T03:04:05.200Z","slots":2000000000,"reason":"no_media"}`,
		`{"stream":"a","from":"0001-01-01T00:00:00Z","to":"2026-01-02T03:04:05.800Z","slots":4,"reason":"no_media"}`,
		`{"stream":"a","from":"2026-01-02T03:04:05.200Z","to":"9999-12-31T23:59:59-12:00","slots":4,"reason":"no_media"}`,
	} {
		if g, err := publish.ParseGap([]byte(text)); err == nil {
			t.Errorf("%s was taken for %+v", text, g)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("2026-01-02T03:04:05.200Z", "", "", "")
	f.Add("2026-01-02T03:04:05.200Z", "no_media", "2026-01-02T03:04:05.800Z", "")
	f.Add("9999-12-31T23:59:59-12:00", "", "", "2/5")
	f.Fuzz(func(t *testing.T, at, gap, to, chunk string) {
		h := map[string][]string{publish.HeaderVersion: {publish.Version}, publish.HeaderTime: {at}}
		for name, value := range map[string]string{publish.HeaderGap: gap, publish.HeaderGapTo: to, publish.HeaderChunk: chunk} {
			if value != "" {
				h[name] = []string{value}
			}
		}
		p, err := publish.ParsePosition(h)
		if err != nil {
			return
		}
		if source.CheckTime(p.First.Time()) != nil || source.CheckTime(p.Last.Time()) != nil || p.Last.Sub(p.First) < 0 || p.Part < 1 || p.Part > p.Parts {
			t.Errorf("%+v", p)
		}
	})
}

func FuzzParseGap(f *testing.F) {
	f.Add([]byte(`{"stream":"a","from":"2026-01-02T03:04:05.200Z","to":"2026-01-02T03:04:05.800Z","slots":4,"reason":"no_media"}`))
	f.Add([]byte(`{"slots":1e99}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		gap, err := publish.ParseGap(data)
		if err != nil {
			return
		}
		m, err := publish.NewGapMessage(gap)
		if err != nil {
			t.Fatal(err)
		}
		back, err := publish.ParseGap(m.Data)
		if err != nil {
			t.Fatalf("%s: %v", m.Data, err)
		}
		if diff := cmp.Diff(gap, back); diff != "" {
			t.Error(diff)
		}
	})
}
