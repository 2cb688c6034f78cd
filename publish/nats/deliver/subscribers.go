package deliver

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// askAgain is how often a subject that nobody listens to is tried.
const askAgain = time.Second

// subscribers knows which subjects nobody listens to. Each message names a subject for
// answers, to which the server says at once that there are no responders, where
// nobody gets the message, here or in whatever it is connected to. It costs some
// bytes a message, and the answer only where nobody listens. What others answer,
// such as a JetStream stream, is ignored. Where the answers are not permitted, all
// subjects are taken to be listened to.
type subscribers struct {
	inbox string // of the answers, ended by a dot

	mu       sync.RWMutex
	subjects map[string]*subject
	numbered []*subject
}

// A subject is one that messages were published on.
type subject struct {
	reply  string
	nobody atomic.Bool
	next   atomic.Int64 // when to try again, in nanoseconds since the Unix epoch
}

func newSubscribers(on []*dial.DataConnection) *subscribers {
	s := &subscribers{inbox: nats.NewInbox() + ".", subjects: map[string]*subject{}}
	for _, c := range on {
		// It only fails on a connection that is closed, over which nothing is published.
		_, _ = c.Client().Subscribe(s.inbox+"*", s.answered)
	}
	return s
}

// answered takes note of an answer.
func (s *subscribers) answered(m *nats.Msg) {
	if len(m.Data) > 0 || m.Header.Get("Status") != "503" {
		return
	}
	n, err := strconv.Atoi(strings.TrimPrefix(m.Subject, s.inbox))
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err != nil || n < 0 || n >= len(s.numbered) {
		return
	}
	on := s.numbered[n]
	on.next.Store(time.Now().Add(askAgain).UnixNano())
	on.nobody.Store(true)
}

// of returns what is known of a subject.
func (s *subscribers) of(name string) *subject {
	s.mu.RLock()
	known := s.subjects[name]
	s.mu.RUnlock()
	if known != nil {
		return known
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known = s.subjects[name]; known == nil {
		known = &subject{reply: s.inbox + strconv.Itoa(len(s.numbered))}
		s.subjects[name] = known
		s.numbered = append(s.numbered, known)
	}
	return known
}

// wanted tells whether a message on the subject makes sense: somebody listens, or
// it is time to see whether anybody does.
func (s *subject) wanted(now time.Time) bool {
	if !s.nobody.Load() {
		return true
	}
	next := s.next.Load()
	return now.UnixNano() >= next && s.next.CompareAndSwap(next, now.Add(askAgain).UnixNano())
}
