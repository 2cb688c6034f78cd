// Package frames answers requests for single frames, and for the state of the streams,
// as the NATS service "cvfeeder".
//
//	err := frames.Serve(ctx, conn, frames.Options{Version: version, Frame: frame, Streams: states})
//
// A request is JSON on [FrameSubject] or [StreamsSubject]. The answer is a tensor's
// message, or JSON; or an [Error], in the headers of the package micro of nats.go.
// Where several cvfeeders share the streams, whichever gets a request passes it on to
// the one that has the stream.
package frames

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// The service's subjects.
const (
	ServiceName    = "cvfeeder"
	FrameSubject   = "cvf.svc.frame"
	StreamsSubject = "cvf.svc.streams"
)

// Codes of an [Error], those of HTTP.
const (
	CodeBadRequest  = "400"
	CodeNotFound    = "404" // unknown stream or output, or no media
	CodeTooLarge    = "413" // for the server's max_payload
	CodeUndecodable = "422"
	CodeBusy        = "429"
	CodeInternal    = "500"
	CodeUpstream    = "502" // the cameras' service fails
	CodeStopping    = "503"
	CodeTimeout     = "504"
)

const (
	defaultConcurrent = 4
	defaultAnswerTime = 15 * time.Second
	maxRequest        = 4 << 10 // bytes
)

// An Error is answered with its code and text.
type Error struct{ Code, Text string }

// Error implements error.
func (e *Error) Error() string { return e.Text }

var errStopping = &Error{CodeStopping, "cvfeeder is stopping"}

// A Request asks for the tensor of one slot.
type Request struct {
	Stream string
	// Time is at or after the slot.
	Time   time.Time
	Output string
}

// Options say what the service answers.
type Options struct {
	// Version of the program.
	Version string
	// Frame calls answer once with the tensor's message, whose subject is not used,
	// and returns its error. The message's data is not used any more when answer
	// returns. An error that is no [*Error] is answered as [CodeInternal].
	Frame func(ctx context.Context, r Request, answer func(publish.Message) error) error
	// Streams returns what is answered as JSON: the state of one stream, or of all
	// where the name is "".
	Streams func(stream string) (any, error)
	// Names returns the streams that this process has now. It is called once a second,
	// and for requests of others: these are handed on to the cvfeeder that has the
	// stream, where there is one and the user may. Default: Frame answers all.
	Names func() []string
	// Concurrent is how many frames may be made at a time; more are refused. Default:
	// 4.
	Concurrent int
	// Timeout is how long a frame may take. Default: 15s.
	Timeout time.Duration
}

// Serve answers requests as the NATS service "cvfeeder" (see the package micro of
// nats.go), until ctx ends; then it refuses what still comes, and waits for the frames
// being made, whose contexts have ended.
//
// It has a connection of its own: answers are as large as tensors, and must delay
// neither these nor what is prompt; and whoever asks chooses where they go, so that
// the server refusing one says nothing of the rest.
//
// It waits for the connection first. An error says that there is no service, and is
// a [*dial.PermissionError] where the server does not allow one.
func Serve(ctx context.Context, conn *dial.Conn, o Options) error {
	if o.Concurrent <= 0 {
		o.Concurrent = defaultConcurrent
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultAnswerTime
	}
	on, err := conn.Open("service")
	if err != nil {
		return err
	}
	defer on.Close()
	if err := on.WaitConnected(ctx); err != nil {
		return err
	}
	mayHandOn, err := mayServe(ctx, on.Connection)
	if err != nil {
		return err
	}
	s := &service{opts: o, on: on, slots: make(chan struct{}, o.Concurrent)}
	if o.Names != nil {
		s.owned = &owned{names: o.Names, handsOn: mayHandOn, all: map[string]*nats.Subscription{}}
	}
	added, err := s.add(ctx)
	if err != nil {
		return fmt.Errorf("NATS service: %w", err)
	}
	s.followStreams(ctx)
	<-ctx.Done()
	s.end()
	if err := added.Stop(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("NATS service: %w", err)
	}
	return nil
}

