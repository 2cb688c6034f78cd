// Package frames answers requests for single frames, and for the state of the streams,
// as the NATS service "cvfeeder".
//
//	err := frames.Serve(ctx, conn, frames.Options{Version: version, Frame: frame, Streams: states})
//
// A request is JSON on [FrameSubject], [BurstSubject] or [StreamsSubject]. The answer is the
// message of a tensor, or JSON, or an [Error] in the headers of the package micro of nats.go. If
// several cvfeeders share the streams, the one that gets a request forwards it to the
// one that has the stream.
//
// The package is larger than most packages because all requests share the subscriptions, the limits,
// and the way to the cvfeeder that has the stream.
package frames

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// The service's subjects.
const (
	ServiceName    = "cvfeeder"
	FrameSubject   = "cvf.svc.frame"
	RangeSubject   = "cvf.svc.frames"
	StreamsSubject = "cvf.svc.streams"
)

const (
	defaultConcurrent = 4
	defaultAnswerTime = 15 * time.Second
)

// Options say what the service answers.
type Options struct {
	// Version of the program.
	Version string
	// Frame makes the tensor of a request, calls answer once with its message, and
	// returns answer's error. The message's subject is ignored, and its data is not
	// used after answer returns. Any error is sent as the answer; one that is not an
	// [*Error] has [CodeInternal].
	Frame func(ctx context.Context, r Request, answer func(publish.Message) error) error
	// Replay begins or cancels a replay job, and returns what to answer as JSON. Its errors are
	// sent like those of Frame. Default: there are no replays.
	Replay func(ctx context.Context, r ReplayRequest) (any, error)
	// Streams returns the state of one stream, or of all if the name is "". It is sent
	// as JSON.
	Streams func(stream string) (any, error)
	// Burst begins a burst, and returns at once. Its errors are sent as those of Frame. Default:
	// no bursts are taken.
	Burst func(BurstRequest) (BurstAnswer, error)
	// Names returns the streams that this process has now. It is called once a second,
	// and for each request. Requests for other streams are forwarded to the cvfeeder
	// that has the stream, if there is one and the permissions allow that. Default: Frame
	// answers all requests.
	Names func() []string
	// Concurrent is how many frames may be made at the same time. Further requests are
	// refused. Default: 4.
	Concurrent int
	// Timeout is how long a frame may take. Default: 15s.
	Timeout time.Duration
	// Rates are the limits on requests for frames, beyond which these are refused. The same
	// limits hold for requests for bursts, and for the state of the streams, which are counted apart. Default:
	// [DefaultRate] and [DefaultRatePerAsker].
	Rates *Rates
	// Observe, if set, is told of each request for a frame that Frame was not called for.
	Observe func(Outcome)
	// Ranges are how requests for ranges are answered. Default: they are refused.
	Ranges *Ranges
	// ReplyPrefix is that of [publish.AllowsReply]: requests that want their answer elsewhere
	// are ignored. Default: [publish.DefaultReplyPrefix].
	ReplyPrefix string
}

