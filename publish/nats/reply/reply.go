// Package reply streams messages to one requester over core NATS, with flow control: a
// [Reply] is a [publish.Delivery] to the reply subject of a request.
//
//	ctx, r, err := reply.Open(ctx, on, reply.Options{Subject: m.Reply, Credit: 8})
//	if err != nil {
//		return err
//	}
//	err = work(ctx, r) // publishes; the context ends when the requester is gone
//	return r.End(reply.Summary{Images: 12}, failureOf(err))
//
// The requester gives credit on a subject of the reply's own, by saying how many messages it
// has read. No more than Options.Credit messages and [MaxUnread] bytes are on their way to it,
// so a slow one slows the work, and one that has gone is noticed within seconds. Messages are
// numbered, since core NATS may lose some: who misses a number knows it. The format is in
// docs/consumers.md.
package reply

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// What a requester grants and how it is granted.
const (
	// ControlPrefix begins the subjects on which requesters give credit.
	ControlPrefix = "cvf.svc.credit."
	// MaxCredit is the largest credit, in messages.
	MaxCredit = 64
	// DefaultCredit is the credit of who asks for none.
	DefaultCredit = 8
	// MaxUnread is how many bytes may be on their way to a requester. A message that is
	// larger goes alone.
	MaxUnread = 32 << 20
)

// The defaults of [Options].
const (
	defaultSilence = 10 * time.Second
	defaultStall   = 5 * time.Minute
	defaultIdle    = 5 * time.Minute
	defaultAlive   = 2 * time.Second
)

const (
	maxGrant = 256 // bytes of a message that gives credit
	// ownHeaders is what the headers of a reply take of a message, at most.
	ownHeaders = 128
)

// Why the context of a [Reply] ends before the work does.
var (
	// ErrGone: the requester has left, or says nothing any more.
	ErrGone = errors.New("the requester is gone")
	// ErrCancelled: the requester wants no more.
	ErrCancelled = errors.New("the requester has cancelled")
	// ErrStalled: the requester is there, but reads nothing.
	ErrStalled = errors.New("the requester reads nothing")
	// ErrIdle: there was nothing to send for long.
	ErrIdle  = errors.New("there was nothing to send")
	errEnded = errors.New("the reply has ended")
)

// Options configure a [Reply].
type Options struct {
	// Subject is where the messages go. The caller has checked it: see
	// [publish.AllowsReply].
	Subject string
	// Credit is how many messages the requester can take before it has read one, at most
	// [MaxCredit]. Default: [DefaultCredit].
	Credit int
	// Split, if set, returns the parts of a message that is larger than the limit in bytes.
	// Default: such a message is an error.
	Split func(m publish.Message, limit int) ([]publish.Message, error)
	// Open is what the first message says besides.
	Open Summary
	// Silence is after how long a requester is gone that says nothing. Default: 10s.
	Silence time.Duration
	// Stall is how long a requester may take to read a message. Default: 5m.
	Stall time.Duration
	// Idle is how long there may be nothing to send. Default: 5m.
	Idle time.Duration
	// Alive is after how long without a message the requester is told that the work goes on.
	// Default: 2s.
	Alive time.Duration
}

// A Failure is why a reply has ended early, with a code as those of HTTP.
type Failure struct{ Code, Text string }

// A Summary is what the first and the last message say.
type Summary struct {
	// Slots is how many slots the reply will have. In the last message it is counted.
	Slots int
	// Images is how many images the reply may cost, or has cost.
	Images int
}

// A Reply delivers messages to one requester, whatever their subjects, in the order of the
// calls. It announces gaps inline. Its methods are safe for concurrent use.
type Reply struct {
	on       *dial.DataConnection
	opts     Options
	id       string
	done     <-chan struct{} // closed when the work has to end
	cause    func() error    // why
	stop     context.CancelCauseFunc
	sub      *nats.Subscription
	watching sync.WaitGroup
	// turn holds a value while a message that counts is sent, which can take its time. The
	// turn of the connection is taken for each write only, and numbers are given within it.
	turn chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed when credit was given
	sizes   []int         // of the messages that were not read
	unread  int           // the sum of sizes
	sent    uint64        // the number of the last message
	read    uint64        // that of the last one that was read
	last    time.Time     // when something was sent
	heard   time.Time     // when the requester said something
	moved   time.Time     // when it read something, or got something after it had read all
	slots   int
	tensors int
}

var _ publish.Delivery = (*Reply)(nil)

