package deliver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
)

var _ publish.Delivery = (*Stored)(nil)

// StoredOverhead is the most that publishing into a stream adds to a message's
// headers, in bytes: the stream's name, of up to 255 bytes, and a sequence.
const StoredOverhead = 352

// maxOnDisk is the largest message, in bytes, that surely fits a record of
// JetStream's files, which are of up to 32 MiB.
const maxOnDisk = 32<<20 - 64<<10

// Conflict is a reason for [StoredOptions.OnRetry]: somebody else has published on
// the subject.
const Conflict = "conflict"

// patience is how long a message is tried for in the mode "ring" where it does not say
// itself when it is stale.
const patience = 10 * time.Second

// StoredOptions are those of [NewStored].
type StoredOptions struct {
	// Stream is what the tensors are published into.
	Stream StreamOptions
	// Gaps is how consumers are told of gaps.
	Gaps publish.GapMode
	// OnRetry is called for each attempt that did not succeed, with why a message has
	// to be published again: one of the reasons of a [publish.DropError], or
	// [Conflict]. It must be quick, and safe for concurrent use. Default: none.
	OnRetry func(reason string, err error)
}

// Stored publishes into a JetStream stream: the delivery of the modes "ring" and
// "durable". A message counts as delivered when the server has stored it. Until then
// it is published again, with the same id.
//
// Into a [Ring] that goes on until the message is stale. Into a [Durable] stream it
// goes on for as long as the caller waits: a stream that is full is the back-pressure.
// There each subject holds every slot once, in order, whoever publishes: what is not
// newer than the subject's last message is taken as delivered already. As the last
// message tells that, a work queue whose messages are consumed and gone has only the
// ids of the last ten minutes for it, and the saved cursor.
type Stored struct {
	conn    *dial.Conn
	opts    StoredOptions
	cfg     jetstream.StreamConfig
	durable bool
	gaps    announcer
	// doubtful: the stream may be gone. One in memory ends with its server.
	doubtful atomic.Bool

	mu    sync.Mutex
	tails map[string]*tail
}

// A tail is what is known of the end of a subject.
type tail struct {
	turn  sync.Mutex
	known bool
	at    time.Time // when it was learned
	epoch uint64    // the connection that it was learned by
	end
}

// An end is that of a subject.
type end struct {
	seq     uint64 // of the last message, 0 where there is none
	pos     publish.Position
	reached uint64 // by the sequences of the whole stream
}

// A pending message is one on its way into the stream.
type pending struct {
	publish.Message
	pos   publish.Position
	begun bool
	since uint64 // what the stream had reached before the first attempt
}

// NewStored returns the delivery over a connection. It lives as long as that, and does
// not wait for a server: that is for Open, which comes before all else.
func NewStored(conn *dial.Conn, o StoredOptions) *Stored {
	if o.OnRetry == nil {
		o.OnRetry = func(string, error) {}
	}
	s := &Stored{conn: conn, opts: o, cfg: o.Stream.Config(), durable: o.Stream.Kind == Durable, tails: map[string]*tail{}}
	s.gaps = announcer{mode: o.Gaps, control: conn.Control(), publish: s.Publish}
	return s
}

// Open waits for the connection and for JetStream, see [dial.Conn.Retry], and makes or
// checks the stream. An error that wraps [dial.ErrStream] says what is wrong with that,
// and what to do.
func (s *Stored) Open(ctx context.Context) error {
	js := s.conn.Control().JetStream()
	err := s.conn.Retry(ctx, "JetStream stream "+s.cfg.Name, func(ctx context.Context) error { return ensure(ctx, js, s.cfg) })
	if err != nil {
		return StreamError(ctx, js, s.cfg, err)
	}
	return nil
}

// Watched implements [publish.Delivery]. It is true: the stream listens.
func (s *Stored) Watched(string) bool { return true }

// Confirm implements [publish.Delivery]. Tensors are confirmed when Publish returns, so
// that it only has to flush what tells of gaps.
func (s *Stored) Confirm(ctx context.Context) error { return s.gaps.confirm(ctx) }

// Gap implements [publish.Delivery]. An event goes over the control connection, at most
// once, and is not stored; among the tensors, a gap is stored as they are.
func (s *Stored) Gap(ctx context.Context, g publish.Gap, routes []publish.Route) error {
	return s.gaps.announce(ctx, g, routes)
}