// Serve answers requests as the NATS service "cvfeeder" (see the package micro of
// nats.go) until ctx ends. Then it refuses further requests, and waits for the frames
// that are being made, whose contexts have ended.
//
// It uses a connection of its own. Answers are as large as tensors, and must not delay
// tensors or anything that has to be prompt.
//
// Serve waits for the connection first. An error says that there is no service. It is a
// [*dial.PermissionError] if the server does not allow one.
func Serve(ctx context.Context, conn *dial.Conn, o Options) error {
	for {
		// It ends without an error when ctx ends, or with the connection.
		if err := serve(ctx, conn, o); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// serve is Serve for as long as its connection lasts.
func serve(ctx context.Context, conn *dial.Conn, o Options) error {
	if o.Concurrent <= 0 {
		o.Concurrent = defaultConcurrent
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultAnswerTime
	}
	if o.Rates == nil {
		o.Rates = NewRates(DefaultRate, DefaultRatePerAsker)
	}
	o.ReplyPrefix = cmp.Or(o.ReplyPrefix, publish.DefaultReplyPrefix)
	if o.Observe == nil {
		o.Observe = func(Outcome) {}
	}
	on, err := conn.Open("service")
	if err != nil {
		return err
	}
	defer on.Close()
	if err := on.WaitConnected(ctx); err != nil {
		return err
	}
	may, err := mayServe(ctx, on.Connection)
	if err != nil {
		return err
	}
	s := &service{
		opts: o, on: on, slots: make(chan struct{}, o.Concurrent),
		rates: o.Rates, questions: o.Rates.unused(), bursts: o.Rates.unused(),
		misdirected: pacing.Outage{Every: time.Minute},
	}
	if o.Names != nil {
		s.local = &localStreams{names: o.Names, forward: may.forward, subs: map[string]*nats.Subscription{}}
	}
	s.ranges = newRangeService(s, may.ranges)
	added, err := s.add(ctx)
	if err != nil {
		return fmt.Errorf("NATS service: %w", err)
	}
	lasting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-on.Closed():
			stop()
		case <-lasting.Done():
		}
	}()
	s.answerForwarded(lasting)
	<-lasting.Done()
	s.end()
	if ctx.Err() == nil {
		return nil // the connection was closed, and its subscriptions with it
	}
	if err := added.stop(); err != nil {
		return fmt.Errorf("NATS service: %w", err)
	}
	return nil
}

// mayServe returns a PermissionError if the server does not allow the service, and
// what more it allows. If it does not say, requests are not forwarded, and what it refuses
// later is logged.
func mayServe(ctx context.Context, on *dial.Connection) (rights, error) {
	user, err := preflight.AskUser(ctx, on)
	if err != nil {
		on.Log().Debug("the permissions for the NATS service cannot be checked", "err", err)
		return rights{}, nil
	}
	if err := user.Check(preflight.NeedsService()); err != nil {
		return rights{}, err
	}
	return rights{forward: user.Check(preflight.NeedsForward()) == nil, ranges: user.Check(preflight.NeedsRanges())}, nil
}

// rights are what the server allows a service besides single answers.
type rights struct {
	forward bool  // to forward requests
	ranges  error // why ranges cannot be answered
}

// service is a running service.
type service struct {
	opts        Options
	on          *dial.DataConnection
	slots       chan struct{} // holds a value for each frame that is being made
	rates       *Rates        // of requests for frames
	questions   *Rates        // of those for the state of the streams
	bursts      *Rates        // of those for bursts
	local       *localStreams // nil if this process answers all requests
	misdirected pacing.Outage // of which the log tells now and then
	ranges      *rangeService

	mu     sync.Mutex
	ended  bool
	making sync.WaitGroup
	stats  frameStats
}

// frameStats are added to the statistics of the frame endpoint. Those of micro itself are
// about the handler, which only starts the work.
type frameStats struct {
	Answered uint64 `json:"answered"`
	Failed   uint64 `json:"failed"`
	Refused  uint64 `json:"refused"`
	HandedOn uint64 `json:"handed_on"`
	// Misdirected counts requests for an answer on a subject that is no inbox.
	Misdirected uint64        `json:"misdirected"`
	Making      int           `json:"making"`
	LastError   string        `json:"last_error,omitempty"`
	Time        time.Duration `json:"total_ns"`
}

