package frames

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/internal/sanitize"
)

// The service speaks the protocol of the package micro of nats.go, but does not use its
// implementation: that sends its answers to whatever subject a request asks for, those to
// $SRV included. See publish.AllowsReply.

// A microService is the service's endpoints, and its answers to the questions of $SRV.
type microService struct {
	identity  micro.ServiceIdentity
	started   time.Time
	client    *nats.Conn
	endpoints []*endpoint
	subs      []*nats.Subscription
	// allows tells whether an answer may be sent to a subject.
	allows func(reply string) bool
}

// An endpoint handles the requests on a subject.
type endpoint struct {
	name, subject string
	queue         string // "" where every cvfeeder answers
	request       string // what a request is like, for people
	// handle answers a request, or returns why it was refused.
	handle func(*nats.Msg) error
	// data, if set, returns what to add to the statistics.
	data func() any

	mu    sync.Mutex
	stats micro.EndpointStats
}

// begin subscribes for the endpoints and for $SRV.
func (s *microService) begin() error {
	s.started = time.Now().UTC()
	s.identity.ID = rand.Text()
	for _, e := range s.endpoints {
		if err := s.subscribe(e.subject, e.queue, func(m *nats.Msg) { s.serve(e, m) }); err != nil {
			return errors.Join(err, s.stop())
		}
	}
	for verb, answer := range map[micro.Verb]func() any{
		micro.PingVerb:  func() any { return micro.Ping{ServiceIdentity: s.identity, Type: micro.PingResponseType} },
		micro.InfoVerb:  func() any { return s.info() },
		micro.StatsVerb: func() any { return s.statistics() },
	} {
		if err := s.subscribeVerb(verb, answer); err != nil {
			return errors.Join(err, s.stop())
		}
	}
	return nil
}

// subscribeVerb answers a question that may be put to all services, to those of this name,
// or to this one.
func (s *microService) subscribeVerb(verb micro.Verb, answer func() any) error {
	for _, to := range [][2]string{{"", ""}, {s.identity.Name, ""}, {s.identity.Name, s.identity.ID}} {
		subject, err := micro.ControlSubject(verb, to[0], to[1])
		if err != nil {
			return err
		}
		err = s.subscribe(subject, "", func(m *nats.Msg) {
			data, err := json.Marshal(answer())
			if err != nil {
				data = fmt.Appendf(nil, "%q", err)
			}
			_ = m.Respond(data) // fails only with the connection
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// subscribe has f handle the requests on a subject that can be answered. Others are not
// even looked at: there is nobody to tell.
func (s *microService) subscribe(subject, queue string, f func(*nats.Msg)) error {
	handle := func(m *nats.Msg) {
		if s.allows(m.Reply) {
			f(m)
		}
	}
	var sub *nats.Subscription
	var err error
	if queue == "" {
		sub, err = s.client.Subscribe(subject, handle)
	} else {
		sub, err = s.client.QueueSubscribe(subject, queue, handle)
	}
	if err == nil {
		s.subs = append(s.subs, sub)
	}
	return err
}

// serve has an endpoint handle a request.
func (s *microService) serve(e *endpoint, m *nats.Msg) {
	begin := time.Now()
	err := e.handle(m)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.NumRequests++
	e.stats.ProcessingTime += time.Since(begin)
	if err != nil {
		e.stats.NumErrors++
		e.stats.LastError = sanitize.Text(err.Error())
	}
}

// stop ends the subscriptions, after the requests that have arrived were handled.
func (s *microService) stop() error {
	var errs []error
	for _, sub := range s.subs {
		if err := sub.Drain(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *microService) info() micro.Info {
	info := micro.Info{
		ServiceIdentity: s.identity, Type: micro.InfoResponseType,
		Description: "Frames of Kinesis Video Streams as tensors",
	}
	for _, e := range s.endpoints {
		info.Endpoints = append(info.Endpoints, micro.EndpointInfo{
			Name: e.name, Subject: e.subject, QueueGroup: e.queue, Metadata: map[string]string{"request": e.request},
		})
	}
	return info
}

func (s *microService) statistics() micro.Stats {
	stats := micro.Stats{ServiceIdentity: s.identity, Type: micro.StatsResponseType, Started: s.started}
	for _, e := range s.endpoints {
		e.mu.Lock()
		of := e.stats
		e.mu.Unlock()
		of.Name, of.Subject, of.QueueGroup = e.name, e.subject, e.queue
		if of.NumRequests > 0 {
			of.AverageProcessingTime = of.ProcessingTime / time.Duration(of.NumRequests)
		}
		if e.data != nil {
			if data, err := json.Marshal(e.data()); err == nil {
				of.Data = data
			}
		}
		stats.Endpoints = append(stats.Endpoints, &of)
	}
	return stats
}
