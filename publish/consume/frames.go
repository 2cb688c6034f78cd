package consume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

const (
	rangeSubject = "cvf.svc.frames"
	// rangeConnect is how long to wait for a connection.
	rangeConnect = 30 * time.Second
	// rangeAlive is how often the feeder is told that the reader is still there.
	rangeAlive = 2 * time.Second
	// rangeSilence is after how long without a word of the feeder it is given up. It says
	// something every 2 seconds.
	rangeSilence = 10 * time.Second
	// rangeMost is the largest credit.
	rangeMost     = 64
	rangeOrdinary = 8
)

// A Range is a span of time of which [Frames] returns the tensors.
type Range struct {
	Stream, Output string
	// From and To are the span: the slots at or after From and before To.
	From, To time.Time
	// Interval is the time between slots. Default: the stream's own.
	Interval time.Duration
	// Credit is how many messages may wait to be read, from 1 to 64. Default: 8.
	Credit int
	// Begun, if set, is called when the feeder has accepted the request, with how many slots
	// there will be and how many images they may cost. Nothing is received meanwhile.
	Begun func(RangeSummary)
	// Ended, if set, is called in the same way when the feeder has sent all, with what there was
	// and what it has cost.
	Ended func(RangeSummary)
}

// A RangeSummary says what a range has and costs.
type RangeSummary struct {
	Slots, Tensors, Images int
}

// A RangeError is an error that the feeder has answered.
type RangeError struct {
	// Code is that of the answer, like those of HTTP: "429" if too many images were asked for.
	Code, Text string
	// Wait, unless 0, is after how long the same request may be answered.
	Wait time.Duration
}

// Error implements error.
func (e *RangeError) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Text) }

var (
	// ErrLost says that a message of a range was lost on the way. What came before is whole;
	// ask again from the slot after the last one.
	ErrLost = errors.New("messages of the range were lost")
	// ErrSilent says that the feeder has stopped to answer.
	ErrSilent = errors.New("the feeder says nothing any more")
)

// Frames returns the tensors of a range of a stream's past, and the gaps between them, in the
// order of the slots and each once. The feeder reads the range for this, which costs images. It
// sends no more than the loop has credit for: a slow loop slows it, and to leave the loop ends
// the reading.
//
//	for d, err := range consume.Frames(ctx, options, consume.Range{
//		Stream: "front-door", Output: "detector", From: noon, To: noon.Add(time.Minute), Interval: time.Second,
//	}) {
//		if err != nil {
//			return err
//		}
//		if d.Gap == nil {
//			detect(d.Tensor)
//		}
//	}
//
// An error ends the sequence: it is a [*RangeError], a [*MessageError], ctx's, or wraps
// [ErrLost], [ErrSilent] or [dial.ErrNotConnected].
func Frames(ctx context.Context, o dial.Options, r Range) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		if err := readRange(ctx, o, r, func(d Delivery) bool { return yield(d, nil) }); err != nil {
			yield(Delivery{}, err)
		}
	}
}