// Open begins a reply over a connection: it listens for credit, and sends the first message.
// The caller calls End. The context that it returns is for the work: it ends with ctx, or when
// the requester is gone, has cancelled or reads nothing, which is its cause.
func Open(ctx context.Context, on *dial.DataConnection, o Options) (context.Context, *Reply, error) {
	o = o.withDefaults()
	now := time.Now()
	r := &Reply{
		on: on, opts: o, id: rand.Text(), turn: make(chan struct{}, 1), changed: make(chan struct{}),
		last: now, heard: now, moved: now,
	}
	var err error
	work, stop := context.WithCancelCause(ctx)
	r.done, r.cause, r.stop = work.Done(), func() error { return context.Cause(work) }, stop
	if r.sub, err = on.Client().Subscribe(r.control(), r.grant); err != nil {
		stop(err)
		return nil, nil, fmt.Errorf("listening for credit: %w", err)
	}
	if err := r.tell(ctx, publish.RangeOpen, o.Open, 0, nil); err != nil {
		stop(err)
		return nil, nil, errors.Join(err, r.sub.Unsubscribe())
	}
	r.watching.Go(func() { r.watch(work) })
	return work, r, nil
}

func (o Options) withDefaults() Options {
	for value, other := range map[*time.Duration]time.Duration{
		&o.Silence: defaultSilence, &o.Stall: defaultStall, &o.Idle: defaultIdle, &o.Alive: defaultAlive,
	} {
		if *value <= 0 {
			*value = other
		}
	}
	if o.Credit <= 0 {
		o.Credit = DefaultCredit
	}
	o.Credit = min(o.Credit, MaxCredit)
	return o
}

// control returns the subject on which the requester gives credit.
func (r *Reply) control() string { return ControlPrefix + r.id }

// grant takes a message of the requester.
func (r *Reply) grant(m *nats.Msg) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		r.stop(ErrGone) // the server: nobody listens to the reply subject
		return
	}
	var g struct {
		Read   uint64 `json:"read"`
		Cancel bool   `json:"cancel"`
	}
	if len(m.Data) > maxGrant || json.Unmarshal(m.Data, &g) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if g.Read > r.sent {
		return // of another reply, or made up
	}
	now := time.Now()
	r.heard = now
	if n := g.Read - min(r.read, g.Read); n > 0 {
		for _, size := range r.sizes[:n] {
			r.unread -= size
		}
		r.sizes = r.sizes[n:]
		r.read, r.moved = g.Read, now
		close(r.changed)
		r.changed = make(chan struct{})
	}
	if g.Cancel {
		r.stop(ErrCancelled)
	}
}

// watch ends the work when the requester is gone, and tells it now and then that the work
// goes on.
func (r *Reply) watch(ctx context.Context) {
	tick := time.NewTicker(r.opts.Alive / 2)
	defer tick.Stop()
	for {
		select {
		case <-r.done:
			return
		case now := <-tick.C:
			r.mu.Lock()
			silent, stalled, quiet := now.Sub(r.heard), now.Sub(r.moved), now.Sub(r.last)
			waits := len(r.sizes) > 0
			r.mu.Unlock()
			switch {
			case silent > r.opts.Silence:
				r.stop(fmt.Errorf("%w: it has said nothing for %v", ErrGone, silent.Round(time.Millisecond)))
			case waits && stalled > r.opts.Stall:
				r.stop(fmt.Errorf("%w: for %v", ErrStalled, stalled.Round(time.Millisecond)))
			case !waits && stalled > r.opts.Idle:
				r.stop(fmt.Errorf("%w for %v", ErrIdle, stalled.Round(time.Millisecond)))
			case quiet >= r.opts.Alive:
				_ = r.tell(ctx, publish.RangeAlive, Summary{}, 0, nil) // or the next one
			}
		}
	}
}

// tell sends a message that is about the reply.
func (r *Reply) tell(ctx context.Context, state string, s Summary, tensors int, failed *Failure) error {
	h := map[string][]string{publish.HeaderVersion: {publish.Version}, publish.HeaderRangeState: {state}}
	if state != publish.RangeAlive {
		h[publish.HeaderRangeSlots], h[publish.HeaderRangeImages] = []string{strconv.Itoa(s.Slots)}, []string{strconv.Itoa(s.Images)}
	}
	if state == publish.RangeEnd {
		h[publish.HeaderRangeTensors] = []string{strconv.Itoa(tensors)}
	}
	if failed != nil {
		h[micro.ErrorHeader], h[micro.ErrorCodeHeader] = []string{failed.Text}, []string{failed.Code}
	}
	return r.write(ctx, publish.Message{Header: h}, false)
}

// Publish implements [publish.Delivery]. It waits for credit. If the requester is gone, the
// error is a [*publish.DropError] and the context of the reply has ended. It is a
// [*publish.SizeError] if the message is larger than the server takes.
//
// A late tensor, whose slot was told as a gap, is left out, since newer ones came before it.
func (r *Reply) Publish(ctx context.Context, m publish.Message) error {
	if len(m.Header[publish.HeaderLate]) > 0 {
		return r.over(ctx)
	}
	if err := r.send(ctx, m); err != nil {
		return err
	}
	r.count(1, 1)
	return nil
}