// add starts to listen for requests.
func (s *service) add(ctx context.Context) (*microService, error) {
	added := &microService{
		client: s.on.Client(), allows: s.allows,
		identity: micro.ServiceIdentity{
			Name: ServiceName, Version: semver(s.opts.Version), Metadata: map[string]string{"version": s.opts.Version},
		},
		endpoints: []*endpoint{
			{
				name: "frame", subject: FrameSubject, queue: micro.DefaultQueueGroup,
				request: `{"stream": …, "time": RFC 3339, "output": …}`,
				handle:  func(m *nats.Msg) error { return s.frame(ctx, m) },
				data: func() any {
					s.mu.Lock()
					defer s.mu.Unlock()
					return s.stats
				},
			},
			{
				name: "frames", subject: RangeSubject, queue: micro.DefaultQueueGroup,
				request: rangeExample,
				handle:  func(m *nats.Msg) error { return s.ranges.begin(ctx, m, askerOf(m.Reply), true) },
				data:    s.ranges.statistics,
			},
			s.burstEndpoint(ctx),
			s.replayEndpoint(ctx),
			// Every cvfeeder answers for its own streams.
			{name: "streams", subject: StreamsSubject, request: `empty, or {"stream": …}`, handle: s.streams},
		},
	}
	return added, added.begin()
}

// allows tells whether an answer may be sent to a subject, and counts and logs the requests
// for one that may not.
func (s *service) allows(reply string) bool {
	if reply == "" {
		return false // nobody waits for an answer
	}
	if publish.AllowsReply(s.opts.ReplyPrefix, reply) {
		return true
	}
	s.count(func(st *frameStats) { st.Misdirected++ })
	s.opts.Observe(Misdirected)
	if s.misdirected.Failed() {
		s.on.Log().Warn("a request asks for its answer on a subject that is no inbox, which is refused: it may be an attack; "+
			"nats.reply_prefix allows another", "reply", fmt.Sprintf("%.100q", reply))
	}
	return false
}

// frame handles a request for a tensor that any cvfeeder may get.
func (s *service) frame(ctx context.Context, m *nats.Msg) error {
	err := s.begin(ctx, m, askerOf(m.Reply), s.make)
	if err != nil {
		s.refuse(m.Reply, err)
	}
	return err
}

// begin starts to answer a request, or refuses it. A goroutine does the work, so that the
// next request can be refused without a wait.
func (s *service) begin(ctx context.Context, m *nats.Msg, asker string, answer func(context.Context, Request, string) error) error {
	r, outcome, err := s.admit(m.Data, asker)
	if err != nil {
		s.count(func(st *frameStats) { st.Refused++ })
		s.opts.Observe(outcome)
		return err
	}
	r.asker = asker
	reply := m.Reply
	go func() {
		defer s.leave()
		begin := time.Now()
		err := answer(ctx, r, reply)
		s.count(func(st *frameStats) {
			st.Time += time.Since(begin)
			if err == nil {
				st.Answered++
				return
			}
			st.Failed++
			st.LastError = sanitize.Text(err.Error())
		})
	}()
	return nil
}

// admit reads a request and takes one of the slots, or returns why not.
func (s *service) admit(request []byte, asker string) (Request, Outcome, error) {
	if err := s.rates.Take(asker); err != nil {
		return Request{}, RefusedRate, err
	}
	r, err := parseFrameRequest(request)
	if err != nil {
		return Request{}, BadRequest, err
	}
	return r, RefusedBusy, s.enter()
}

// enter takes one of the slots, or refuses the request. The caller gives the slot back
// with leave.
func (s *service) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return errStopping
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return &Error{Code: CodeBusy, Text: fmt.Sprintf("too busy: %d frames are being made: try again", cap(s.slots))}
	}
	s.stats.Making++
	s.making.Add(1)
	return nil
}

func (s *service) leave() {
	<-s.slots
	s.count(func(st *frameStats) { st.Making-- })
	s.making.Done()
}

// end refuses new requests and waits for the frames that are being made.
func (s *service) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.making.Wait()
	s.ranges.end()
}

