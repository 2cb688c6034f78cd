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
	"github.com/cvfeeder/cvfeeder/publish/nats/interest"
	"github.com/cvfeeder/cvfeeder/source"
)

var _ publish.Delivery = (*Stored)(nil)

// StoredOverhead is the most bytes that publishing into a stream adds to the headers of
// a message: the stream's name, of up to 255 bytes, and a sequence.
const StoredOverhead = 352

// maxOnDisk is the size in bytes of the largest message that certainly fits a record of
// JetStream's files, which is at most 32 MiB.
const maxOnDisk = 32<<20 - 64<<10

// Conflict is a reason for [StoredOptions.OnRetry]: somebody else has published on the
// subject.
const Conflict = "conflict"

// aheadBy is how far the clocks of feeders may differ.
const aheadBy = 10 * time.Second

// patience is how long the mode "ring" retries a message that does not expire.
const patience = 10 * time.Second

// StoredOptions are the options of [NewStored].
type StoredOptions struct {
	// Stream describes the stream to publish into.
	Stream StreamOptions
	// Gaps says how gaps are announced.
	Gaps publish.GapMode
	// OnRetry is called for each failed attempt to publish a message, before the next
	// one. The reason is one of those of a [publish.DropError], or [Conflict]. It must
	// be quick, and safe for concurrent use. Default: none.
	OnRetry func(reason string, err error)
	// OnForeign is called when the last message on a subject is not one that this feeder, or
	// another with the same config, can have published. Such a message is ignored. It must
	// be quick, and safe for concurrent use. Default: none.
	OnForeign func(subject string)
	// Now returns the present, by the clock of the slots. Default: the host's.
	Now func() time.Time
}

// Stored publishes into a JetStream stream. It is the delivery of the modes "ring" and
// "durable". A message counts as delivered when the server has stored it. Until then
// it is published again, with the same id: into a [Ring] until the message is stale,
// into a [Durable] stream for as long as the caller waits, so that a full stream causes
// back-pressure.
//
// On each subject of a durable stream every slot is stored once, in order, even if there
// are several publishers: a message that is not newer than the subject's last one counts
// as delivered already. In a work queue, from which consumed messages are deleted, the
// last message may be gone. Then only the ids of the last ten minutes, and the saved
// cursor, prevent duplicates.
type Stored struct {
	conn    *dial.Conn
	opts    StoredOptions
	cfg     jetstream.StreamConfig
	durable bool
	gaps    announcer
	// Who listens.
	consumers *interest.Consumers
	asker     *interest.Asker
	// doubtful says that the stream may be gone: one in memory ends with its server.
	doubtful atomic.Bool

	mu       sync.Mutex
	subjects map[string]*subjectState
	remaking sync.Mutex // held while the stream is made again
	record   record     // mu guards it
}

// A subjectState is what is known of the last message on a subject.
type subjectState struct {
	writing sync.Mutex // held while a message is stored; guards the rest
	known   bool
	made    time.Time // when the stream was made that it was looked up in
	at      time.Time // when it was looked up
	epoch   uint64    // of the connection that it was looked up by
	marks   marks
	held    publish.Position // of the message that was found then
	lastMessage
}

// A lastMessage is the last message on a subject.
type lastMessage struct {
	seq     uint64 // 0 if there is no message
	pos     publish.Position
	gap     bool      // it announces a gap
	reached uint64    // the last sequence of the whole stream
	created time.Time // when the stream was made
	stored  time.Time // when it was stored
	foreign bool      // it is not one of ours
}

// A pending message is on its way into the stream.
type pending struct {
	publish.Message
	pos   publish.Position
	begun bool
	made  time.Time // when the stream of the first attempt was made
	since uint64    // the last sequence of that stream before the first attempt
}

