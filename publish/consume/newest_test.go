package consume

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
)

func TestMailbox(t *testing.T) {
	var incomplete atomic.Int64
	b := &mailbox{room: 100, filled: make(chan struct{}, 1), joiner: countingJoiner(&incomplete)}
	put := func(subject string, size int, gap bool) {
		m := publish.Message{Subject: subject, Data: make([]byte, size)}
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
		got = append(got, m.Subject+strconv.Itoa(len(m.Data)))
	}
	if diff := cmp.Diff([]string{"b0", "d90"}, got); diff != "" {
		t.Error(diff)
	}
	put("huge", 1000, false)
	if m, ok := b.take(); !ok || len(m.Data) != 1000 {
		t.Error("what is larger than the room does not come through")
	}
	if b.room != 100 {
		t.Errorf("room %d", b.room)
	}
}
