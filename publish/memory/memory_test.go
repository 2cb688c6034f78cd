package memory

import (
	"bytes"
	"testing"
)

func FuzzParsePlace(f *testing.F) {
	for _, s := range []string{
		"cvf-6f1c09.mem;1052672;4915200;17", "", ";;;", "../cvf-1.mem;8192;1;1", "cvf-1.mem;8192;1;01",
		"cvf-1.mem;-1;1;1", "cvf-1.mem;8192;1;18446744073709551615", "cvf-1.mem;9223372036854775807;1;1", "cvf-/.mem;8192;1;1",
	} {
		f.Add(s)
	}
	l := layoutOf(7, 100_000)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlace(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Fatalf("%q is read as %v", s, p)
		}
		if slot := l.slotOf(p); slot >= 0 && (p.Offset < l.data || p.Offset+p.Length > l.size() || p.Length > l.slotBytes) {
			t.Fatalf("%v is taken to be in slot %d of %+v", p, slot, l)
		}
	})
}

func TestParsePlace(t *testing.T) {
	p := Place{File: "cvf-6f1c09.mem", Offset: 1052672, Length: 4915200, Generation: 17}
	if got, err := ParsePlace(p.String()); err != nil || got != p {
		t.Errorf("%v is read as %v (%v)", p, got, err)
	}
	for _, s := range []string{
		"", "cvf-6f1c09.mem", "cvf-6f1c09.mem;1052672;4915200", "cvf-6f1c09.mem;1052672;4915200;17;1",
		"/etc/passwd;1052672;4915200;17", "cvf-../../x.mem;1052672;4915200;17", "cvf-6f1c09.mem;0;4915200;17",
		"cvf-6f1c09.mem;1052672;0;17", "cvf-6f1c09.mem;1052672;4915200;0", "cvf-6f1c09.mem;+1052672;4915200;17",
		"cvf-6f1c09.mem;1052672;4915200; 17", "cvf-6f1c09.mem;1052672;-4915200;17", "host;1052672;4915200;17",
	} {
		if p, err := ParsePlace(s); err == nil {
			t.Errorf("%q is read as %+v", s, p)
		}
	}
}

// TestLayouts: whatever the first page says, a reader stays within the file.
func TestLayouts(t *testing.T) {
	good := layoutOf(5, 5000)
	if !good.valid(good.size()) {
		t.Fatalf("%+v is not valid", good)
	}
	for _, bad := range []layout{
		{},
		{slotBytes: 4096, slots: -1, data: good.data},
		{slotBytes: 100, slots: 5, data: good.data},
		{slotBytes: 1 << 62, slots: 1 << 62, data: good.data},
		{slotBytes: good.slotBytes, slots: 5, data: 0},
		{slotBytes: good.slotBytes, slots: 5, data: 1 << 62},
		{slotBytes: good.slotBytes, slots: 6, data: good.data},
	} {
		if bad.valid(good.size()) {
			t.Errorf("%+v is valid for %d bytes", bad, good.size())
		}
	}
	for _, offset := range []int64{0, good.data - 1, good.data + 1, good.content(5), 1 << 62} {
		if slot := good.slotOf(Place{Offset: offset, Length: 1}); slot >= 0 {
			t.Errorf("offset %d is in slot %d", offset, slot)
		}
	}
	if slot := good.slotOf(Place{Offset: good.content(3), Length: good.slotBytes + 1}); slot >= 0 {
		t.Error("a place that is longer than its slot is within it")
	}
	if good.slotOf(Place{Offset: good.content(4), Length: good.slotBytes}) != 4 {
		t.Error("the last slot is not found")
	}
}

// TestPlainBytes: the file looks the same on every machine, so that every client reads it.
func TestPlainBytes(t *testing.T) {
	l := layoutOf(2, 4096)
	if l.data != 8192 || l.size() != 16384 || l.header(1) != 4160 || !bytes.Equal([]byte(magic), []byte("CVFMEM01")) {
		t.Errorf("%+v, header of the second slot at %d", l, l.header(1))
	}
}