// NewStored returns a delivery that uses a connection and lasts as long. It does not wait
// for a server. Call Open before any other method.
func NewStored(conn *dial.Conn, o StoredOptions) *Stored {
	if o.OnRetry == nil {
		o.OnRetry = func(string, error) {}
	}
	if o.OnForeign == nil {
		o.OnForeign = func(string) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Stored{conn: conn, opts: o, cfg: o.Stream.Config(), durable: o.Stream.Kind == Durable, subjects: map[string]*subjectState{}}
	s.consumers, s.asker = interest.NewConsumers(conn.Control(), s.cfg.Name), interest.New(conn.Control())
	s.gaps = announcer{mode: o.Gaps, control: conn.Control(), publish: s.Publish}
	return s
}

// Open waits for the connection and for JetStream, see [dial.Conn.Retry], and creates or
// checks the stream. An error that wraps [dial.ErrStream] says what is wrong with the
// stream, and what to do.
func (s *Stored) Open(ctx context.Context) error {
	js := s.conn.Control().JetStream()
	var stream jetstream.Stream
	err := s.conn.Retry(ctx, "JetStream stream "+s.cfg.Name, func(ctx context.Context) (err error) {
		stream, err = ensure(ctx, js, s.cfg)
		return err
	})
	if err != nil {
		return StreamError(ctx, js, s.cfg, err)
	}
	s.seen(stream.CachedInfo().Created)
	return nil
}

// Watched implements [publish.Delivery]. It returns true, because the stream listens.
func (s *Stored) Watched(string) bool { return true }

// Interest implements [publish.Delivery]. A consumer of the stream counts whether its reader
// is there or not; so do those who subscribe to the subject without JetStream.
func (s *Stored) Interest(ctx context.Context, subject string) (bool, error) {
	some, err := s.consumers.Some(ctx, subject)
	if err == nil && !some {
		some, err = s.asker.Listeners(ctx, subject, s.cfg.Name)
	}
	return some, unreached(err)
}

// Covered tells who listens to a subject, and whether another one would do: consumers of the
// stream, and those who subscribe without JetStream. See [interest.Asker.Covered].
func (s *Stored) Covered(ctx context.Context, subject, other, prefix string) (interest.Coverage, error) {
	found, err := s.consumers.Covered(ctx, subject, other, prefix)
	if err != nil || found.Others {
		return found, err
	}
	more, err := s.asker.Covered(ctx, subject, other, prefix, s.cfg.Name)
	return interest.Coverage{Some: found.Some || more.Some, Others: more.Others}, err
}

// Confirm implements [publish.Delivery]. Tensors are confirmed when Publish returns, so it
// only has to flush the events of gaps.
func (s *Stored) Confirm(ctx context.Context) error { return s.gaps.confirm(ctx) }

// Gap implements [publish.Delivery]. An event is sent over the control connection, at
// most once, and is not stored. An inline gap is stored like a tensor.
func (s *Stored) Gap(ctx context.Context, g publish.Gap, routes []publish.Route) error {
	return s.gaps.announce(ctx, g, routes)
}

// Publish implements [publish.Delivery]. It returns nil when the server has stored m, or
// has a message on the subject that is not older. A message that is larger than the
// server accepts is dropped at once. An error that is neither a [*publish.DropError] nor
// ctx's says that no message like m can ever be stored.
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
		limit = size.Limit // of the server that is connected now
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

// Last returns the last slot of a camera's stream that the JetStream stream holds on the
// subject of a route, and false if its last message there is none of them. It does not
// retry: see [dial.Conn.Retry].
func (s *Stored) Last(ctx context.Context, stream string, r publish.Route) (source.Slot, bool, error) {
	of := publish.Origin{Stream: stream, Output: r.Output.Name, Spec: r.Output.Fingerprint}
	last, err := s.last(ctx, s.conn.Data()[0].JetStream(), r.Subject, of, s.latest(0))
	return last.pos.Last, last.pos != publish.Position{}, err
}

// doubt takes a gap that reaches into the future, after latest, for what came before it:
// this feeder has told it while a clock was wrong.
func (last *lastMessage) doubt(latest source.Slot) {
	if !last.gap || last.pos.Last <= latest {
		return
	}
	before := last.pos.First - 1
	last.pos, last.gap = publish.Position{First: before, Last: before, Part: 1, Parts: 1}, false
	if before > latest {
		last.pos = publish.Position{}
	}
}

// last looks up the last message on a subject. Its position is zero if there is none, or
// if it is foreign: not of the given origin, or of a slot after latest. Whoever may publish
// on the subject could otherwise have any slot taken for delivered.
func (s *Stored) last(ctx context.Context, js jetstream.JetStream, subject string, of publish.Origin, latest source.Slot) (last lastMessage, err error) {
	stream, err := js.Stream(ctx, s.cfg.Name)
	if err != nil {
		return lastMessage{}, err
	}
	last.reached, last.created = stream.CachedInfo().State.LastSeq, stream.CachedInfo().Created
	m, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return last, nil
	}
	if err != nil {
		return lastMessage{}, err
	}
	last.seq, last.stored = m.Sequence, m.Time
	pos, err := publish.ParsePosition(m.Header)
	if last.foreign = err != nil || pos.Last > latest || !of.Owns(m.Header, pos); !last.foreign {
		last.pos, last.gap = pos, isGap(m.Header)
	}
	return last, nil
}