// Gap implements [publish.Delivery].
func (r *Reply) Gap(ctx context.Context, g publish.Gap, routes []publish.Route) error {
	for _, route := range routes {
		if err := r.send(ctx, publish.NewInlineGap(r.opts.Subject, g, route.Output)); err != nil {
			return err
		}
	}
	r.count(g.Slots, 0)
	return nil
}

func (r *Reply) count(slots, tensors int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slots, r.tensors = r.slots+slots, r.tensors+tensors
}

// Confirm implements [publish.Delivery].
func (r *Reply) Confirm(ctx context.Context) error { return r.on.Flush(ctx) }

// Watched implements [publish.Delivery].
func (r *Reply) Watched(string) bool { return r.cause() == nil }

// Interest implements [publish.Delivery].
func (r *Reply) Interest(ctx context.Context, _ string) (bool, error) {
	return r.cause() == nil, ctx.Err()
}

// End tells the requester that the reply has ended, and why unless all is done; it says how
// many slots there were and, by s, what they cost. What is published afterwards is dropped. The
// error says that the message could not be sent; a requester that is gone gets none.
func (r *Reply) End(s Summary, failed *Failure) error {
	gone := errors.Is(r.cause(), ErrGone)
	r.stop(errEnded)
	r.watching.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), r.on.WriteTimeout())
	defer cancel()
	if err := r.begin(ctx); err != nil {
		return err
	}
	defer r.end()
	var err error
	if !gone {
		r.mu.Lock()
		s.Slots = r.slots
		tensors := r.tensors
		r.mu.Unlock()
		err = r.tell(ctx, publish.RangeEnd, s, tensors, failed)
	}
	if ended := r.sub.Unsubscribe(); ended != nil && !errors.Is(ended, nats.ErrConnectionClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// send sends a message that counts, or its parts, each when there is credit for it.
func (r *Reply) send(ctx context.Context, m publish.Message) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	defer r.end()
	parts, limit := []publish.Message{m}, r.on.MaxPayload()-ownHeaders
	if r.opts.Split != nil {
		var err error
		if parts, err = r.opts.Split(m, limit); err != nil {
			return err
		}
	} else if err := publish.CheckSize(publish.Size(m), limit); err != nil {
		return err
	}
	for _, part := range parts {
		if err := r.wait(ctx, publish.Size(part)); err != nil {
			return err
		}
		part.Header = maps.Clone(part.Header)
		if part.Header == nil {
			part.Header = map[string][]string{}
		}
		if err := r.write(ctx, part, true); err != nil {
			if ctx.Err() == nil {
				r.stop(fmt.Errorf("a message could not be sent: %w", err)) // so nothing that follows is of use
			}
			return err
		}
	}
	return nil
}

// wait waits for credit.
func (r *Reply) wait(ctx context.Context, size int) error {
	for {
		r.mu.Lock()
		room := len(r.sizes) < r.opts.Credit && (len(r.sizes) == 0 || r.unread+size <= MaxUnread)
		changed := r.changed
		r.mu.Unlock()
		if room {
			return r.over(ctx)
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-r.done:
		}
		if err := r.over(ctx); err != nil {
			return err
		}
	}
}

// Room waits until the requester has credit for a message more than ahead returns, which is how
// many are being made. It looks again when freed has a value. Its errors are those of Publish.
func (r *Reply) Room(ctx context.Context, ahead func() int, freed <-chan struct{}) error {
	for {
		r.mu.Lock()
		waiting, changed := len(r.sizes), r.changed
		r.mu.Unlock()
		if waiting+ahead() < r.opts.Credit {
			return r.over(ctx)
		}
		select {
		case <-changed:
		case <-freed:
		case <-ctx.Done():
		case <-r.done:
		}
		if err := r.over(ctx); err != nil {
			return err
		}
	}
}

// over returns an error if the call or the reply has ended.
func (r *Reply) over(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.cause(); err != nil {
		return &publish.DropError{Reason: publish.DropClosed, Err: err}
	}
	return nil
}

// begin waits for the turn to send something, which end ends.
func (r *Reply) begin(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Reply) end() { <-r.turn }

// write sends a message, which is numbered if it counts.
func (r *Reply) write(ctx context.Context, m publish.Message, counts bool) error {
	m.Subject = r.opts.Subject
	if err := r.on.Acquire(ctx); err != nil {
		return err
	}
	defer r.on.Release()
	if err := r.on.Ready(); err != nil {
		return err
	}
	r.mu.Lock()
	r.last = time.Now()
	if counts {
		if len(r.sizes) == 0 {
			r.moved = r.last // only now has the requester something to read
		}
		size := publish.Size(m)
		r.sent, r.sizes, r.unread = r.sent+1, append(r.sizes, size), r.unread+size
	}
	m.Header[publish.HeaderRange] = []string{r.id}
	m.Header[publish.HeaderRangeSequence] = []string{strconv.FormatUint(r.sent, 10)}
	r.mu.Unlock()
	if err := r.on.Publish(m, r.control()); err != nil {
		return err
	}
	r.on.Sent()
	return nil
}