// readRange yields deliveries until it returns why there are no more, nil for the end of the
// range or if yield returned false.
func readRange(ctx context.Context, o dial.Options, r Range, yield func(Delivery) bool) error {
	conn, err := dial.Connect(o, "range")
	if err != nil {
		return err
	}
	defer conn.Close()
	connecting, cancel := context.WithTimeout(ctx, rangeConnect)
	defer cancel()
	if err := conn.WaitConnected(connecting); err != nil {
		return err
	}
	in, err := ask(conn, r)
	if err != nil {
		return err
	}
	defer in.stopping.Wait()
	defer conn.Close()
	defer in.leave()
	alive, stop := context.WithCancel(ctx)
	defer stop()
	var telling sync.WaitGroup
	telling.Go(func() { in.keepAlive(alive) })
	defer telling.Wait()
	defer stop()
	joiner := publish.Joiner{}
	for {
		m, err := in.next(ctx)
		if err != nil || m == nil {
			return err
		}
		whole, ok, err := joiner.Add(publish.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
		var d Delivery
		if err == nil && ok {
			d, err = newDelivery(whole)
		}
		if err != nil {
			return &MessageError{m.Subject, err}
		}
		more := !ok || yield(d)
		in.readOne()
		if !more {
			return nil
		}
	}
}

// An incoming is a range that is being received.
type incoming struct {
	conn     *dial.Connection
	sub      *nats.Subscription
	opts     Range
	credit   int
	arrived  chan struct{} // has a value when there is something new
	stopping sync.WaitGroup

	mu       sync.Mutex
	id       string
	control  string
	waiting  []*nats.Msg
	last     uint64 // the number of the last message that came
	read     uint64 // that of the last one that was read
	heard    time.Time
	ended    bool
	finished error
}

// ask sends the request.
func ask(conn *dial.Connection, r Range) (*incoming, error) {
	in := &incoming{conn: conn, opts: r, credit: r.Credit, arrived: make(chan struct{}, 1), heard: time.Now()}
	if in.credit == 0 {
		in.credit = rangeOrdinary
	}
	request := map[string]any{
		"stream": r.Stream, "output": r.Output, "from": r.From.UTC().Format(time.RFC3339Nano), "to": r.To.UTC().Format(time.RFC3339Nano), "credit": in.credit,
	}
	if r.Interval != 0 {
		request["interval"] = r.Interval.String()
	}
	data, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	nc := conn.Client()
	inbox := nc.NewInbox()
	if in.sub, err = nc.Subscribe(inbox, in.receive); err != nil {
		return nil, err
	}
	in.stopping.Add(1)
	in.sub.SetClosedHandler(func(string) { in.stopping.Done() })
	if err := nc.PublishRequest(rangeSubject, inbox, data); err != nil {
		return nil, errors.Join(err, in.sub.Unsubscribe())
	}
	return in, nil
}

// receive takes a message of the feeder.
func (in *incoming) receive(m *nats.Msg) {
	in.mu.Lock()
	defer in.mu.Unlock()
	defer signal(in.arrived)
	if in.ended {
		return
	}
	in.heard = time.Now()
	if err := in.take(m); err != nil {
		in.ended, in.finished = true, err
	}
}

// take returns an error if a message is the last one. Its caller holds the lock.
func (in *incoming) take(m *nats.Msg) error {
	switch {
	case m.Header.Get("Status") == "503":
		return &RangeError{Code: "503", Text: "no cvfeeder answers requests for ranges"}
	case m.Header.Get(publish.HeaderRange) == "":
		return rangeError(m.Header)
	case in.id == "":
		in.id, in.control = m.Header.Get(publish.HeaderRange), m.Reply
	case in.id != m.Header.Get(publish.HeaderRange):
		return nil // of whoever else knows the inbox
	}
	number, err := strconv.ParseUint(m.Header.Get(publish.HeaderRangeSequence), 10, 64)
	state := m.Header.Get(publish.HeaderRangeState)
	expected := in.last
	if state == "" {
		expected++
	}
	if err != nil || number != expected || len(in.waiting) >= rangeMost {
		return fmt.Errorf("%w: message %d comes where %d is expected", ErrLost, number, expected)
	}
	in.last = number
	switch state {
	case "":
		in.waiting = append(in.waiting, m)
	case publish.RangeOpen:
		in.tell(in.opts.Begun, m.Header)
		in.grant(false)
	case publish.RangeEnd:
		in.tell(in.opts.Ended, m.Header)
		in.ended = true
		if m.Header.Get(micro.ErrorCodeHeader) != "" {
			return rangeError(m.Header)
		}
	}
	return nil
}

// tell calls f with what a message says of the whole range.
func (in *incoming) tell(f func(RangeSummary), h nats.Header) {
	if f == nil {
		return
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(h.Get(name)) // 0 where it is missing
		return n
	}
	f(RangeSummary{number(publish.HeaderRangeSlots), number(publish.HeaderRangeTensors), number(publish.HeaderRangeImages)})
}

func rangeError(h nats.Header) error {
	wait, _ := strconv.Atoi(h.Get(publish.HeaderRetryAfter)) // 0 where it is missing
	e := &RangeError{Code: h.Get(micro.ErrorCodeHeader), Text: h.Get(micro.ErrorHeader), Wait: time.Duration(wait) * time.Second}
	if e.Code == "" {
		e.Code, e.Text = "500", "the answer is no range"
	}
	return e
}

// next waits for the next message that counts. It returns nil at the end of the range.
func (in *incoming) next(ctx context.Context) (*nats.Msg, error) {
	silence := time.NewTimer(rangeSilence)
	defer silence.Stop()
	for {
		in.mu.Lock()
		heard := in.heard
		switch {
		case len(in.waiting) > 0:
			m := in.waiting[0]
			in.waiting = in.waiting[1:]
			in.mu.Unlock()
			return m, nil
		case in.ended:
			defer in.mu.Unlock()
			return nil, in.finished
		}
		in.mu.Unlock()
		silence.Reset(time.Until(heard.Add(rangeSilence)))
		select {
		case <-in.arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-silence.C:
			in.mu.Lock()
			silent := !in.ended && time.Since(in.heard) >= rangeSilence
			in.mu.Unlock()
			if silent {
				return nil, fmt.Errorf("%w: for %v", ErrSilent, rangeSilence)
			}
		}
	}
}

// readOne gives credit for a message that was read.
func (in *incoming) readOne() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.read++
	in.grant(false)
}

// grant tells the feeder how many messages were read. A word that is lost is made up for by the
// next one. Its caller holds the lock.
func (in *incoming) grant(cancel bool) {
	if in.control == "" {
		return
	}
	text := fmt.Appendf(nil, `{"read": %d}`, in.read)
	if cancel {
		text = fmt.Appendf(nil, `{"read": %d, "cancel": true}`, in.read)
	}
	_ = in.conn.Client().Publish(in.control, text)
}

// keepAlive tells the feeder now and then that the reader is there, however slow it is.
func (in *incoming) keepAlive(ctx context.Context) {
	tick := time.NewTicker(rangeAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			in.mu.Lock()
			in.grant(false)
			in.mu.Unlock()
		}
	}
}

// leave cancels the range unless it has ended.
func (in *incoming) leave() {
	in.mu.Lock()
	if !in.ended {
		in.grant(true)
	}
	in.ended = true
	in.mu.Unlock()
	if in.sub.Unsubscribe() != nil { // the connection is closed
		return
	}
	flushing, cancel := context.WithTimeout(context.Background(), rangeAlive)
	defer cancel()
	_ = in.conn.Flush(flushing) // the feeder notices soon in any case
}
