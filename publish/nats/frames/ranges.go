package frames

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/reply"
)

const (
	defaultRanges         = 4
	defaultRangesPerAsker = 2
	defaultRangeTime      = 12 * time.Hour
)

// How requests for ranges ended, besides [Forwarded], [RefusedRate], [RefusedBusy] and
// [BadRequest].
const (
	// Done: all slots were sent.
	Done Outcome = "done"
	// RefusedImages: it would cost more images than are left of the hour.
	RefusedImages Outcome = "refused_images"
	// Cancelled: the requester wanted no more.
	Cancelled Outcome = "cancelled"
	// Gone: the requester has left, or said nothing any more.
	Gone Outcome = "gone"
	// Stalled: the requester read nothing.
	Stalled Outcome = "stalled"
)

// ErrImages is what an [*Error] of [Ranges.Read] wraps if too few images are left.
var ErrImages = errors.New("too few images are left")

// Ranges say how requests for ranges are answered.
type Ranges struct {
	// Read makes the tensors of a range and delivers them in the order of the slots. First it
	// calls begin, once, with what the range will have and may cost; it uses the context and
	// the reply that begin returns until it returns, with the images that it has spent.
	// Before begin, an error is sent as the answer; afterwards, with the last message. One
	// that is not an [*Error] has [CodeInternal].
	Read func(ctx context.Context, r RangeRequest, begin func(reply.Summary) (context.Context, *reply.Reply, error)) (images int, err error)
	// Most is how many ranges may be read at the same time, and MostPerAsker how many of them
	// for one asker. Further requests are refused. Default: 4 and 2.
	Most, MostPerAsker int
	// Timeout is how long a range may take. Default: 12h.
	Timeout time.Duration
	// Split, if set, returns the parts of a message that is larger than a limit in bytes.
	// Default: such a message ends the range.
	Split func(m publish.Message, limit int) ([]publish.Message, error)
	// Observe, if set, is told how each request ended.
	Observe func(Outcome)
}

// rangeService answers requests for ranges.
type rangeService struct {
	service *service
	opts    Ranges
	denied  error         // why the server does not allow the answers
	dear    pacing.Outage // of which the log tells now and then: ranges that are refused for their images

	mu      sync.Mutex
	ended   bool
	askers  map[string]int // how many ranges are read for each
	reading int
	running sync.WaitGroup
	stats   rangeStats
}

// rangeStats are added to the statistics of the endpoint.
type rangeStats struct {
	Reading   int                `json:"reading"`
	Images    uint64             `json:"images"`
	Outcomes  map[Outcome]uint64 `json:"outcomes"`
	LastError string             `json:"last_error,omitempty"`
}

func newRangeService(s *service, denied error) *rangeService {
	r := &rangeService{service: s, denied: denied, askers: map[string]int{}, dear: pacing.Outage{Every: time.Minute}, stats: rangeStats{Outcomes: map[Outcome]uint64{}}}
	if s.opts.Ranges != nil {
		r.opts = *s.opts.Ranges
	}
	if r.opts.Most <= 0 {
		r.opts.Most = defaultRanges
	}
	if r.opts.MostPerAsker <= 0 {
		r.opts.MostPerAsker = defaultRangesPerAsker
	}
	if r.opts.Timeout <= 0 {
		r.opts.Timeout = defaultRangeTime
	}
	if r.opts.Observe == nil {
		r.opts.Observe = func(Outcome) {}
	}
	return r
}

// begin starts to answer a request, or refuses it. It may be forwarded if any cvfeeder could
// have got it.
func (s *rangeService) begin(ctx context.Context, m *nats.Msg, asker string, mayForward bool) error {
	r, outcome, err := s.admit(m.Data, asker)
	if err != nil {
		s.observe(outcome, 0, err)
		s.service.refuse(m.Reply, err)
		return err
	}
	to := m.Reply
	go func() {
		defer s.leave(asker)
		ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Timeout, &Error{Code: CodeTimeout, Text: fmt.Sprintf("the range was not read within %v", s.opts.Timeout)})
		defer cancel()
		if mayForward && s.service.local != nil && s.service.local.elsewhere(r.Stream) {
			err := s.forward(ctx, r, to)
			if !errors.Is(err, errNoOwner) {
				s.observe(Forwarded, 0, err)
				return
			}
		}
		s.answer(ctx, r, to) // an unknown stream, too: its error lists the streams
	}()
	return nil
}

// admit reads a request and counts it as being answered, or returns why not.
func (s *rangeService) admit(request []byte, asker string) (RangeRequest, Outcome, error) {
	if err := s.service.rates.Take(asker); err != nil {
		return RangeRequest{}, RefusedRate, err
	}
	r, err := parseRangeRequest(request)
	switch {
	case err != nil:
		return RangeRequest{}, BadRequest, err
	case s.opts.Read == nil:
		return RangeRequest{}, Failed, &Error{Code: CodeNotFound, Text: "there are no ranges on request here"}
	case s.denied != nil:
		return RangeRequest{}, Failed, &Error{Code: CodeForbidden, Text: fmt.Sprintf("ranges cannot be sent: %v", s.denied)}
	}
	r.Asker = asker
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return RangeRequest{}, RefusedBusy, errStopping
	case s.reading >= s.opts.Most:
		return RangeRequest{}, RefusedBusy, &Error{Code: CodeBusy, Text: fmt.Sprintf("too busy: %d ranges are being read: try again when one has ended", s.reading)}
	case s.askers[asker] >= s.opts.MostPerAsker:
		return RangeRequest{}, RefusedBusy, &Error{Code: CodeBusy, Text: fmt.Sprintf("%d ranges are being read for you: wait until one has ended", s.askers[asker])}
	}
	s.reading++
	s.askers[asker]++
	s.running.Add(1)
	return r, "", nil
}