func isGap(header map[string][]string) bool { return len(header[publish.HeaderGap]) > 0 }

// Forget makes the next Publish on a subject look up the last message there, because
// somebody else may have published.
func (s *Stored) Forget(subject string) {
	t := s.state(subject)
	t.writing.Lock()
	defer t.writing.Unlock()
	t.known = false
}

func (s *Stored) state(subject string) *subjectState {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.subjects[subject]
	if t == nil {
		t = &subjectState{}
		s.subjects[subject] = t
	}
	return t
}

// try publishes a message once, unless the stream has it.
func (s *Stored) try(ctx context.Context, t *subjectState, p *pending) error {
	on := s.conn.DataFor(p.Message)
	js := on.JetStream()
	if err := on.Ready(); err != nil {
		t.known = false
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, on.WriteTimeout())
	defer cancel()
	if s.doubtful.Load() {
		if err := s.remake(ctx, js); err != nil {
			return err
		}
	}
	if !s.durable {
		_, err := s.put(ctx, on, p.Message)
		return err
	}
	for {
		if err := s.look(ctx, js, t, p, on.Reconnects()); err != nil {
			return err
		}
		if err := s.lost(t, p.Subject); err != nil {
			return err
		}
		t.doubt(s.latest(p.pos.First))
		if t.pos.AtOrAfter(p.pos) {
			return nil
		}
		if !p.begun || !p.made.Equal(t.made) {
			p.begun, p.made, p.since = true, t.made, t.reached
		}
		if err := s.append(ctx, on, t, p); err != nil {
			t.known = false // the message may be stored, or somebody else's may be
			return err
		}
	}
}

// remake makes sure that the stream is there. If it is gone, remake makes it again: the
// server may have lost its store, or somebody may have deleted the stream.
func (s *Stored) remake(ctx context.Context, js jetstream.JetStream) error {
	s.remaking.Lock()
	defer s.remaking.Unlock()
	if !s.doubtful.Load() {
		return nil
	}
	stream, err := findOrCreate(ctx, js, s.cfg)
	if err != nil {
		return err
	}
	s.seen(stream.CachedInfo().Created)
	s.doubtful.Store(false)
	return nil
}

// latest returns the latest slot that can have been published before the given one: media
// may have the time of a camera whose clock is ahead.
func (s *Stored) latest(slot source.Slot) source.Slot {
	return max(source.SlotAt(s.opts.Now()), slot).Add(aheadBy)
}

// append publishes the part of a message that is newer than the last one on the subject.
// If the server finds that the first slot of a gap was announced before, which it knows
// even if a consumer has removed that message, then the next call publishes the rest.
func (s *Stored) append(ctx context.Context, on *dial.DataConnection, t *subjectState, p *pending) error {
	m, pos, announced := p.Message, p.pos, t.pos.Last
	if t.pos.Part < t.pos.Parts {
		announced-- // some parts of that slot are missing
	}
	if pos.First <= announced && pos.Last > announced {
		gap, err := publish.ParseInlineGap(m.Header)
		if err != nil {
			return err
		}
		m = gap.Without(announced, m.Subject)
		if pos, err = publish.ParsePosition(m.Header); err != nil {
			return err
		}
	}
	var opts []jetstream.PublishOpt
	if s.opts.Stream.Limits {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(t.seq))
	}
	begun := s.recorded()
	ack, err := s.put(ctx, on, m, opts...)
	if err != nil {
		return err
	}
	if ack.Duplicate {
		if ack, pos, err = s.again(ctx, on, m, pos, p.since, ack, opts...); err != nil {
			return err
		}
	}
	t.at, t.reached = time.Now(), max(t.reached, ack.Sequence)
	if ack.Duplicate {
		t.known = false // there may be later messages
		t.pos, t.gap = pos, isGap(m.Header)
		return s.acknowledged(t, begun, ack, m.Subject, pos.First)
	}
	t.known, t.seq, t.pos, t.gap = true, ack.Sequence, pos, isGap(m.Header)
	return s.acknowledged(t, begun, ack, m.Subject, pos.First)
}

