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

var _ publish.Publisher = (*Stored)(nil)

// StoredOverhead is the most that publishing into a stream adds to a message's
// headers, in bytes: the stream's name, of up to 255 bytes, and a sequence.
const StoredOverhead = 352

// maxOnDisk is the largest message, in bytes, that surely fits a record of
// JetStream's files, which are of up to 32 MiB.
const maxOnDisk = 32<<20 - 64<<10

// Conflict is a reason for [StreamOptions.OnRetry]: somebody else has published on
// the subject.
const Conflict = "conflict"

// patience is how long a message is tried for in the mode "ring" where it does not say
// itself when it is stale.
const patience = 10 * time.Second

// Stored publishes into a JetStream stream: the publisher of the delivery modes
// "ring" and "durable". A message counts as delivered when the server has stored
// it. Until then it is published again, with the same id.
//
// In the mode "ring" that goes on until the message is stale. In the mode "durable"
// it goes on for as long as the caller waits: a stream that is full is the
// back-pressure. There each subject holds every slot once, in order, whoever
// publishes: what is not newer than the subject's last message is taken as
// delivered already. As the last message tells that, a work queue whose messages
// are consumed and gone has only the ids of the last ten minutes for it, and the
// saved cursor.
type Stored struct {
	conn    *dial.Conn
	opts    StreamOptions
	cfg     jetstream.StreamConfig
	durable bool
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

// Ring returns the publisher of the delivery mode "ring". It waits for the
// connection and for JetStream, see [dial.Conn.Retry], and makes or checks the stream.
// An error that wraps [dial.ErrStream] says what is wrong with that, and what to do.
func Ring(ctx context.Context, conn *dial.Conn, o StreamOptions) (*Stored, error) {
	o = o.withDefaults()
	return open(ctx, conn, o, o.RingConfig(), false)
}

// Durable returns the publisher of the delivery mode "durable". It waits and checks
// as Ring does.
func Durable(ctx context.Context, conn *dial.Conn, o StreamOptions) (*Stored, error) {
	o = o.withDefaults()
	return open(ctx, conn, o, o.DurableConfig(), true)
}

func open(ctx context.Context, conn *dial.Conn, o StreamOptions, cfg jetstream.StreamConfig, durable bool) (*Stored, error) {
	js := conn.Control().JetStream()
	err := conn.Retry(ctx, "JetStream stream "+cfg.Name, func(ctx context.Context) error { return ensure(ctx, js, cfg) })
	if err != nil {
		return nil, StreamError(ctx, js, cfg, err)
	}
	return &Stored{conn: conn, opts: o, cfg: cfg, durable: durable, tails: map[string]*tail{}}, nil
}

// Publish returns nil when the server has stored m, or has something as new on the
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
	stream, err := js.Stream(ctx, s.opts.Name)
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
	if !on.Connected() {
		t.known = false
		return drop(publish.DropDisconnected, dial.ErrNotConnected)
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
	if s.opts.Limits {
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
	opts = append(opts, jetstream.WithExpectStream(s.opts.Name), jetstream.WithRetryAttempts(0))
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
		return dropped.Reason, dropped.Reason == publish.DropTooLarge
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
