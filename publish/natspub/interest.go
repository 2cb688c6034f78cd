package natspub

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// askAgain is how often a subject that nobody listens to is tried.
const askAgain = time.Second

// interest knows which subjects nobody listens to. Each message names a subject for
// answers, to which the server says at once that there are no responders, where
// nobody gets the message, here or in whatever it is connected to. It costs some
// bytes a message, and the answer only where nobody listens. What others answer,
// such as a JetStream stream, is ignored. Where the answers are not permitted, all
// subjects are taken to be listened to.
type interest struct {
	inbox string // of the answers, ended by a dot

	mu       sync.RWMutex
	subjects map[string]*audience
	numbered []*audience
}

// An audience is who listens to a subject.
type audience struct {
	reply  string
	nobody atomic.Bool
	next   atomic.Int64 // when to try again, in nanoseconds since the Unix epoch
}

func newInterest(links []*link) (*interest, error) {
	i := &interest{inbox: nats.NewInbox() + ".", subjects: map[string]*audience{}}
	for _, l := range links {
		if _, err := l.nc.Subscribe(i.inbox+"*", i.answered); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// answered takes note of an answer.
func (i *interest) answered(m *nats.Msg) {
	if len(m.Data) > 0 || m.Header.Get("Status") != "503" {
		return
	}
	n, err := strconv.Atoi(strings.TrimPrefix(m.Subject, i.inbox))
	i.mu.RLock()
	defer i.mu.RUnlock()
	if err != nil || n < 0 || n >= len(i.numbered) {
		return
	}
	a := i.numbered[n]
	a.next.Store(time.Now().Add(askAgain).UnixNano())
	a.nobody.Store(true)
}

// of returns the audience of a subject.
func (i *interest) of(subject string) *audience {
	i.mu.RLock()
	a := i.subjects[subject]
	i.mu.RUnlock()
	if a != nil {
		return a
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if a = i.subjects[subject]; a == nil {
		a = &audience{reply: i.inbox + strconv.Itoa(len(i.numbered))}
		i.subjects[subject] = a
		i.numbered = append(i.numbered, a)
	}
	return a
}

// wanted tells whether a message on the subject makes sense: somebody listens, or
// it is time to see whether anybody does.
func (a *audience) wanted(now time.Time) bool {
	if !a.nobody.Load() {
		return true
	}
	next := a.next.Load()
	return now.UnixNano() >= next && a.next.CompareAndSwap(next, now.Add(askAgain).UnixNano())
}