func (s *rangeService) leave(asker string) {
	s.mu.Lock()
	s.reading--
	if s.askers[asker]--; s.askers[asker] == 0 {
		delete(s.askers, asker)
	}
	s.mu.Unlock()
	s.running.Done()
}

// end refuses new requests, and waits for the ranges that are being read, whose contexts have
// ended.
func (s *rangeService) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.running.Wait()
}

// forward passes a request on to the cvfeeder that has the stream, which answers the requester
// itself.
func (s *rangeService) forward(ctx context.Context, r RangeRequest, to string) error {
	subject := frameSubjectOf(r.Stream)
	if err := s.service.findOwner(ctx, subject); err != nil {
		return err
	}
	request, err := json.Marshal(r.wire())
	if err != nil {
		return err
	}
	err = s.service.on.Client().PublishMsg(&nats.Msg{
		Subject: subject, Reply: to, Data: request, Header: nats.Header{askerHeader: {r.Asker}, rangeHeader: {rangeValue}},
	})
	if err != nil {
		s.service.refuse(to, err)
	}
	return err
}

// answer reads a range and sends it.
func (s *rangeService) answer(ctx context.Context, r RangeRequest, to string) {
	var work context.Context
	var opened *reply.Reply
	images, err := s.opts.Read(ctx, r, func(plan reply.Summary) (context.Context, *reply.Reply, error) {
		var err error
		work, opened, err = reply.Open(ctx, s.service.on, reply.Options{Subject: to, Credit: r.Credit, Split: s.opts.Split, Open: plan})
		return work, opened, err
	})
	if opened == nil {
		if err == nil {
			err = errors.New("the range was not begun")
		}
		outcome := Failed
		if errors.Is(err, ErrImages) {
			outcome = RefusedImages
			if s.dear.Failed() {
				s.service.on.Log().Warn("a range is refused, as it would cost too many images", "stream", r.Stream, "asker", sanitize.Text(r.Asker), "err", err)
			}
		}
		s.observe(outcome, images, err)
		s.service.refuse(to, err)
		return
	}
	outcome, failure := judge(ctx, work, err)
	if ended := opened.End(reply.Summary{Images: images}, failure); ended != nil {
		s.service.on.Log().Debug("the end of a range was not sent", "err", ended)
	}
	s.observe(outcome, images, err)
	args := []any{"stream", r.Stream, "output", r.Output, "from", r.From.String(), "to", r.To.String(), "asker", sanitize.Text(r.Asker), "images", images, "outcome", string(outcome)}
	if failure != nil {
		args = append(args, "err", failure.Text)
	}
	s.service.on.Log().Info("a range was read on request", args...)
}

// judge returns how a range ended: ctx is that of the service, work that of the reply.
func judge(ctx, work context.Context, err error) (Outcome, *reply.Failure) {
	cause := context.Cause(work)
	var own *Error
	switch {
	case err == nil:
		return Done, nil
	case errors.Is(cause, reply.ErrCancelled):
		return Cancelled, &reply.Failure{Code: CodeCancelled, Text: "cancelled as wanted"}
	case errors.Is(cause, reply.ErrGone):
		return Gone, &reply.Failure{Code: CodeCancelled, Text: cause.Error()}
	case errors.Is(cause, reply.ErrStalled):
		return Stalled, &reply.Failure{Code: CodeCancelled, Text: cause.Error()}
	case errors.As(context.Cause(ctx), &own): // the timeout
		err = own
	case ctx.Err() != nil:
		err = errStopping
	case errors.Is(cause, reply.ErrIdle) && !errors.As(err, &own):
		err = &Error{Code: CodeTimeout, Text: cause.Error()}
	case cause != nil && !errors.As(err, &own):
		err = cause
	}
	e, outcome := serviceError(err), Failed
	if errors.Is(err, ErrImages) {
		outcome = RefusedImages
	}
	return outcome, &reply.Failure{Code: e.Code, Text: e.Text}
}

// observe counts a request.
func (s *rangeService) observe(o Outcome, images int, err error) {
	s.opts.Observe(o)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Outcomes[o]++
	s.stats.Images += uint64(max(images, 0))
	if err != nil {
		s.stats.LastError = sanitize.Text(err.Error())
	}
}

// statistics returns a copy of the statistics.
func (s *rangeService) statistics() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Reading = s.reading
	stats.Outcomes = map[Outcome]uint64{}
	for o, n := range s.stats.Outcomes {
		stats.Outcomes[o] = n
	}
	return stats
}