// again decides about a message that the server takes for a repeat of an earlier one. If
// that is a foreign message with the same identity, again publishes m under another one.
// Otherwise it returns the ack that there was, and the position of the earlier message,
// whose gap may be shorter: it may be from an earlier run, or of another feeder. An earlier
// message that is gone was consumed. Of one from before the first attempt, whose sequences
// end with since, only the first slot is certain then.
func (s *Stored) again(ctx context.Context, on *dial.DataConnection, m publish.Message, pos publish.Position, since uint64, ack *jetstream.PubAck, opts ...jetstream.PublishOpt) (*jetstream.PubAck, publish.Position, error) {
	stream, err := on.JetStream().Stream(ctx, s.cfg.Name)
	if err != nil {
		return nil, pos, err
	}
	earlier, err := stream.GetMsg(ctx, ack.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		if ack.Sequence <= since && pos.Last > pos.First {
			pos = publish.Position{First: pos.First, Last: pos.First, Part: 1, Parts: 1}
		}
		return ack, pos, nil
	}
	if err != nil {
		return nil, pos, err
	}
	if was, err := publish.ParsePosition(earlier.Header); err == nil && earlier.Subject == m.Subject && publish.OriginOf(m.Header).Owns(earlier.Header, was) {
		return ack, was, nil
	}
	s.opts.OnForeign(m.Subject)
	ack, err = s.put(ctx, on, publish.Renamed(m), opts...)
	return ack, pos, err
}

// put publishes a message and waits for the ack.
func (s *Stored) put(ctx context.Context, on *dial.DataConnection, m publish.Message, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	opts = append(opts, jetstream.WithExpectStream(s.cfg.Name), jetstream.WithRetryAttempts(0))
	// The client adds headers of its own.
	msg := &nats.Msg{Subject: m.Subject, Header: maps.Clone(m.Header), Data: m.Data}
	on.Sent() // so that a dead connection is noticed
	ack, err := on.JetStream().PublishMsg(ctx, msg, opts...)
	if err != nil {
		s.doubtful.Store(true)
		if errors.Is(err, nats.ErrMaxPayload) {
			on.DoubtLimit()
		}
		return nil, s.tooLarge(err, m, int(on.Client().MaxPayload()))
	}
	return ack, nil
}

// look looks up the last message on a subject if it is not known, or may have changed
// because somebody else has published.
func (s *Stored) look(ctx context.Context, js jetstream.JetStream, t *subjectState, p *pending, epoch uint64) error {
	begun := s.recorded()
	if t.known && t.epoch == epoch && time.Since(t.at) < dedupe/2 && t.made.Equal(begun.made) && t.marks.seen == len(begun.ends) {
		return nil
	}
	last, err := s.last(ctx, js, p.Subject, publish.OriginOf(p.Header), s.latest(p.pos.Last))
	if err != nil {
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			s.doubtful.Store(true)
		}
		return err
	}
	s.seen(last.created)
	s.reached(begun, last)
	if !t.made.Equal(last.created) {
		t.made, t.reached = last.created, 0
		t.marks = marks{seen: len(begun.ends)}
	}
	if last.foreign && last.seq != t.seq {
		s.opts.OnForeign(p.Subject)
	}
	t.seq, t.reached = last.seq, max(t.reached, last.reached)
	if !t.pos.AtOrAfter(last.pos) {
		t.pos, t.gap = last.pos, last.gap
	}
	if t.held = last.pos; last.seq > 0 && !last.foreign {
		t.marks.add(last.seq, last.pos.First)
	}
	t.known, t.at, t.epoch = true, time.Now(), epoch
	return nil
}

// tooLarge returns err as a [publish.DropError] if it says that m is too large to be
// stored. It is not if there has been a reconnect since, to a server that accepts it.
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
