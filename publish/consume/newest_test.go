package consume

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
)

func TestMailbox(t *testing.T) {
	var incomplete atomic.Int64
	const unit = 16 << 10
	const room = 100*unit + 8<<10 // with some for what is no payload
	b := &mailbox{room: room, filled: make(chan struct{}, 1), joiner: countingJoiner(&incomplete)}
	put := func(subject string, size int, gap bool) {
		m := publish.Message{Subject: subject, Data: make([]byte, size*unit)}
		if gap {
			m.Header = map[string][]string{publish.HeaderGap: {"no_media"}}
		}
		b.put(m)
	}
	put("a", 40, false)
	put("b", 30, false)
	put("a", 50, false) // takes the place of the first, and keeps it
	put("b", 0, true)   // takes no tensor's place
	put("c", 60, false) // has no room beside a
	put("d", 10, false)
	put("d", 90, false) // has room for nothing beside itself but the gap
	if b.lost() != 5 {  // a, a, d, b, c
		t.Errorf("%d missed", b.lost())
	}
	var got []string
	for m, ok := b.take(); ok; m, ok = b.take() {
		got = append(got, m.Subject+strconv.Itoa(len(m.Data)/unit))
	}
	if diff := cmp.Diff([]string{"b0", "d90"}, got); diff != "" {
		t.Error(diff)
	}
	put("huge", 1000, false)
	if m, ok := b.take(); !ok || len(m.Data) != 1000*unit {
		t.Error("what is larger than the room does not come through")
	}
	if b.room != room {
		t.Errorf("room %d", b.room)
	}
}

// TestMailboxIsBounded: what is kept is bounded, however much of it is no payload.
func TestMailboxIsBounded(t *testing.T) {
	large := map[string][]string{"X": {strings.Repeat("x", 200<<10)}}
	small := map[string][]string{}
	for i := range 2000 {
		small[strconv.Itoa(i)] = []string{"", ""}
	}
	for name, header := range map[string]map[string][]string{"a large header": large, "many small headers": small, "none": nil} {
		var incomplete atomic.Int64
		const room = 32 << 20
		b := &mailbox{room: room, filled: make(chan struct{}, 1), joiner: countingJoiner(&incomplete)}
		puts := 1000
		if header == nil {
			puts = 20_000
		}
		for i := range puts {
			b.put(publish.Message{Subject: "cvf.gap." + strconv.Itoa(i), Header: header})
		}
		kept := 0
		for _, m := range b.box {
			kept += publish.Size(m) + 64*2*len(m.Header)
		}
		if kept > room || len(b.box) > newestMessages || len(b.order) != len(b.box) || len(b.box)+b.lost() != puts {
			t.Errorf("%s: %d MiB in %d messages, and %d are missed", name, kept>>20, len(b.box), b.lost())
		}
		for more := true; more; {
			_, more = b.take()
		}
		if b.room != room {
			t.Errorf("%s: %d bytes are lost", name, room-b.room)
		}
	}
}
