package consume

import (
	"strconv"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/publish"
)

func newQueues(n int) (*queues, []func(publish.Message)) {
	qs := &queues{filled: make(chan struct{}, 1)}
	var puts []func(publish.Message)
	for range n {
		puts = append(puts, qs.add())
	}
	return qs, puts
}

// TestQueuesAreBounded: what waits is bounded, however much of it is no payload, and what
// has no room is counted.
func TestQueuesAreBounded(t *testing.T) {
	small := map[string][]string{}
	for i := range 2000 {
		small[strconv.Itoa(i)] = []string{"", ""}
	}
	for name, m := range map[string]publish.Message{
		"payload":            {Data: make([]byte, 1<<20)},
		"a large header":     {Header: map[string][]string{"X": {strings.Repeat("x", 200<<10)}}},
		"many small headers": {Header: small},
		"a large subject":    {Subject: strings.Repeat("x", 200<<10)},
		"nothing":            {},
	} {
		qs, puts := newQueues(1)
		const sent = 3000
		for range sent {
			puts[0](m)
		}
		kept, in := 0, 0
		for got, ok := qs.take(); ok; got, ok = qs.take() {
			kept++
			in += len(got.Subject) + publish.Size(got) + 64*2*len(got.Header)
		}
		if in > pendingBytes || kept > pendingMessages || kept == 0 || kept+qs.lost() != sent {
			t.Errorf("%s: %d MiB in %d messages, and %d are missed", name, in>>20, kept, qs.lost())
		}
		if q := qs.all[0]; q.bytes != 0 || qs.waiting != 0 {
			t.Errorf("%s: %d bytes and %d messages are left", name, q.bytes, qs.waiting)
		}
	}
	qs, puts := newQueues(1)
	puts[0](publish.Message{Data: make([]byte, pendingBytes+1)})
	if m, ok := qs.take(); !ok || len(m.Data) != pendingBytes+1 {
		t.Error("what is larger than the room does not come through")
	}
}

// TestQueuesTakeTurns: a flood on one subject leaves another alone, each stays in order,
// and a reader that is woken once for several messages gets all of them.
func TestQueuesTakeTurns(t *testing.T) {
	qs, puts := newQueues(3)
	for i := range 5 * pendingMessages {
		puts[0](publish.Message{Subject: "flood." + strconv.Itoa(i)})
	}
	puts[2](publish.Message{Subject: "a.0"})
	puts[2](publish.Message{Subject: "a.1"})
	var got []string
	for len(qs.filled) > 0 {
		<-qs.filled
		m, ok := qs.take()
		if !ok {
			t.Fatal("there is nothing")
		}
		got = append(got, m.Subject)
	}
	if want := "flood.0 a.0 flood.1 a.1 flood.2"; strings.Join(got[:5], " ") != want || len(got) != pendingMessages+2 {
		t.Errorf("%d came: %q", len(got), got[:5])
	}
}