// mayServe returns a PermissionError where the server says that it would refuse the
// service, and whether requests may be handed on. Where it does not say, they are
// not, and what it refuses is logged.
func mayServe(ctx context.Context, on *dial.Connection) (handOn bool, err error) {
	user, err := preflight.AskUser(ctx, on)
	if err != nil {
		on.Log().Debug("what the service needs is not known to be allowed", "err", err)
		return false, nil
	}
	if err := user.Check(preflight.NeedsService()); err != nil {
		return false, err
	}
	return user.Check(preflight.NeedsHandOn()) == nil, nil
}

// service is one that is being served.
type service struct {
	opts  Options
	on    *dial.DataConnection
	slots chan struct{} // holds a value for each frame being made
	owned *owned        // nil where all requests are for this process

	mu     sync.Mutex
	ended  bool
	making sync.WaitGroup
	stats  frameStats
}

// frameStats are what the frame endpoint adds to its statistics: micro itself times
// the handler, which only starts the work, and counts what that refuses.
type frameStats struct {
	Answered  uint64        `json:"answered"`
	Failed    uint64        `json:"failed"`
	Refused   uint64        `json:"refused"`
	HandedOn  uint64        `json:"handed_on"`
	Making    int           `json:"making"`
	LastError string        `json:"last_error,omitempty"`
	Time      time.Duration `json:"total_ns"`
}

func (s *service) add(ctx context.Context) (micro.Service, error) {
	added, err := micro.AddService(s.on.Client(), micro.Config{
		Name: ServiceName, Version: semver(s.opts.Version),
		Description: "Frames of Kinesis Video Streams as tensors",
		Metadata:    map[string]string{"version": s.opts.Version},
		StatsHandler: func(e *micro.Endpoint) any {
			if e.Name != "frame" {
				return nil
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.stats
		},
	})
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		added.AddEndpoint("frame", micro.ContextHandler(ctx, s.frame), micro.WithEndpointSubject(FrameSubject),
			micro.WithEndpointMetadata(map[string]string{"request": `{"stream": …, "time": RFC 3339, "output": …}`})),
		// Every cvfeeder tells of its own streams.
		added.AddEndpoint("streams", micro.HandlerFunc(s.streams), micro.WithEndpointSubject(StreamsSubject),
			micro.WithEndpointQueueGroupDisabled(),
			micro.WithEndpointMetadata(map[string]string{"request": `empty, or {"stream": …}`})),
	)
	if err != nil {
		return nil, errors.Join(err, added.Stop())
	}
	return added, nil
}

// frame handles a request for a tensor, to any cvfeeder.
func (s *service) frame(ctx context.Context, req micro.Request) {
	if err := s.begin(ctx, req.Data(), req.Reply(), s.make); err != nil {
		refuse(req, err)
	}
}

// begin begins to answer a request, or refuses. What takes time it leaves to a
// goroutine, so that the next request can be refused instead of having to wait.
func (s *service) begin(ctx context.Context, request []byte, reply string, answer func(context.Context, Request, string) error) error {
	if reply == "" {
		return nil
	}
	r, err := parseFrameRequest(request)
	if err == nil {
		err = s.enter()
	}
	if err != nil {
		s.count(func(st *frameStats) { st.Refused++ })
		return err
	}
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
			st.LastError = err.Error()
		})
	}()
	return nil
}

// enter takes one of the slots, or refuses. Whoever has entered leaves.
func (s *service) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return errStopping
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return &Error{CodeBusy, fmt.Sprintf("too busy: %d frames are being made: try again", cap(s.slots))}
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

// end refuses new frames and waits for those being made.
func (s *service) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.making.Wait()
}