func (s *service) count(f func(*frameStats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

// make answers with a tensor, which is made here or by the cvfeeder that has the stream.
// It sends an error as the answer, too, and returns it.
func (s *service) make(ctx context.Context, r Request, reply string) error {
	return s.answer(ctx, reply, func(ctx context.Context, answer func(publish.Message) error) error {
		if s.local == nil || !s.local.elsewhere(r.Stream) {
			return s.opts.Frame(ctx, r, answer)
		}
		err := s.forward(ctx, r, answer)
		if errors.Is(err, errNoOwner) || errors.Is(err, nats.ErrNoResponders) {
			return s.opts.Frame(ctx, r, answer) // whose error lists the streams
		}
		return err
	})
}

// makeHere is make for requests that were forwarded.
func (s *service) makeHere(ctx context.Context, r Request, reply string) error {
	return s.answer(ctx, reply, func(ctx context.Context, answer func(publish.Message) error) error {
		return s.opts.Frame(ctx, r, answer)
	})
}

// answer sends the answer of frame, or its error, which it also returns.
func (s *service) answer(ctx context.Context, reply string, frame func(context.Context, func(publish.Message) error) error) error {
	serving := ctx
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	answered := false
	err := frame(ctx, func(m publish.Message) error {
		if err := publish.CheckSize(publish.Size(m), s.on.MaxPayload()); err != nil {
			return &Error{Code: CodeTooLarge, Text: err.Error()}
		}
		answered = true
		m.Subject = reply
		if err := s.on.Acquire(ctx); err != nil {
			return err
		}
		defer s.on.Release()
		return s.on.Publish(m, "")
	})
	switch {
	case answered || err == nil:
		return err
	case serving.Err() != nil && errors.Is(err, serving.Err()):
		err = errStopping
	case errors.Is(err, context.DeadlineExceeded):
		err = &Error{Code: CodeTimeout, Text: fmt.Sprintf("the frame was not made within %v", s.opts.Timeout)}
	}
	return errors.Join(err, s.fail(reply, err))
}

// fail sends an error as the answer, in the way of micro.
func (s *service) fail(reply string, err error) error {
	e := serviceError(err)
	h := map[string][]string{micro.ErrorHeader: {e.Text}, micro.ErrorCodeHeader: {e.Code}}
	if e.Wait > 0 {
		h[publish.HeaderRetryAfter] = []string{strconv.Itoa(int((e.Wait + time.Second - 1) / time.Second))}
	}
	return s.on.Publish(publish.Message{Subject: reply, Header: h}, "")
}

// streams handles a request for the state of the streams.
func (s *service) streams(m *nats.Msg) error {
	err := s.questions.Take(askerOf(m.Reply))
	var answer []byte
	if err == nil {
		answer, err = s.state(m.Data)
	}
	if err != nil {
		s.refuse(m.Reply, err)
		return err
	}
	return s.on.Publish(publish.Message{Subject: m.Reply, Data: answer}, "")
}

func (s *service) state(request []byte) ([]byte, error) {
	var r struct {
		Stream string `json:"stream"`
	}
	if len(bytes.TrimSpace(request)) > 0 {
		if err := parseRequest(request, &r, `{"stream": "cam-1"}, or nothing for all`); err != nil {
			return nil, err
		}
	}
	state, err := s.opts.Streams(r.Stream)
	if err != nil {
		return nil, err
	}
	answer, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	if limit := s.on.MaxPayload(); len(answer) > limit {
		return nil, &Error{Code: CodeTooLarge, Text: fmt.Sprintf(
			`the answer of %d bytes is larger than the NATS server's max_payload of %d bytes: ask for one stream: {"stream": "cam-1"}`,
			len(answer), limit)}
	}
	return answer, nil
}

// say answers with a value, as JSON.
func (s *service) say(reply string, answer any) error {
	data, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return s.on.Publish(publish.Message{Subject: reply, Data: data}, "")
}

// later answers a request in a goroutine, so that the next one can be handled. An error is the
// answer.
func (s *service) later(ctx context.Context, reply string, answer func(context.Context) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	go func() {
		defer s.leave()
		ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
		defer cancel()
		if err := answer(ctx); err != nil {
			s.refuse(reply, err)
		}
	}()
	return nil
}

// refuse answers with an error.
func (s *service) refuse(reply string, err error) {
	if failed := s.fail(reply, err); failed != nil {
		s.on.Log().Debug("a request was not answered", "err", failed)
	}
}
