// Package interest asks a NATS server whether anybody would get a message on a subject,
// without publishing one.
//
//	asker := interest.New(conn.Control())
//	some, err := asker.Listeners(ctx, "cvf.t.front-door.detector", "")
//
// The server traces the way that a message would take, and delivers nothing: see "NATS
// Message Path Tracing", ADR-41 of the project NATS. Each server on the way answers, so
// a listener is found behind routes, gateways and leaf nodes, and in other accounts.
// That takes a server of version 2.11.
package interest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

const (
	// Subjects are those to which servers send their traces: each asker has a token of its own,
	// so that none gets those of others.
	Subjects = prefix + "*.*"
	prefix   = "cvf.svc.trace."
	// answerTime is how long the servers on the way may take.
	answerTime = 2 * time.Second
	// maxHops bounds the answers that wait to be read.
	maxHops = 32
	// The first version of the server that traces.
	minMajor, minMinor = 2, 11
)

// The headers of a message that is traced and not delivered.
const (
	headerDest = "Nats-Trace-Dest"
	headerOnly = "Nats-Trace-Only"
	headerHop  = "Nats-Trace-Hop"
)

// Why nobody can tell whether there are listeners.
var (
	// ErrDown: there is no connection.
	ErrDown = errors.New("not connected")
	// ErrOld: the server is too old, or has never been reached.
	ErrOld = fmt.Errorf("the server cannot tell who listens: NATS %d.%d or newer can", minMajor, minMinor)
	// ErrSilent: a server on the way has not answered.
	ErrSilent = errors.New("no answer to who listens: see whether the user may publish to and subscribe to " + Subjects)
)

// An Asker asks over one connection. It is safe for concurrent use.
type Asker struct {
	on     *dial.Connection
	prefix string // of the subjects of its traces

	mu      sync.Mutex
	asked   uint64
	waiting map[string]chan []byte // by the last token of the subject
}

// New returns an asker that lasts as long as the connection.
func New(on *dial.Connection) *Asker {
	// The token of an inbox cannot be guessed by who would answer in place of a server.
	_, token, _ := strings.Cut(nats.NewInbox(), ".")
	a := &Asker{on: on, prefix: prefix + token + ".", waiting: map[string]chan []byte{}}
	return a
}

// begin subscribes to the traces when the first question is asked: most configs ask none.
func (a *Asker) begin() {
	a.on.EachClient(func(nc *nats.Conn) {
		// This fails only on a closed connection, over which nothing is asked.
		_, _ = nc.Subscribe(a.prefix+"*", a.traced)
	})
}

func (a *Asker) traced(m *nats.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case a.waiting[m.Subject] <- m.Data:
	default: // nobody waits any more, or too many servers answer
	}
}

// Listeners returns whether a message on the subject would reach anybody: a subscriber, or a
// JetStream stream other than the given one, "" for any. The error wraps [ErrDown], [ErrOld]
// or [ErrSilent], or is ctx's.
func (a *Asker) Listeners(ctx context.Context, subject, except string) (bool, error) {
	w := newWay(except)
	err := a.trace(ctx, subject, w, func() bool { return w.reaches || w.whole() })
	return w.reaches, err
}

// trace asks for the way of a message on the subject, and adds the answers to w until they are
// enough. The error is that of [Asker.Listeners].
func (a *Asker) trace(ctx context.Context, subject string, w *way, enough func() bool) error {
	nc := a.on.Client()
	switch {
	case !a.on.Connected():
		return ErrDown
	case !traces(nc.ConnectedServerVersion()):
		return ErrOld
	}
	dest, answers := a.expect()
	defer a.forget(dest)
	m := nats.NewMsg(subject)
	m.Header.Set(headerDest, dest)
	m.Header.Set(headerOnly, "true")
	if err := nc.PublishMsg(m); err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	late := time.NewTimer(answerTime)
	defer late.Stop()
	for {
		select {
		case data := <-answers:
			if err := w.add(data); err != nil || enough() {
				return err
			}
		case <-late.C:
			if !a.on.Connected() {
				return ErrDown
			}
			return ErrSilent
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// expect returns the subject for the traces of a question, and where they come.
func (a *Asker) expect() (string, <-chan []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if a.asked == 1 {
		a.begin()
	}
	dest := a.prefix + strconv.FormatUint(a.asked, 36)
	answers := make(chan []byte, maxHops)
	a.waiting[dest] = answers
	return dest, answers
}

func (a *Asker) forget(dest string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, dest)
}

// traces tells whether a server of that version traces messages. An older one would deliver
// them.
func traces(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err == nil && err2 == nil && (major > minMajor || major == minMajor && minor >= minMinor)
}