func (s *service) count(f func(*frameStats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

// make answers with a tensor, or with the error, which it returns. It is made here or
// by the cvfeeder that has the stream.
func (s *service) make(ctx context.Context, r Request, reply string) error {
	return s.answer(ctx, reply, func(ctx context.Context, answer func(publish.Message) error) error {
		if !s.owned.elsewhere(r.Stream) {
			return s.opts.Frame(ctx, r, answer)
		}
		err := s.handOn(ctx, r, answer)
		if errors.Is(err, errNobody) || errors.Is(err, nats.ErrNoResponders) {
			return s.opts.Frame(ctx, r, answer) // which tells what there is
		}
		return err
	})
}

// makeOwn is make for what was handed on.
func (s *service) makeOwn(ctx context.Context, r Request, reply string) error {
	return s.answer(ctx, reply, func(ctx context.Context, answer func(publish.Message) error) error {
		return s.opts.Frame(ctx, r, answer)
	})
}

// answer sends what frame answers with, or its error, which it returns.
func (s *service) answer(ctx context.Context, reply string, frame func(context.Context, func(publish.Message) error) error) error {
	serving := ctx
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	answered := false
	err := frame(ctx, func(m publish.Message) error {
		if err := publish.CheckSize(publish.Size(m), s.on.MaxPayload()); err != nil {
			return &Error{CodeTooLarge, err.Error()}
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
		err = &Error{CodeTimeout, fmt.Sprintf("the frame was not made within %v", s.opts.Timeout)}
	}
	// Not by the request, which belongs to micro again.
	return errors.Join(err, s.fail(reply, err))
}

// fail answers with an error, as micro does.
func (s *service) fail(reply string, err error) error {
	e := serviceError(err)
	return s.on.Publish(publish.Message{Subject: reply, Header: map[string][]string{
		micro.ErrorHeader: {e.Text}, micro.ErrorCodeHeader: {e.Code},
	}}, "")
}

// streams handles a request for the state of the streams.
func (s *service) streams(req micro.Request) {
	answer, err := s.state(req.Data())
	if err != nil {
		refuse(req, err)
		return
	}
	_ = req.Respond(answer) // an error is in the endpoint's statistics
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
		return nil, &Error{CodeTooLarge, fmt.Sprintf(
			`the answer of %d bytes is larger than the NATS server's max_payload of %d bytes: ask for one stream: {"stream": "cam-1"}`,
			len(answer), limit)}
	}
	return answer, nil
}

func refuse(req micro.Request, err error) {
	e := serviceError(err)
	_ = req.Error(e.Code, e.Text, nil) // an error is in the endpoint's statistics
}

// serviceError returns err with a text of one line, as a header holds no more.
func serviceError(err error) *Error {
	e := &Error{Code: CodeInternal, Text: err.Error()}
	var own *Error
	if errors.As(err, &own) {
		*e = *own
	}
	e.Text = strings.Join(strings.Fields(e.Text), " ")
	return e
}

const frameExample = `{"stream": "cam-1", "time": "2026-01-02T03:04:05Z", "output": "detector"}`

func parseFrameRequest(data []byte) (Request, error) {
	var r struct {
		Stream string `json:"stream"`
		Time   string `json:"time"`
		Output string `json:"output"`
	}
	if err := parseRequest(data, &r, frameExample); err != nil {
		return Request{}, err
	}
	for _, field := range []struct{ name, value string }{{"stream", r.Stream}, {"time", r.Time}, {"output", r.Output}} {
		if field.value == "" {
			return Request{}, badRequest("%s is missing: a request is like %s", field.name, frameExample)
		}
	}
	at, err := time.Parse(time.RFC3339, r.Time)
	if err != nil {
		return Request{}, badRequest("time %q is not in RFC 3339, like 2026-01-02T03:04:05.200Z", r.Time)
	}
	return Request{Stream: r.Stream, Time: at, Output: r.Output}, nil
}

// parseRequest reads a request of one JSON object.
func parseRequest(data []byte, into any, example string) error {
	if len(data) > maxRequest {
		return badRequest("the request has %d bytes, more than %d: it is like %s", len(data), maxRequest, example)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil && d.More() {
		err = errors.New("there is more behind the object")
	}
	switch {
	case errors.Is(err, io.EOF):
		return badRequest("the request is empty: it is like %s", example)
	case err != nil:
		return badRequest("the request is not understood: %v: it is like %s", err, example)
	}
	return nil
}

func badRequest(format string, args ...any) error {
	return &Error{CodeBadRequest, fmt.Sprintf(format, args...)}
}

var (
	semanticVersion = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9]+-g[0-9a-f]+)?(-dirty)?$`)
	notInVersion    = regexp.MustCompile(`[^0-9A-Za-z-]+`)
)

// semver returns a version as micro takes it: that of a build without a tag follows
// 0.0.0.
func semver(version string) string {
	if v := strings.TrimPrefix(version, "v"); semanticVersion.MatchString(v) {
		return v
	}
	if v := strings.Trim(notInVersion.ReplaceAllString(version, "-"), "-"); v != "" {
		return "0.0.0+" + v
	}
	return "0.0.0"
}
