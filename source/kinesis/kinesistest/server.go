package kinesistest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
)

const (
	maxBody       = 1 << 20
	shutdownGrace = 5 * time.Second
)

// A Server is the fake service. It is an [http.Handler], safe for concurrent use.
type Server struct {
	opts     Options
	began    time.Time
	streams  *directory
	verifier verifier
	tokens   tokens
	traffic  *traffic // of the account
	encoder  *scene.Encoder
	requests *requestLog
}

// New returns a server that is not started yet, or an error that says which option makes
// no sense.
func New(opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("fake Kinesis Video service: %w", err)
	}
	all, err := newDirectory(opts)
	if err != nil {
		return nil, fmt.Errorf("fake Kinesis Video service: %w", err)
	}
	if opts.Scene == nil {
		if opts.Scene, err = scene.NewDrawn(image.Pt(1280, 720)); err != nil {
			return nil, fmt.Errorf("fake Kinesis Video service: %w", err)
		}
	}
	return &Server{
		opts:     opts,
		began:    opts.Now(),
		streams:  all,
		verifier: verifier{opts.Region, opts.AccessKey, opts.SecretKey},
		tokens:   newTokens(opts.Seed),
		traffic:  newTraffic(rng(opts.Seed).derive(0)),
		encoder:  scene.NewEncoder(opts.Scene, opts.CacheBytes),
		requests: newRequestLog(opts.Records, opts.Instants),
	}, nil
}

// A call is one request that is being handled.
type call struct {
	*http.Request
	endpoint string // the data endpoint's own path, see splitEndpoint
	fields   *fields
	stream   *stream // nil for none
	record   *Request

	rng    rng // what else happens to the request
	damage damage
	slowBy time.Duration
}

// An answer writes the body of a 200.
type answer func(io.Writer) error

// ServeHTTP implements [http.Handler]. If [Faults] have an answer cut, it panics with
// [http.ErrAbortHandler], as a handler does that gives up.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, record: &Request{Client: appID(r.UserAgent()), Time: s.Now(), Status: http.StatusOK}}
	w.Header().Set("Date", c.record.Time.UTC().Format(http.TimeFormat))
	reply, err := s.handle(w, c)
	if c.rng.derive(ofNoDate).chance(s.opts.Faults.NoDate) {
		w.Header()["Date"] = nil // or net/http would add one
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Requestid", rand.Text())

	switch {
	case errors.Is(err, errHang):
		c.record.Status = 0
		s.logRequest(*c.record)
		<-c.Context().Done() // the client gives up, or the server stops
		panic(http.ErrAbortHandler)
	case errors.Is(err, errReset):
		c.record.Status = 0
		s.logRequest(*c.record)
		reset(w)
	case err != nil:
		response := errorResponseOf(err)
		c.record.Status, c.record.Code = response.status(), response.Code
		s.logRequest(*c.record)
		response.write(w)
	case c.damage != damage{}:
		s.sendDamaged(w, c, reply)
	default:
		s.logRequest(*c.record)
		// Writing fails only if the client has gone away.
		_ = reply(w)
	}
}

func errorResponseOf(err error) *ErrorResponse {
	var response *ErrorResponse
	if errors.As(err, &response) {
		return response
	}
	return &ErrorResponse{Status: http.StatusInternalServerError, Code: "InternalFailure", Message: err.Error()}
}

// handle finds the operation, checks the signature, and has the operation answer.
func (s *Server) handle(w http.ResponseWriter, c *call) (answer, error) {
	operation, name := s.operation(c)
	if operation == nil {
		return nil, &ErrorResponse{
			Status: http.StatusNotFound, Code: "UnknownOperationException",
			Message: fmt.Sprintf("There is no operation %s %s.", c.Method, c.URL.Path),
		}
	}
	c.record.Operation = name
	claim, err := s.verifier.claim(c.Request, c.record.Time)
	if err != nil {
		return nil, err
	}
	body, err := readBody(w, c.Request)
	if err != nil {
		return nil, err
	}
	if err := s.verifier.verify(c.Request, claim, body); err != nil {
		return nil, err
	}
	if s.expired(c.record.Time) {
		c.record.Fault = "expired-credentials"
		return nil, ExpiredCredentials()
	}
	if c.fields, err = parseFields(body); err != nil {
		return nil, err
	}
	return operation(c)
}

func (s *Server) operation(c *call) (do func(*call) (answer, error), name string) {
	if c.Method != http.MethodPost {
		return nil, ""
	}
	path := c.URL.Path
	c.endpoint, path = splitEndpoint(path)
	switch {
	case path == "/getImages":
		return s.getImages, "GetImages"
	case path == "/listFragments":
		return s.listFragments, "ListFragments"
	case c.endpoint != "":
	case path == "/listStreams":
		return s.listStreams, "ListStreams"
	case path == "/describeStream":
		return s.describeStream, "DescribeStream"
	case path == "/describeStreamStorageConfiguration":
		return s.describeStorage, "DescribeStreamStorageConfiguration"
	case path == "/getDataEndpoint":
		return s.getDataEndpoint, "GetDataEndpoint"
	}
	return nil, ""
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &ErrorResponse{
			Status: http.StatusRequestEntityTooLarge, Code: "RequestEntityTooLargeException",
			Message: fmt.Sprintf("The request's body is larger than %d bytes.", maxBody),
		}
	case err != nil:
		return nil, malformed("The request's body could not be read: %v", err)
	}
	return body, nil
}

// stream finds the stream that the call names.
func (s *Server) stream(c *call) (*stream, error) {
	name, arn := c.fields.text("StreamName", streamNameShape), c.fields.text("StreamARN", streamARNShape)
	if err := c.fields.check(); err != nil {
		return nil, err
	}
	now := c.record.Time
	st, err := s.streams.find(name, arn, now)
	if err != nil {
		return nil, err
	}
	c.record.Stream = st.Name
	if status := st.status(now); status == deleted || !status.works() && c.record.Operation != "DescribeStream" {
		c.record.Fault = "away"
		return nil, noStream(st.Name)
	}
	c.stream = st
	return st, nil
}

// expired tells whether the account's credentials count as expired at now.
func (s *Server) expired(now time.Time) bool {
	faults := s.opts.Faults
	number := period(source.SlotAt(now), source.Slot(faults.Stretch.Milliseconds()))
	return rng(s.opts.Seed).derive(ofExpired, uint64(number)).chance(faults.ExpiredCredentials)
}

func answerJSON(v any) answer {
	return func(w io.Writer) error { return json.NewEncoder(w).Encode(v) }
}

// Serve answers on l until ctx ends, then finishes the requests in flight, for at most
// five seconds, and returns nil. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("fake Kinesis Video service on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		_ = srv.Close() // what did not finish in time
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("fake Kinesis Video service on %s: %w", l.Addr(), err)
	}
	return nil
}

// An Endpoint is a [Server] that listens on an address.
type Endpoint struct {
	// URL is what a client's endpoint is set to: http://127.0.0.1:9178.
	URL  string
	stop context.CancelFunc
	done chan error
}

// Start serves on addr until Close is called. "127.0.0.1:0" is any free port of the
// loopback.
func (s *Server) Start(addr string) (*Endpoint, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("fake Kinesis Video service: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	e := &Endpoint{URL: "http://" + l.Addr().String(), stop: stop, done: make(chan error, 1)}
	go func() { e.done <- s.Serve(ctx, l) }()
	return e, nil
}

// Close stops serving, and returns when all requests are answered. It is called once.
func (e *Endpoint) Close() error {
	e.stop()
	return <-e.done
}
