package consume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// burstSubject is that of requests for bursts.
const burstSubject = "cvf.svc.burst"

// answerWait is how long a request waits for its answer, unless ctx ends before.
const answerWait = 10 * time.Second

// A BurstRequest asks for the frames around an instant, closer together than those of the
// stream. What is left out is as the stream's config says.
type BurstRequest struct {
	Stream string
	// Time is the instant at which something happened. Default: now.
	Time time.Time
	// Before and After are how long before and after it the burst begins and ends. Only a
	// negative one is left out, if the other is not zero; both are if both are zero.
	Before, After time.Duration
	// Interval is the time between two slots. Default: that of the config.
	Interval time.Duration
	// Reason is for the log and the status page.
	Reason string
}

// A Burst is one that has been asked for, with all that others have asked for around the same
// time. Its tensors come on the stream's subjects: see [publish.Envelope.Burst].
type Burst struct {
	ID, Stream string
	// From is its first slot, To the first after its last.
	From, To time.Time
	Interval time.Duration
	// Slots is how many it has, those included that the stream publishes itself.
	Slots int
	// Joined says that another request had begun it.
	Joined bool
}

// A BurstError is why a request for a burst was refused.
type BurstError struct {
	// Code is one of HTTP: 400 for what the stream does not allow, 404 for a stream that nobody
	// has, 429 for too many requests.
	Code, Text string
}

// Error implements error.
func (e *BurstError) Error() string { return e.Text }

// AskBurst asks a running cvfeeder for a burst, over a connection of its own, and returns when it
// has begun. The error is a [*BurstError] if it was refused; it is [nats.ErrNoResponders] if
// no cvfeeder is there.
func AskBurst(ctx context.Context, o dial.Options, r BurstRequest) (Burst, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	conn, err := dial.Connect(o, "burst")
	if err != nil {
		return Burst{}, err
	}
	defer conn.Close()
	if err := conn.WaitConnected(ctx); err != nil {
		return Burst{}, err
	}
	request, err := json.Marshal(r.fields())
	if err != nil {
		return Burst{}, err
	}
	m, err := conn.Client().RequestWithContext(ctx, burstSubject, request)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return Burst{}, fmt.Errorf("no cvfeeder answers on %s: %w", burstSubject, err)
	case err != nil:
		return Burst{}, fmt.Errorf("no answer on %s: %w", burstSubject, err)
	}
	if text := m.Header.Get(micro.ErrorHeader); text != "" {
		return Burst{}, &BurstError{m.Header.Get(micro.ErrorCodeHeader), text}
	}
	return parseBurst(m.Data)
}

// fields are the request as it is sent.
func (r BurstRequest) fields() map[string]string {
	f := map[string]string{"stream": r.Stream}
	set := func(name, value string, given bool) {
		if given {
			f[name] = value
		}
	}
	some := r.Before != 0 || r.After != 0
	set("time", r.Time.UTC().Format(time.RFC3339Nano), !r.Time.IsZero())
	set("before", r.Before.String(), some && r.Before >= 0)
	set("after", r.After.String(), some && r.After >= 0)
	set("interval", r.Interval.String(), r.Interval != 0)
	set("reason", r.Reason, r.Reason != "")
	return f
}

func parseBurst(data []byte) (Burst, error) {
	var answer struct {
		Burst    string    `json:"burst"`
		Stream   string    `json:"stream"`
		From     time.Time `json:"from"`
		To       time.Time `json:"to"`
		Interval string    `json:"interval"`
		Slots    int       `json:"slots"`
		Joined   bool      `json:"joined"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return Burst{}, fmt.Errorf("the answer on %s is not understood: %w", burstSubject, err)
	}
	interval, err := time.ParseDuration(answer.Interval)
	if err != nil {
		return Burst{}, fmt.Errorf("the answer on %s is not understood: interval: %w", burstSubject, err)
	}
	return Burst{
		ID: answer.Burst, Stream: answer.Stream, From: answer.From, To: answer.To,
		Interval: interval, Slots: answer.Slots, Joined: answer.Joined,
	}, nil
}
