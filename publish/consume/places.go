package consume

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/internal/payloads"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/memory"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/transform"
)

const (
	memoryVariable = "CVFEEDER_MEMORY"
	memoryOff      = "off"
	// memoryLook is how often it is looked whether there is memory to read, and memoryRest for how
	// long payloads are asked for after it could not be read.
	memoryLook = time.Second
	memoryRest = time.Minute
	// memoryLinger is for how long places still come after payloads are asked for, because the
	// feeder does not know yet: see publish/nats/handoff.
	memoryLinger = 6 * time.Second
)

// memoryDir returns the directory that an option names, "" for none.
func memoryDir(option string) string {
	if option == "" {
		option = os.Getenv(memoryVariable)
	}
	switch option {
	case "":
		return memory.DefaultDir
	case memoryOff:
		return ""
	}
	return option
}

// places are the subscriptions to where tensors are in memory.
type places struct {
	fetcher
	s    *Subscription
	stop context.CancelFunc
	ends sync.WaitGroup

	subjects []string

	mu       sync.Mutex
	lines    map[string]chan *nats.Msg
	subs     []*nats.Subscription
	last     []*nats.Subscription // to what comes after payloads are asked for
	lingers  time.Time
	lingered atomic.Bool // some may come twice
}

// readMemory begins to look for memory to read. It is called before the first subscription.
func (s *Subscription) readMemory(dir string, subjects []string) {
	if dir = memoryDir(dir); dir == "" || len(subjects) == 0 || slices.ContainsFunc(subjects, hasPlaces) {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &places{s: s, fetcher: fetcher{reader: memory.NewReader(dir), conn: s.conn}, stop: stop, subjects: subjects, lines: map[string]chan *nats.Msg{}}
	s.places = p
	p.look()
	p.ends.Go(func() {
		for pacing.Sleep(ctx, memoryLook) == nil {
			p.look()
		}
	})
}

// hasPlaces tells whether a pattern may match the subjects of places: then they would come twice.
func hasPlaces(pattern string) bool {
	for _, prefix := range strings.Split(strings.TrimSuffix(publish.MemoryPrefix, "."), ".") {
		token, rest, _ := strings.Cut(pattern, ".")
		if token == ">" {
			return true
		}
		if token != "*" && token != prefix {
			return false
		}
		pattern = rest
	}
	return true
}

// look subscribes to places while there is memory to read.
func (p *places) look() {
	p.settle(time.Now())
	swept := p.reader.Sweep()
	rests := time.Since(time.Unix(0, p.failed.Load())) < memoryRest
	now := p.awaited.Load()
	if now != nil && now.Current() && !rests && (!swept || now.Again() == nil) {
		return
	}
	var next *memory.Awaited // nil while payloads are asked for
	if !rests {
		next, _ = p.reader.Await(p.subjects...) // which fails where there is no feeder
	}
	if now == nil && next == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.linger(time.Now())
	p.await(next)
	for subject, line := range p.lines {
		p.subscribe(subject, line)
	}
}

// linger ends the subscriptions to places that the feeder counts. Others, which it does not count,
// get what it publishes before it notices: that would be lost without a trace otherwise.
func (p *places) linger(now time.Time) {
	if len(p.subs) == 0 {
		return
	}
	p.lingered.Store(true)
	p.lingers = now.Add(memoryLinger)
	if len(p.last) == 0 {
		for subject, line := range p.lines {
			if sub, err := p.s.conn.Client().ChanSubscribe(publish.MemorySubject("*", subject), line); err == nil {
				p.last = append(p.last, sub)
			}
		}
	}
	// What is under way to a subscription that is ended is lost, so the new ones come first.
	ctx, cancel := context.WithTimeout(context.Background(), memoryLook)
	defer cancel()
	_ = p.s.conn.Flush(ctx) // without a connection, nothing is under way
	unsubscribe(p.subs)
	p.subs = nil
}

// settle ends the subscriptions of linger when their time is over.
func (p *places) settle(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.last) > 0 && now.After(p.lingers) {
		unsubscribe(p.last)
		p.last = nil
	}
}

func unsubscribe(subs []*nats.Subscription) {
	for _, sub := range subs {
		_ = sub.Unsubscribe() // fails only if the connection has ended
	}
}

// lineLength is how many messages may wait to be put into a queue, which takes no time.
const lineLength = 4096

// line returns a subscription to a subject and to its places. Their messages go through one
// line, which keeps them in the order in which they were published: subscriptions with
// goroutines of their own would not.
func (p *places) line(subject string, put func(publish.Message)) (*nats.Subscription, error) {
	line := make(chan *nats.Msg, lineLength)
	p.mu.Lock()
	defer p.mu.Unlock()
	// In this order: see publish/nats/handoff.
	p.lines[subject] = line
	p.subscribe(subject, line)
	sub, err := p.s.conn.Client().ChanSubscribe(subject, line)
	if err != nil {
		return nil, err
	}
	p.s.ends.Go(func() {
		var came recent
		for {
			select {
			case m := <-line:
				if !p.lingered.Load() || came.first(m) {
					p.take(m, line, put)
				}
			case <-p.s.done:
				return
			}
		}
	})
	return sub, nil
}

