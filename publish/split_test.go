package publish_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// sized returns the message of a tensor of random pixels.
func sized(t testing.TB, stream string, slot source.Slot, w, h int) publish.Message {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(slot), uint64(w)))
	x := tensor(t, "raw", func(s *transform.Spec) { s.Width, s.Height, s.DType = w, h, transform.Uint8 })
	x.Stream, x.Slot = stream, slot
	for i := range x.Data {
		x.Data[i] = byte(random.Uint32())
	}
	return publish.NewMessage("cvf.t."+stream+".detector", x)
}

func split(t testing.TB, m publish.Message, limit int) []publish.Message {
	t.Helper()
	parts, err := publish.Split(m, limit)
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

func TestSplitLeavesAloneWhatFits(t *testing.T) {
	m := sized(t, "a", 1000, 64, 48)
	if diff := cmp.Diff([]publish.Message{m}, split(t, m, publish.Size(m))); diff != "" {
		t.Error(diff)
	}
	if parts := split(t, m, publish.Size(m)-1); len(parts) != 2 {
		t.Errorf("%d parts", len(parts))
	}
}

func TestSplitParts(t *testing.T) {
	m := sized(t, "a", 1000, 200, 100)
	for _, limit := range []int{2000, 2777, 6000, 50_000} {
		parts := split(t, m, limit)
		var joined []byte
		for i, p := range parts {
			if size := publish.Size(p); size > limit {
				t.Errorf("limit %d: part %d has %d bytes", limit, i+1, size)
			}
			if i < len(parts)-1 && len(p.Data) != len(parts[0].Data) {
				t.Errorf("limit %d: part %d has %d bytes, and part 1 has %d", limit, i+1, len(p.Data), len(parts[0].Data))
			}
			if &p.Data[0] != &m.Data[len(joined)] {
				t.Errorf("limit %d: part %d is a copy", limit, i+1)
			}
			joined = append(joined, p.Data...)
		}
		if !bytes.Equal(joined, m.Data) {
			t.Errorf("limit %d: other bytes", limit)
		}
	}
	last := split(t, m, 25_000)[2].Header
	if last["Cvf-Chunk"][0] != "3/3" || last["Nats-Msg-Id"][0] != "a/1000/detector/3f2a/3/3" || last["Cvf-Shape"][0] != "1,100,200,3" {
		t.Errorf("headers %v", last)
	}
	if m.Header["Cvf-Chunk"] != nil || m.Header["Nats-Msg-Id"][0] != "a/1000/detector/3f2a" {
		t.Errorf("headers of the whole changed to %v", m.Header)
	}
}

func TestSplitTooSmallALimit(t *testing.T) {
	big := publish.Message{Data: make([]byte, 70<<20)}
	for name, tt := range map[string]struct {
		m     publish.Message
		limit int
	}{
		"less than headers": {sized(t, "a", 1000, 64, 48), 100},
		"0":                 {sized(t, "a", 1000, 64, 48), 0},
		"too many parts":    {big, 1100},
	} {
		_, err := publish.Split(tt.m, tt.limit)
		var size *publish.SizeError
		if !errors.As(err, &size) || !strings.Contains(err.Error(), "not even in parts") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := publish.Split(tt.m, size.Size); err != nil {
			t.Errorf("%s: with the limit that the error names: %v", name, err)
		}
	}
}

func TestKind(t *testing.T) {
	m := sized(t, "a", 1000, 64, 48)
	gap := publish.Gap{Stream: "a", From: 1000, To: 1600, Slots: 4, Reason: "no_media"}
	event, err := publish.NewGapMessage(gap)
	if err != nil {
		t.Fatal(err)
	}
	for want, m := range map[publish.Kind]publish.Message{
		publish.KindTensor:    m,
		publish.KindPart:      split(t, m, 5000)[0],
		publish.KindInlineGap: publish.NewInlineGap(m.Subject, gap, &transform.Output{Name: "detector", Fingerprint: "3f2a"}),
		publish.KindGapEvent:  event,
	} {
		if got := m.Kind(); got != want {
			t.Errorf("%v: kind %d, not %d", m.Header, got, want)
		}
	}
}

func TestInlineGap(t *testing.T) {
	m := sized(t, "a", 1000, 64, 48)
	want := publish.InlineGap{
		Gap:    publish.Gap{Stream: "a", From: 1000, To: 1600, Slots: 4, Reason: "no_media"},
		Output: "detector", Spec: "3f2a",
	}
	gap := publish.NewInlineGap(m.Subject, want.Gap, &transform.Output{Name: "detector", Fingerprint: "3f2a"})
	if gap.Subject != m.Subject || len(gap.Data) != 0 || gap.Header["Nats-Msg-Id"][0] != m.Header["Nats-Msg-Id"][0] {
		t.Errorf("%+v", gap)
	}
	got, err := publish.ParseInlineGap(gap.Header)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, value := range map[string]string{
		"Cvf-Version": "2", "Cvf-Gap": "", "Cvf-Gap-To": "1970-01-01T00:00:00.999Z", "Cvf-Gap-Slots": "-1", "Cvf-Time": "today",
	} {
		h := publish.NewInlineGap("s", want.Gap, &transform.Output{Name: "detector", Fingerprint: "3f2a"}).Header
		h[name] = []string{value}
		if _, err := publish.ParseInlineGap(h); err == nil {
			t.Errorf("%s: %q is taken", name, value)
		}
	}
}

func TestPosition(t *testing.T) {
	m := sized(t, "a", 1000, 64, 48)
	gap := publish.NewInlineGap(m.Subject, publish.Gap{Stream: "a", From: 1000, To: 1600, Slots: 4, Reason: "no_media"}, &transform.Output{Name: "detector", Fingerprint: "3f2a"})
	for name, tt := range map[string]struct {
		m    publish.Message
		want publish.Position
	}{
		"tensor": {m, publish.Position{First: 1000, Last: 1000, Part: 1, Parts: 1}},
		"part":   {split(t, m, 5000)[1], publish.Position{First: 1000, Last: 1000, Part: 2, Parts: 3}},
		"gap":    {gap, publish.Position{First: 1000, Last: 1600, Part: 1, Parts: 1}},
	} {
		got, err := publish.ParsePosition(tt.m.Header)
		if part := got.Tensor != (publish.Position{}).Tensor; part != (name == "part") {
			t.Errorf("%s: of tensor %x", name, got.Tensor)
		}
		got.Tensor = tt.want.Tensor
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, h := range []map[string][]string{
		nil,
		{"Cvf-Version": {"1"}, "Cvf-Time": {"1970-01-01T00:00:01Z"}, "Cvf-Chunk": {"3/2"}},
		{"Cvf-Version": {"1"}, "Cvf-Time": {"1970-01-01T00:00:01Z"}, "Cvf-Gap": {"x"}, "Cvf-Gap-To": {"1970-01-01T00:00:00Z"}},
	} {
		if p, err := publish.ParsePosition(h); err == nil {
			t.Errorf("%v gives %v", h, p)
		}
	}
}

// TestPartsOfOneTensor: the parts of one tensor have the same Position.Tensor, those of
// other tensors have another, and no two parts have the same identity.
func TestPartsOfOneTensor(t *testing.T) {
	m := sized(t, "a", 1000, 64, 48)
	ids := map[string]bool{}
	of := func(m publish.Message) [32]byte {
		p, err := publish.ParsePosition(m.Header)
		if err != nil {
			t.Fatal(err)
		}
		if id := m.Header["Nats-Msg-Id"][0]; ids[id] {
			t.Errorf("%s is the identity of two parts", id)
		} else {
			ids[id] = true
		}
		return p.Tensor
	}
	parts := split(t, m, 5000)
	if of(parts[0]) != of(parts[1]) {
		t.Error("two parts are of two tensors")
	}
	if other := split(t, m, 3000); len(other) == len(parts) || of(other[0]) != of(other[1]) {
		t.Errorf("%d parts", len(other))
	}
	spec := sized(t, "a", 1000, 64, 48)
	spec.Header["Cvf-Spec"] = []string{"another"}
	if of(split(t, m, 8000)[0]) == of(split(t, spec, 2000)[0]) {
		t.Error("parts of two specs are of one tensor")
	}
}

func TestPositionAtOrAfter(t *testing.T) {
	whole := func(slot source.Slot) publish.Position {
		return publish.Position{First: slot, Last: slot, Part: 1, Parts: 1}
	}
	part := func(slot source.Slot, i, n int) publish.Position {
		return publish.Position{First: slot, Last: slot, Part: i, Parts: n}
	}
	gap := publish.Position{First: 1000, Last: 1600, Part: 1, Parts: 1}
	other := part(1000, 3, 5)
	other.Tensor[0] = 1
	for _, tt := range []struct {
		last, next publish.Position
		want       bool
	}{
		{whole(1000), whole(1000), true},
		{whole(1000), whole(1200), false},
		{whole(1200), whole(1000), true},
		{whole(1000), part(1000, 3, 5), true},
		{part(1000, 2, 5), part(1000, 2, 5), true},
		{part(1000, 2, 5), part(1000, 3, 5), false},
		{part(1000, 3, 5), other, false},
		{other, part(1000, 3, 5), false},
		{part(1000, 2, 5), part(1000, 1, 7), false},
		{part(1000, 5, 5), part(1000, 1, 7), true},
		{part(1000, 2, 5), whole(1000), false},
		{part(1200, 1, 5), whole(1000), true},
		{gap, whole(1400), true},
		{gap, whole(1600), true},
		{gap, whole(1800), false},
		{whole(1000), gap, false},
	} {
		if got := tt.last.AtOrAfter(tt.next); got != tt.want {
			t.Errorf("%+v at or after %+v: %v", tt.last, tt.next, got)
		}
	}
}
