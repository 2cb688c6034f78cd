// Package payloads takes the payloads of large tensors out of what a NATS server sends,
// before the client (nats.go) reads it.
//
// nats.go reads 32 KiB at a time, and copies the payload of each message into memory that
// was allocated and cleared for it. A [Reader] stands between a connection and nats.go. It
// receives a large payload at once into memory that was used before, if there is some, and
// gives nats.go the same message without a payload. A header says which one is missing, and
// [Store.Data] returns it. Once it is known what handles the messages of a subscription,
// those that find nothing before them do not go through nats.go at all.
package payloads

import (
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
)

// header names the payload of a message. Its value begins with the store's secret, so
// that no publisher can name one.
const header = "Cvf-Payload"

const (
	large     = 64 << 10 // bytes; smaller payloads go through nats.go
	largest   = 64 << 20 // bytes: the most that NATS allows
	unclaimed = 64 << 20 // bytes that may wait in nats.go at most
	idle      = 64 << 20 // bytes that may wait to be used again
)

// A Store holds payloads until they are asked for, and memory to use again. It may be used
// by several goroutines, and by the connections that follow one another.
type Store struct {
	secret string

	mu      sync.Mutex
	last    uint64
	direct  map[string]Take // by the number of the subscription, as those below
	waiting map[string][]payload
	bytes   int      // of those that wait
	free    [][]byte // the longest unused first
	idle    int      // bytes of those that are free
}

// A Take handles a message with its header as it was sent, and its payload. It returns
// false, and has done nothing, if other messages have to be handled before.
type Take func(subject string, header, data []byte) bool

// A payload waits for its message to come out of nats.go.
type payload struct {
	id   uint64
	data []byte
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{secret: rand.Text(), direct: make(map[string]Take), waiting: make(map[string][]payload)}
}

// Data returns the payload of a message that has come out of nats.go with the given header
// and data, and removes what the [Reader] has added to the header. Later messages of its
// subscription are given to take first.
func (s *Store) Data(h map[string][]string, data []byte, take Take) []byte {
	values := h[header]
	if len(values) == 0 {
		return data
	}
	name, ours := strings.CutPrefix(values[len(values)-1], s.secret+" ")
	if !ours {
		return data
	}
	if h[header] = values[:len(values)-1]; len(values) == 1 {
		delete(h, header)
	}
	sid, number, _ := strings.Cut(name, " ")
	id, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return data // the secret is out
	}
	return s.claim(sid, id, take)
}

// claim returns a payload. Those before it belong to messages that nats.go has dropped.
func (s *Store) claim(sid string, id uint64, take Take) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.direct[sid] = take
	waiting := s.waiting[sid]
	for i, p := range waiting {
		if p.id > id {
			break
		}
		waiting[i] = payload{}
		s.waiting[sid] = waiting[i+1:]
		s.bytes -= cap(p.data)
		if p.id == id {
			return p.data
		}
		s.release(p.data)
	}
	return nil
}

// taken has a message handled at once, if that can be done.
func (s *Store) taken(sid, subject string, header, data []byte) bool {
	s.mu.Lock()
	take := s.direct[sid]
	s.mu.Unlock()
	return take != nil && take(subject, header, data)
}

// put keeps a payload, and returns the value of the header that names it.
func (s *Store) put(sid string, data []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.waiting[sid] = append(s.waiting[sid], payload{s.last, data})
	s.bytes += cap(data)
	return s.secret + " " + sid + " " + strconv.FormatUint(s.last, 10)
}

// memory returns memory for size bytes, or nil if too much waits already.
func (s *Store) memory(size int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+size > unclaimed {
		return nil
	}
	for i := len(s.free) - 1; i >= 0; i-- { // the warmest first
		if b := s.free[i]; cap(b) >= size && cap(b) <= size+size/4 {
			s.free = append(s.free[:i], s.free[i+1:]...)
			s.idle -= cap(b)
			return b[:size]
		}
	}
	return make([]byte, size)
}

// Release keeps memory that nobody uses any more, to receive other payloads into. It is
// garbage where there is enough of it.
func (s *Store) Release(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(data)
}

func (s *Store) release(data []byte) {
	if cap(data) < large {
		return
	}
	s.free = append(s.free, data)
	s.idle += cap(data)
	for s.idle > idle {
		s.idle -= cap(s.free[0])
		s.free[0] = nil
		s.free = s.free[1:]
	}
}