// Publish implements [publish.Delivery]: it returns nil when the server has stored m, or has something as new on the
// subject. The error is a [*publish.DropError] where the message was given up, at
// once where it is larger than the server takes, and ctx's where that ended first;
// any other says that no message like it can ever be stored.
func (s *Stored) Publish(ctx context.Context, m publish.Message) error {
	limit := s.conn.MaxPayload()
	if s.durable {
		limit = min(limit, maxOnDisk)
	}
	for {
		parts, err := s.conn.Split(m, limit-StoredOverhead)
		if err != nil {
			return err
		}
		err = s.storeAll(ctx, parts)
		var size *publish.SizeError
		if !s.conn.Splits() || !errors.As(err, &size) || size.Limit >= limit {
			return err
		}
		limit = size.Limit // of the server that the connection leads to by now
	}
}

func (s *Stored) storeAll(ctx context.Context, parts []publish.Message) error {
	for _, part := range parts {
		if err := s.store(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// store publishes one message until it is stored.
func (s *Stored) store(ctx context.Context, m publish.Message) error {
	pos, err := publish.ParsePosition(m.Header)
	if err != nil {
		return fmt.Errorf("message on subject %q: %w", m.Subject, err)
	}
	t := s.tail(m.Subject)
	t.turn.Lock()
	defer t.turn.Unlock()
	wait, begin := dial.MinRetry, time.Now()
	p := &pending{Message: m, pos: pos}
	for {
		err := s.try(ctx, t, p)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		reason, final := reasonOf(err)
		if final {
			return err
		}
		s.opts.OnRetry(reason, err)
		if !s.durable && stale(m, begin) {
			return drop(reason, err)
		}
		if !dial.Pause(ctx, wait) {
			return ctx.Err()
		}
		wait = min(2*wait, dial.MaxRetry)
	}
}

// Last returns the last slot that the stream holds on a subject, false where it
// holds no tensor. Trouble that passes is for [dial.Conn.Retry].
func (s *Stored) Last(ctx context.Context, subject string) (source.Slot, bool, error) {
	last, err := s.last(ctx, s.conn.Data()[0].JetStream(), subject)
	return last.pos.Last, last.pos != publish.Position{}, err
}

// last returns the end of a subject: the sequence and the place of its last message,
// zero where there is none, or it is none of ours.
func (s *Stored) last(ctx context.Context, js jetstream.JetStream, subject string) (last end, err error) {
	stream, err := js.Stream(ctx, s.cfg.Name)
	if err != nil {
		return end{}, err
	}
	last.reached = stream.CachedInfo().State.LastSeq
	m, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return last, nil
	}
	if err != nil {
		return end{}, err
	}
	last.seq = m.Sequence
	if pos, err := publish.ParsePosition(m.Header); err == nil {
		last.pos = pos
	}
	return last, nil
}

// Forget makes the end of a subject be looked at again before the next message, as
// somebody else may have published there.
func (s *Stored) Forget(subject string) {
	t := s.tail(subject)
	t.turn.Lock()
	defer t.turn.Unlock()
	t.known = false
}

func (s *Stored) tail(subject string) *tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tails[subject]
	if t == nil {
		t = &tail{}
		s.tails[subject] = t
	}
	return t
}

func stale(m publish.Message, begin time.Time) bool {
	if m.Expires.IsZero() {
		return time.Since(begin) >= patience
	}
	return !time.Now().Before(m.Expires)
}

// try publishes a message once, unless it is there already.
func (s *Stored) try(ctx context.Context, t *tail, p *pending) error {
	on := s.conn.DataFor(p.Message)
	js := on.JetStream()
	if err := on.Ready(); err != nil {
		t.known = false
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, on.WriteTimeout())
	defer cancel()
	if s.doubtful.Load() {
		if _, err := found(ctx, js, s.cfg); err != nil {
			return err
		}
		s.doubtful.Store(false)
	}
	if !s.durable {
		_, err := s.put(ctx, on, p.Message)
		return err
	}
	for {
		if err := s.look(ctx, js, t, p.Subject, on.Reconnects()); err != nil {
			return err
		}
		if t.pos.AtOrAfter(p.pos) {
			return nil
		}
		if !p.begun {
			p.begun, p.since = true, t.reached
		}
		if err := s.append(ctx, on, t, p); err != nil {
			t.known = false // it may be stored, or somebody else's may be
			return err
		}
	}
}

// append publishes what the end of the subject does not hold of a message. Of a gap
// whose first slot turns out to have been told of, which a work queue knows when it
// has been consumed, the next call does the rest.
func (s *Stored) append(ctx context.Context, on *dial.DataConnection, t *tail, p *pending) error {
	m, pos, told := p.Message, p.pos, t.pos.Last
	if t.pos.Part < t.pos.Parts {
		told-- // of that slot some parts are missing
	}
	if pos.First <= told && pos.Last > told {
		gap, err := publish.ParseInlineGap(m.Header)
		if err != nil {
			return err
		}
		m = gap.Without(told, m.Subject)
		if pos, err = publish.ParsePosition(m.Header); err != nil {
			return err
		}
	}
	var opts []jetstream.PublishOpt
	if s.opts.Stream.Limits {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(t.seq))
	}
	ack, err := s.put(ctx, on, m, opts...)
	if err != nil {
		return err
	}
	t.at, t.reached = time.Now(), max(t.reached, ack.Sequence)
	if ack.Duplicate {
		t.known = false // what came after it
		if ack.Sequence <= p.since && pos.Last > pos.First {
			// It is of an earlier run, and that gap may have been shorter.
			t.pos = publish.Position{First: pos.First, Last: pos.First, Part: 1, Parts: 1}
			return nil
		}
		t.pos = pos
		return nil
	}
	t.known, t.seq, t.pos = true, ack.Sequence, pos
	return nil
}