// recent are the places that have come last. Two subscriptions may have got the same message.
type recent struct {
	places [16]string
	next   int
}

// first tells whether a message comes for the first time.
func (r *recent) first(m *nats.Msg) bool {
	place := m.Header.Get(publish.HeaderMemory)
	if place == "" {
		return true
	}
	if slices.Contains(r.places[:], place) {
		return false
	}
	r.places[r.next] = place
	r.next = (r.next + 1) % len(r.places)
	return true
}

func (p *places) take(m *nats.Msg, line chan<- *nats.Msg, put func(publish.Message)) {
	in := publish.Message{Subject: m.Subject, Header: m.Header}
	in.Data = p.s.store.Data(m.Header, m.Data, queueing(line))
	if strings.HasPrefix(m.Subject, publish.MemoryPrefix) {
		in = p.fetch(in)
	}
	put(in)
}

// queueing returns what puts a message that has not gone through the client behind those that
// have, which are in the line by then.
func queueing(line chan<- *nats.Msg) payloads.Take {
	return func(subject string, header, data []byte) bool {
		h, err := nats.DecodeHeadersMsg(header)
		if err != nil {
			return false // the client will report it
		}
		select {
		case line <- &nats.Msg{Subject: subject, Header: h, Data: data}:
			return true
		default:
			return false
		}
	}
}

func (p *places) subscribe(subject string, line chan *nats.Msg) {
	awaited := p.awaited.Load()
	if awaited == nil {
		return
	}
	sub, err := p.s.conn.Client().ChanSubscribe(publish.MemorySubject(awaited.Host(), subject), line)
	if err == nil { // otherwise payloads come, as ever
		p.subs = append(p.subs, sub)
	}
}

// A fetcher brings tensors from where messages say that they are.
type fetcher struct {
	reader  *memory.Reader
	conn    *dial.Connection
	awaited atomic.Pointer[memory.Awaited] // nil while nothing is awaited in memory
	failed  atomic.Int64                   // when memory could last not be read, in nanoseconds since the Unix epoch
	lost    atomic.Int64
	inARow  atomic.Int64 // tensors that could not be read
}

// memoryTries is how many tensors in a row cannot be read when payloads are asked for. The last
// words of a feeder that was killed may be about a file that the next one has removed.
const memoryTries = 3

// fetch returns the message with the tensor, or what tells that it is lost.
func (p *fetcher) fetch(m publish.Message) publish.Message {
	whole, ok := publish.FromMemory(m)
	if !ok {
		return m // whoever reads it gets an error
	}
	place, err := memory.ParsePlace(whole.Memory)
	if err != nil {
		return whole
	}
	hold, err := p.reader.Hold(place)
	if err != nil {
		p.lost.Add(1)
		if memory.Reason(err) == memory.ReasonUnreachable {
			if p.inARow.Add(1) >= memoryTries {
				p.failed.Store(time.Now().UnixNano())
			}
			p.conn.Log().Warn("a tensor in memory cannot be read", "err", err)
		}
		return gapOf(whole, memory.Reason(err))
	}
	p.inARow.Store(0)
	if awaited := p.awaited.Load(); awaited != nil {
		awaited.Received(whole.Subject, hold)
	}
	whole.Data, whole.Release = hold.Data, hold.Release
	return whole
}

// await sets what is awaited, nil for nothing.
func (p *fetcher) await(next *memory.Awaited) {
	if before := p.awaited.Swap(next); before != nil {
		before.Close()
	}
}

// end unmaps what nobody reads any more.
func (p *fetcher) end() {
	p.await(nil)
	p.reader.Close()
}

// gapOf returns the inline gap in the place of a tensor.
func gapOf(m publish.Message, reason string) publish.Message {
	p, err := publish.ParsePosition(m.Header)
	e, err2 := publish.ParseEnvelope(m.Header)
	if err != nil || err2 != nil {
		return m // whoever reads it gets the error
	}
	return publish.NewInlineGap(m.Subject, publish.Gap{Stream: e.Stream, From: p.First, To: p.Last, Slots: 1, Reason: reason},
		&transform.Output{Name: e.Output, Fingerprint: e.Spec})
}

// all returns the subscriptions to places.
func (p *places) all() []*nats.Subscription {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.subs)
}

// end stops to look for memory.
func (p *places) end() {
	if p != nil {
		p.stop()
		p.ends.Wait()
	}
}

// close unmaps what nobody reads any more.
func (p *places) close() {
	if p != nil {
		p.fetcher.end()
	}
}

// Lost returns how many tensors in memory came too late to be read there. Each of them was
// delivered as a gap.
func (s *Subscription) Lost() int {
	if s.places == nil {
		return 0
	}
	return int(s.places.lost.Load())
}

// own returns a message whose data belongs to its reader, unless that borrows it.
func (s *Subscription) own(m publish.Message) publish.Message {
	if m.Release == nil || s.borrow {
		return m
	}
	return copied(m)
}

// copied returns a message whose data is its reader's.
func copied(m publish.Message) publish.Message {
	if m.Release != nil {
		m.Data = bytes.Clone(m.Data)
		m.Release()
		m.Release = nil
	}
	return m
}

// release gives back the memory of a message that nobody reads.
func release(m publish.Message) {
	if m.Release != nil {
		m.Release()
	}
}
