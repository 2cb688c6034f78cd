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

// Any cvfeeder of the account may get a request for a frame, but only one of them has
// the stream. So each subscribes to a subject for each of its streams, too, and whoever
// gets a request for another's stream asks there, and passes the answer on. That nobody
// has the stream the server tells at once, unless somebody listens to everything: so
// an empty request comes first, which the one that has the stream answers at once.

const (
	ownedQueue   = 16 // requests that wait to be looked at
	namesRefresh = time.Second
	ownerWait    = 3 * time.Second
)

var errNobody = errors.New("nobody has the stream")

// owned are the streams of this process.
type owned struct {
	names   func() []string
	handsOn bool // requests for other streams

	mu  sync.Mutex
	all map[string]*nats.Subscription // by the stream's name
}

// elsewhere tells whether to ask others for the stream.
func (o *owned) elsewhere(stream string) bool {
	if o == nil || !o.handsOn {
		return false
	}
	o.mu.Lock()
	_, own := o.all[stream]
	o.mu.Unlock()
	return !own && !slices.Contains(o.names(), stream)
}

// update subscribes for the streams that there are now, and for no others.
func (o *owned) update(subscribe func(subject string) (*nats.Subscription, error)) {
	wanted := map[string]bool{}
	for _, name := range o.names() {
		wanted[name] = true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, sub := range o.all {
		if !wanted[name] {
			_ = sub.Drain() // what is on its way is answered; it only fails with the connection
			delete(o.all, name)
		}
	}
	for name := range wanted {
		if o.all[name] != nil {
			continue
		}
		sub, err := subscribe(frameSubjectOf(name))
		if err != nil {
			return // the connection is closed
		}
		o.all[name] = sub
	}
}

// frameSubjectOf returns where the cvfeeder that has a stream is asked for its frames.
func frameSubjectOf(stream string) string { return FrameSubject + "." + publish.SubjectToken(stream) }

// followStreams answers what is handed on, until ctx ends.
func (s *service) followStreams(ctx context.Context) {
	if s.owned == nil {
		return
	}
	// One channel for all: each subscription with a callback has a goroutine.
	requests := make(chan *nats.Msg, ownedQueue)
	subscribe := func(subject string) (*nats.Subscription, error) {
		return s.on.Client().ChanQueueSubscribe(subject, ServiceName, requests)
	}
	refresh := time.NewTicker(namesRefresh)
	defer refresh.Stop()
	for {
		s.owned.update(subscribe)
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				for sub := range maps.Values(s.owned.all) {
					_ = sub.Unsubscribe() // it only fails with the connection
				}
				for range len(requests) {
					_ = s.fail((<-requests).Reply, errStopping)
				}
				return
			case m := <-requests:
				if err := s.owns(ctx, m); err != nil {
					s.on.Log().Debug("a request was not answered", "err", err) // they wait in vain
				}
			case <-refresh.C:
				waiting = false
			}
		}
	}
}

// owns answers a request that only this process gets.
func (s *service) owns(ctx context.Context, m *nats.Msg) error {
	switch {
	case m.Reply == "":
		return nil
	case len(m.Data) == 0:
		return s.on.Publish(publish.Message{Subject: m.Reply}, "")
	}
	if err := s.begin(ctx, m.Data, m.Reply, s.makeOwn); err != nil {
		return s.fail(m.Reply, err)
	}
	return nil
}

// handOn asks the cvfeeder that has the stream, and answers as it does. The error is
// errNobody where there is none.
func (s *service) handOn(ctx context.Context, r Request, answer func(publish.Message) error) error {
	request, err := json.Marshal(map[string]string{"stream": r.Stream, "time": r.Time.Format(time.RFC3339Nano), "output": r.Output})
	if err != nil {
		return err
	}
	subject := frameSubjectOf(r.Stream)
	asking, cancel := context.WithTimeout(ctx, ownerWait)
	defer cancel()
	if _, err := s.on.Client().RequestWithContext(asking, subject, nil); err != nil && ctx.Err() == nil {
		return errNobody
	}
	m, err := s.on.Client().RequestWithContext(ctx, subject, request)
	if err != nil {
		return err
	}
	s.count(func(st *frameStats) { st.HandedOn++ })
	if text := m.Header.Get(micro.ErrorHeader); text != "" {
		return &Error{m.Header.Get(micro.ErrorCodeHeader), text}
	}
	return answer(publish.Message{Header: m.Header, Data: m.Data})
}
