package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
)

// Keeps tells whether what consumers have read is kept.
func (s *Stored) Keeps() bool { return s.opts.Stream.Limits }

// Held is what the JetStream stream holds of a camera's stream on one subject.
type Held struct {
	// First and Last are the first and the last slot; the last one is whole.
	First, Last source.Slot
	// Stored is when the last one was stored, by the server's clock.
	Stored time.Time
}

// Held returns what the JetStream stream holds of a camera's stream on the subject of a route,
// and false if its last message there is none of it. First is that of the last message if
// the first one is none of it. It does not retry: see [dial.Conn.Retry].
func (s *Stored) Held(ctx context.Context, stream string, r publish.Route) (Held, bool, error) {
	of := publish.Origin{Stream: stream, Output: r.Output.Name, Spec: r.Output.Fingerprint}
	js := s.conn.Data()[0].JetStream()
	last, err := s.last(ctx, js, r.Subject, of, s.latest(0))
	if err != nil || last.pos == (publish.Position{}) {
		return Held{}, false, err
	}
	held := Held{First: last.pos.First, Last: last.pos.Last, Stored: last.stored}
	if last.pos.Part < last.pos.Parts {
		held.Last-- // some parts of that slot are missing
	}
	in, err := js.Stream(ctx, s.cfg.Name)
	if err != nil {
		return Held{}, false, err
	}
	m, err := in.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(r.Subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return held, true, nil // consumed meanwhile
	}
	if err != nil {
		return Held{}, false, err
	}
	if pos, err := publish.ParsePosition(m.Header); err == nil && of.Owns(m.Header, pos) {
		held.First = min(pos.First, held.First)
	}
	return held, true, nil
}
