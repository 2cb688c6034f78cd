package frames

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/publish"
)

// Any cvfeeder of the account may get a request for a frame, but only one of them has the
// stream. So each of them also subscribes to a subject for each of its streams, and
// forwards a request for another stream to that stream's subject. If nobody has the
// stream, the server says so at once, unless somebody subscribes to everything. So an
// empty request is sent first, which the owner of the stream answers at once.

const (
	// forwardQueue is how many forwarded requests may wait to be handled. The client drops
	// what is more, without an answer. Those that it reads at once, up to 32 KiB, fit.
	forwardQueue = 1024
	namesRefresh = time.Second
	ownerWait    = 3 * time.Second

	// askerHeader tells who asked the cvfeeder that forwards a request.
	askerHeader = "Cvf-Asker"
	// rangeHeader says that a forwarded request is for a range.
	rangeHeader = "Cvf-Endpoint"
	rangeValue  = "frames"
)

var errNoOwner = errors.New("nobody has the stream")

// localStreams are the streams of this process.
type localStreams struct {
	names   func() []string
	forward bool // whether to forward requests for other streams

	mu   sync.Mutex
	subs map[string]*nats.Subscription // by the name of the stream
}

// elsewhere tells whether to forward a request for a stream.
func (l *localStreams) elsewhere(stream string) bool {
	if !l.forward {
		return false
	}
	l.mu.Lock()
	_, own := l.subs[stream]
	l.mu.Unlock()
	return !own && !slices.Contains(l.names(), stream)
}

// update subscribes for the current streams, and unsubscribes for all others.
func (l *localStreams) update(subscribe func(subject string) (*nats.Subscription, error)) {
	wanted := map[string]bool{}
	for _, name := range l.names() {
		wanted[name] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, sub := range l.subs {
		if !wanted[name] {
			_ = sub.Drain() // answers what is on its way; fails only with the connection
			delete(l.subs, name)
		}
	}
	for name := range wanted {
		if l.subs[name] != nil {
			continue
		}
		sub, err := subscribe(frameSubjectOf(name))
		if err != nil {
			return // the connection is closed
		}
		l.subs[name] = sub
	}
}

// frameSubjectOf returns the subject of requests to the cvfeeder that has a stream.
func frameSubjectOf(stream string) string { return FrameSubject + "." + publish.SubjectToken(stream) }

// answerForwarded answers requests that were forwarded to this process, until ctx ends.
func (s *service) answerForwarded(ctx context.Context) {
	if s.local == nil {
		return
	}
	// One channel for all, because each subscription with a callback has a goroutine.
	requests := make(chan *nats.Msg, forwardQueue)
	subscribe := func(subject string) (*nats.Subscription, error) {
		return s.on.Client().ChanQueueSubscribe(subject, ServiceName, requests)
	}
	refresh := time.NewTicker(namesRefresh)
	defer refresh.Stop()
	for {
		s.local.update(subscribe)
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				for sub := range maps.Values(s.local.subs) {
					_ = sub.Unsubscribe() // fails only with the connection
				}
				for range len(requests) {
					if m := <-requests; s.allows(m.Reply) {
						s.refuse(m.Reply, errStopping)
					}
				}
				return
			case m := <-requests:
				if err := s.forwarded(ctx, m); err != nil {
					s.on.Log().Debug("a request was not answered", "err", err)
				}
			case <-refresh.C:
				waiting = false
			}
		}
	}
}

// forwarded answers a request on the subject of a stream of this process.
func (s *service) forwarded(ctx context.Context, m *nats.Msg) error {
	switch {
	case !s.allows(m.Reply):
		return nil
	case len(m.Data) == 0:
		return s.on.Publish(publish.Message{Subject: m.Reply}, "")
	}
	asker := askerOf(m.Reply)
	if on := m.Header.Get(askerHeader); on != "" && len(on) <= maxAsker {
		asker = on
	}
	if m.Header.Get(rangeHeader) == rangeValue {
		return s.ranges.begin(ctx, m, asker, false)
	}
	answer := func() error { return s.begin(ctx, m, asker, s.makeHere) }
	if m.Header.Get(asksHeader) == asksBurst {
		answer = func() error { return s.burst(ctx, m, asker, false) }
	}
	if err := answer(); err != nil {
		return s.fail(m.Reply, err)
	}
	return nil
}

// findOwner returns errNoOwner if nobody answers on the subject of a stream.
func (s *service) findOwner(ctx context.Context, subject string) error {
	asking, cancel := context.WithTimeout(ctx, ownerWait)
	defer cancel()
	if _, err := s.on.Client().RequestWithContext(asking, subject, nil); err != nil && ctx.Err() == nil {
		return errNoOwner
	}
	return nil
}

// askOwner sends a request to the cvfeeder that has a stream, and returns its answer. The error
// is errNoOwner if there is none.
func (s *service) askOwner(ctx context.Context, stream string, request []byte, header nats.Header) (*nats.Msg, error) {
	subject := frameSubjectOf(stream)
	if err := s.findOwner(ctx, subject); err != nil {
		return nil, err
	}
	m, err := s.on.Client().RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Data: request, Header: header})
	if err != nil && !errors.Is(err, nats.ErrNoResponders) {
		s.opts.Observe(Failed)
	}
	return m, err
}

// forward sends a request to the cvfeeder that has the stream, and answers with its
// answer. The error is errNoOwner if there is none.
func (s *service) forward(ctx context.Context, r Request, answer func(publish.Message) error) error {
	request, err := json.Marshal(map[string]string{"stream": r.Stream, "time": r.Time.Format(time.RFC3339Nano), "output": r.Output})
	if err != nil {
		return err
	}
	m, err := s.askOwner(ctx, r.Stream, request, nats.Header{askerHeader: {r.asker}})
	if err != nil {
		return err
	}
	s.opts.Observe(Forwarded)
	s.count(func(st *frameStats) { st.HandedOn++ })
	if text := m.Header.Get(micro.ErrorHeader); text != "" {
		return &Error{Code: m.Header.Get(micro.ErrorCodeHeader), Text: text}
	}
	return answer(publish.Message{Header: m.Header, Data: m.Data})
}
