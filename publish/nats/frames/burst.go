package frames

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

// BurstSubject is that of requests for bursts.
const BurstSubject = "cvf.svc.burst"

// asksHeader tells what is asked for on the subject of a stream, if it is not a frame.
const (
	asksHeader = "Cvf-Asks"
	asksBurst  = "burst"
)

// A BurstRequest asks for a denser look at a stream. What is nil is as the config says.
type BurstRequest struct {
	Stream string
	// Time is the instant that something happened; zero is now.
	Time                    time.Time
	Before, After, Interval *time.Duration
	// Reason is for the log and the page.
	Reason string
}

// A BurstAnswer says what became of a request for a burst. It is sent as JSON.
type BurstAnswer struct {
	// Burst is the value of the header Cvf-Burst of its messages.
	Burst  string `json:"burst"`
	Stream string `json:"stream"`
	// From is its first slot, To the first after its last.
	From     string `json:"from"`
	To       string `json:"to"`
	Interval string `json:"interval"`
	// Slots is how many it has, those included that the stream publishes itself.
	Slots int `json:"slots"`
	// Joined says that another request had begun it.
	Joined bool `json:"joined"`
}

const burstExample = `{"stream": "cam-1", "time": "2026-01-02T03:04:05Z", "before": "5s", "after": "10s"}`

// burstJSON is a request as it is sent.
type burstJSON struct {
	Stream   string `json:"stream"`
	Time     string `json:"time,omitempty"`
	Before   string `json:"before,omitempty"`
	After    string `json:"after,omitempty"`
	Interval string `json:"interval,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

func parseBurstRequest(data []byte) (BurstRequest, error) {
	var j burstJSON
	if err := parseRequest(data, &j, burstExample); err != nil {
		return BurstRequest{}, err
	}
	r := BurstRequest{Stream: j.Stream, Reason: sanitize.Text(j.Reason)}
	if r.Stream == "" {
		return BurstRequest{}, badRequest("stream is missing: a request is like %s", burstExample)
	}
	if j.Time != "" {
		at, err := source.ParseSlot(j.Time)
		if err != nil {
			return BurstRequest{}, badRequest("time %.40q is not in RFC 3339, like 2026-01-02T03:04:05.200Z, or not between 1970 and 2199", j.Time)
		}
		r.Time = at.Time()
	}
	for _, part := range []struct {
		name, text string
		to         **time.Duration
	}{{"before", j.Before, &r.Before}, {"after", j.After, &r.After}, {"interval", j.Interval, &r.Interval}} {
		if part.text == "" {
			continue
		}
		d, err := time.ParseDuration(part.text)
		if err != nil {
			return BurstRequest{}, badRequest(`%s %.40q is not a duration like "5s" or "200ms"`, part.name, part.text)
		}
		*part.to = &d
	}
	return r, nil
}

// json returns a request as it is sent.
func (r BurstRequest) json() ([]byte, error) {
	j := burstJSON{Stream: r.Stream, Reason: r.Reason}
	if !r.Time.IsZero() {
		j.Time = r.Time.UTC().Format(time.RFC3339Nano)
	}
	for to, d := range map[*string]*time.Duration{&j.Before: r.Before, &j.After: r.After, &j.Interval: r.Interval} {
		if d != nil {
			*to = d.String()
		}
	}
	return json.Marshal(j)
}

// burstEndpoint is the endpoint of requests for bursts.
func (s *service) burstEndpoint(ctx context.Context) *endpoint {
	return &endpoint{
		name: "burst", subject: BurstSubject, queue: micro.DefaultQueueGroup,
		request: `{"stream": …, "time": RFC 3339, "before": "5s", "after": "10s", "interval": "200ms", "reason": …}`,
		handle: func(m *nats.Msg) error {
			err := s.burst(ctx, m, askerOf(m.Reply), true)
			if err != nil {
				s.refuse(m.Reply, err)
			}
			return err
		},
	}
}

// burst answers a request for a burst at once, unless another cvfeeder has the stream and mayForward
// is set. Then a goroutine asks that one.
func (s *service) burst(ctx context.Context, m *nats.Msg, asker string, mayForward bool) error {
	if s.opts.Burst == nil {
		return &Error{Code: CodeNotFound, Text: "this cvfeeder takes no bursts"}
	}
	if err := s.bursts.Take(asker); err != nil {
		return err
	}
	r, err := parseBurstRequest(m.Data)
	if err != nil {
		return err
	}
	if !mayForward || s.local == nil || !s.local.elsewhere(r.Stream) {
		return s.burstHere(r, m.Reply)
	}
	reply := m.Reply
	return s.later(ctx, reply, func(ctx context.Context) error { return s.forwardBurst(ctx, r, asker, reply) })
}

// burstHere has this process begin a burst.
func (s *service) burstHere(r BurstRequest, reply string) error {
	begun, err := s.opts.Burst(r)
	if err != nil {
		return err
	}
	return s.say(reply, begun)
}

// forwardBurst has the cvfeeder that has the stream begin a burst, and answers with its answer.
func (s *service) forwardBurst(ctx context.Context, r BurstRequest, asker, reply string) error {
	request, err := r.json()
	if err != nil {
		return err
	}
	m, err := s.askOwner(ctx, r.Stream, request, nats.Header{askerHeader: {asker}, asksHeader: {asksBurst}})
	switch {
	case errors.Is(err, errNoOwner), errors.Is(err, nats.ErrNoResponders):
		return s.burstHere(r, reply) // whose error lists the streams
	case err != nil:
		return err
	}
	s.opts.Observe(Forwarded)
	s.count(func(st *frameStats) { st.HandedOn++ })
	if text := m.Header.Get(micro.ErrorHeader); text != "" {
		return &Error{Code: m.Header.Get(micro.ErrorCodeHeader), Text: text}
	}
	return s.on.Publish(publish.Message{Subject: reply, Data: m.Data}, "")
}