// put publishes a message and waits for its acknowledgement.
func (s *Stored) put(ctx context.Context, on *dial.DataConnection, m publish.Message, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	opts = append(opts, jetstream.WithExpectStream(s.cfg.Name), jetstream.WithRetryAttempts(0))
	// The client adds headers of its own.
	msg := &nats.Msg{Subject: m.Subject, Header: maps.Clone(m.Header), Data: m.Data}
	on.Sent() // finds out where the connection is dead
	ack, err := on.JetStream().PublishMsg(ctx, msg, opts...)
	if err != nil {
		s.doubtful.Store(true)
		return nil, s.tooLarge(err, m, int(on.Client().MaxPayload()))
	}
	return ack, nil
}

// look learns the end of a subject where it is not known, or may not be any more:
// somebody else may have published there.
func (s *Stored) look(ctx context.Context, js jetstream.JetStream, t *tail, subject string, epoch uint64) error {
	if t.known && t.epoch == epoch && time.Since(t.at) < dedupe/2 {
		return nil
	}
	last, err := s.last(ctx, js, subject)
	if err != nil {
		return err
	}
	t.seq, t.reached = last.seq, max(t.reached, last.reached)
	if !t.pos.AtOrAfter(last.pos) {
		t.pos = last.pos
	}
	t.known, t.at, t.epoch = true, time.Now(), epoch
	return nil
}

// tooLarge returns err as a [publish.DropError] where it says that m will not fit
// however often it is tried. It does fit where the connection has been made anew
// since, to a server that takes more.
func (s *Stored) tooLarge(err error, m publish.Message, limit int) error {
	var api *jetstream.APIError
	switch size := publish.Size(m) + StoredOverhead; {
	case errors.Is(err, nats.ErrMaxPayload) && size > limit:
		return drop(publish.DropTooLarge, &publish.SizeError{Size: size, Limit: limit})
	case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum ||
		api.ErrorCode == codeStoreFailed && (strings.Contains(api.Description, "too large") || s.cfg.MaxBytes > 0 && int64(size) > s.cfg.MaxBytes)):
		return drop(publish.DropTooLarge, fmt.Errorf("the JetStream stream takes no message of %d bytes: %w", size, err))
	}
	return err
}

// reasonOf names the reason of an error for metrics, and tells whether trying again
// makes no sense.
func reasonOf(err error) (reason string, final bool) {
	var dropped *publish.DropError
	var api *jetstream.APIError
	switch {
	case errors.As(err, &dropped):
		return dropped.Reason, dropped.Reason == publish.DropTooLarge || dropped.Reason == publish.DropClosed
	case errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrBadHeaderMsg):
		return "", true
	case errors.Is(err, nats.ErrMaxPayload):
		return publish.DropTooLarge, false
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return publish.DropSlow, false
	case dial.IsConflict(err):
		return Conflict, false
	case errors.As(err, &api):
		switch {
		case api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, "maximum"), api.ErrorCode == codeNoStorage, api.ErrorCode == codeNoResources:
			return publish.DropFull, false
		}
		return publish.DropRefused, false
	}
	return publish.DropDisconnected, false
}
