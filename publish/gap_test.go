package publish_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
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
