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

// askAgain is how often a subject without listeners is tried.
const askAgain = time.Second

// subscribers knows which subjects nobody listens to. Each message has a reply subject, to
// which the server answers "no responders" at once if nobody gets the message, here or
// at any server that it is connected to. That costs some bytes for each message, and an
// answer only if nobody listens. Other answers, such as those of a JetStream stream, are
// ignored. If the user may not get answers, all subjects count as listened to.
type subscribers struct {
	inbox string // the prefix of the reply subjects, which ends in a dot

	mu       sync.RWMutex
	subjects map[string]*subject
	numbered []*subject
}

// A subject is a subject that messages were published on.
type subject struct {
	reply  string
	nobody atomic.Bool // listens, as the server has said
	heard  atomic.Bool // somebody listened to the last message that was asked about
	on     atomic.Pointer[dial.DataConnection]
	next   atomic.Int64 // when to try again, in nanoseconds since the Unix epoch
}

func newSubscribers(on []*dial.DataConnection) *subscribers {
	s := &subscribers{inbox: nats.NewInbox() + ".", subjects: map[string]*subject{}}
	for _, c := range on {
		// This fails only on a closed connection, over which nothing is published.
		c.EachClient(func(nc *nats.Conn) { _, _ = nc.Subscribe(s.inbox+"*", s.answered) })
	}
	return s
}

// answered handles an answer.
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
	on.heard.Store(false)
	on.nobody.Store(true)
}

// of returns the state of a subject.
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

// wanted tells whether to make a message for the subject: somebody listens, or it is time
// to find out whether anybody does.
func (s *subject) wanted(now time.Time) bool {
	if !s.nobody.Load() {
		return true
	}
	next := s.next.Load()
	return now.UnixNano() >= next && s.next.CompareAndSwap(next, now.Add(askAgain).UnixNano())
}
