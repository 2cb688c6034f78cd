package consume

import (
	"slices"
	"sync"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// newestBytes and newestMessages are how much may wait for the reader of a
// [SubscribeNewest].
const (
	newestBytes    = 256 << 20
	newestMessages = 1 << 14
)

// What a message takes besides its payload and its header, in bytes, at most.
const (
	messageCost = 1 << 10
	valueCost   = 128 // of each value in the header
)

// smallMessage is how many bytes a message has that makes hardly any room.
const smallMessage = 4 << 10

// cost returns how many bytes of memory a message takes, at most. Whoever may publish
// chooses what is in it, so all of it counts.
func cost(m publish.Message) int {
	n := messageCost + len(m.Subject) + publish.Size(m)
	for _, values := range m.Header {
		n += valueCost * (1 + len(values))
	}
	return n
}

// SubscribeNewest is like [Subscribe], for readers that need the newest frames rather than
// every frame. Only the newest tensor of each subject is kept, put together if it came in
// parts, and the newest gap. Those that a newer one replaces are counted as missed. The
// subject that has waited longest is read first. A late tensor, see
// [publish.Envelope.Late], replaces only a late one: it is older than what comes on time.
func SubscribeNewest(o dial.Options, subjects ...string) (*Subscription, error) {
	return Open(o, Options{Newest: true}, subjects...)
}

// A mailbox keeps the newest message of each subject and kind until it is taken.
type mailbox struct {
	filled chan struct{} // has a value while there may be something to take

	mu     sync.Mutex
	joiner *publish.Joiner
	order  []boxKey // the one that has waited longest first
	box    map[boxKey]publish.Message
	room   int
	missed int
}

// A boxKey stands for the newest tensor, the newest late tensor, or the newest gap, of a
// subject.
type boxKey struct {
	subject   string
	gap, late bool
}

// put adds a message as it arrived.
func (b *mailbox) put(m publish.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	whole, ok, err := b.joiner.Add(m)
	switch {
	case err != nil:
		whole = m // the reader gets the same error
	case !ok:
		return
	}
	kind := whole.Kind()
	p := boxKey{whole.Subject, kind == publish.KindInlineGap || kind == publish.KindGapEvent, len(whole.Header[publish.HeaderLate]) > 0}
	if old, there := b.box[p]; there {
		b.room += cost(old)
		b.missed++
		release(old)
	} else {
		b.order = append(b.order, p)
	}
	if b.box == nil {
		b.box = make(map[boxKey]publish.Message)
	}
	b.box[p] = whole
	b.room -= cost(whole)
	b.makeRoom(p)
	b.signal()
}

// makeRoom removes what has waited longest, but not the last addition. Small messages stay
// as long as larger ones can make room.
func (b *mailbox) makeRoom(last boxKey) {
	for b.room < 0 || len(b.order) > newestMessages {
		i := -1
		if len(b.order) <= newestMessages {
			i = slices.IndexFunc(b.order, func(p boxKey) bool { return p != last && publish.Size(b.box[p]) > smallMessage })
		}
		if i < 0 {
			i = slices.IndexFunc(b.order, func(p boxKey) bool { return p != last })
		}
		if i < 0 {
			return
		}
		release(b.remove(i))
		b.missed++
	}
}

// clear gives back the memory of what nobody will take.
func (b *mailbox) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.order) > 0 {
		release(b.remove(0))
	}
}

func (b *mailbox) take() (publish.Message, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.order) == 0 {
		return publish.Message{}, false
	}
	m := b.remove(0)
	if len(b.order) > 0 {
		b.signal()
	}
	return m, true
}

func (b *mailbox) remove(i int) publish.Message {
	p := b.order[i]
	m := b.box[p]
	b.order = slices.Delete(b.order, i, i+1)
	delete(b.box, p)
	b.room += cost(m)
	return m
}

func (b *mailbox) signal() { signal(b.filled) }

func (b *mailbox) lost() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.missed
}
