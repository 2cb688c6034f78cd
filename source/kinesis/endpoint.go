package kinesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	control "github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	"golang.org/x/time/rate"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source"
)

// An endpoint that no longer serves a stream may answer as if there was no media. So an
// answer without new media that ends slots is only believed if the endpoint is looked up
// again, or was a short time ago.
const (
	// The endpoint of a stream whose answers have had no media for leastTrust is trusted for
	// a while after it was looked up, for mostTrust at most. Before, the stream may just have
	// been away, and its media and another endpoint may come together.
	leastTrust = time.Minute
	mostTrust  = 5 * time.Minute
	// lookUpAgain is the least time between two look-ups of one endpoint. The service grants
	// five a second.
	lookUpAgain = 250 * time.Millisecond
	// arriving is how long after new media more of it is still likely to come.
	arriving = 5 * time.Second
	// oldAfter is how old a window is that belongs to a backlog.
	oldAfter = 5 * time.Minute
	// quietAfter is how long no new media has come, at least, when a stream is quiet. It is
	// longer if the stream usually has longer pauses.
	quietAfter = 15 * time.Second
	// ownDoubts is how many endpoints this process confirms in a second, so that thousands of
	// cameras that are off do not use up the account's requests. The first doubt after media
	// has come does not count.
	ownDoubts = ownRequests / 6
	// describeSoon is the least time between two descriptions of a stream that is in doubt.
	describeSoon = 10 * time.Second
	// tellMovedAgain is the least time between two lines in the log that a stream's endpoint
	// has moved: the endpoints of its APIs move together.
	tellMovedAgain = time.Minute
	// lookUpTime bounds a look-up, with retries, and busyLookUpTime one while media arrives.
	lookUpTime     = time.Minute
	busyLookUpTime = 5 * time.Second
)

// The outcomes of looking up an endpoint, as [StreamOptions.Located] is told of them.
const (
	LookupFirst  = "first"  // it was not known before
	LookupSame   = "same"   // it has not changed
	LookupMoved  = "moved"  // it is another one than before
	LookupFailed = "failed" // it could not be looked up
)

// An endpoint is where the service answers the requests of one API for a stream.
type endpoint struct {
	url    string
	failed bool // it must be looked up before it is used again
	// looked is when the endpoint was last looked up: when that began, so that what was
	// answered before is confirmed by it.
	looked time.Time
	// newest is the timestamp of the newest media that it, or one before it, told of;
	// arrived is when it did, and pause the longest time between two such arrivals, of late.
	newest, arrived time.Time
	pause           time.Duration
	// empty is since when answers have had no media, zero if the last one had, and again is
	// when the last of them came.
	empty, again time.Time
}

// A reply is what came of asking for a window, page by page.
type reply struct {
	url     string // the endpoint that was asked for the last page
	news    bool   // the last page has media that is newer than all before
	refused bool   // the endpoint refused the window as impossible
	stopped bool   // the receiver wants no more
	err     error
}

func newDoubts() *rate.Limiter { return rate.NewLimiter(ownDoubts, ownDoubts) }

// endpoint returns what is known of the endpoint of an API.
func (s *Stream) endpoint(api control.APIName) endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.endpoints[api]; e != nil {
		return *e
	}
	return endpoint{}
}

// usable returns the URL of an endpoint, "" if it has to be looked up first.
func (e endpoint) usable() string {
	if e.failed {
		return ""
	}
	return e.url
}

// dataEndpoint returns the endpoint for requests of an API. It is kept until it is in
// doubt, because GetDataEndpoint is limited to five requests a second for a stream.
func (s *Stream) dataEndpoint(ctx context.Context, api control.APIName) (string, error) {
	if err := s.locating.Acquire(ctx, 1); err != nil {
		return "", err
	}
	defer s.locating.Release(1)
	if url := s.endpoint(api).usable(); url != "" {
		return url, nil
	}
	return s.locate(ctx, api)
}

// locate looks an endpoint up. Its caller holds s.locating, so that it is looked up once
// however many need it.
func (s *Stream) locate(ctx context.Context, api control.APIName) (string, error) {
	began := time.Now()
	service := s.service()
	out, err := service.control.GetDataEndpoint(ctx, &kinesisvideo.GetDataEndpointInput{
		APIName: api, StreamName: s.name(), StreamARN: s.arn(),
	}, s.client.locates.observe)
	if err == nil && aws.ToString(out.DataEndpoint) == "" {
		err = errors.New("GetDataEndpoint answered without a DataEndpoint")
	}
	if err == nil {
		err = service.domain.check(*out.DataEndpoint)
	}
	if err != nil {
		s.located(LookupFailed)
		return "", err
	}
	s.mu.Lock()
	e := s.endpoints[api]
	if e == nil {
		e = &endpoint{}
		s.endpoints[api] = e
	}
	before := *e
	e.url, e.failed, e.looked = *out.DataEndpoint, false, began
	s.mu.Unlock()
	switch before.url {
	case "":
		s.located(LookupFirst)
	case *out.DataEndpoint:
		s.located(LookupSame)
	default:
		s.located(LookupMoved)
		s.moved(api, before)
	}
	return *out.DataEndpoint, nil
}

// moved tells that the given endpoint of an API is no longer the right one, and has those
// of other APIs looked up, which probably are not either.
func (s *Stream) moved(api control.APIName, before endpoint) {
	s.mu.Lock()
	told := time.Since(s.movedAt) < tellMovedAgain
	if !told {
		s.movedAt = time.Now()
		for other, e := range s.endpoints {
			e.failed = e.failed || other != api
		}
	}
	s.mu.Unlock()
	if !told {
		s.client.log.Warn("the data endpoint of the stream has moved: using the new one",
			"stream", s.String(), "last_media", before.newest.UTC())
	}
}

func (s *Stream) located(result string) {
	if s.opts.Located != nil {
		s.opts.Located(result)
	}
}

// forget has an endpoint that failed looked up again, unless that was done already.
func (s *Stream) forget(api control.APIName, url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.endpoints[api]; e != nil && e.url == url {
		e.failed = true
	}
}

// note takes note of media, and tells whether it is newer than all before: then the
// endpoint is the right one.
func (s *Stream) note(api control.APIName, url string, at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.endpoints[api]
	if e == nil || e.url != url {
		return false
	}
	e.empty = time.Time{}
	if !at.After(e.newest) {
		return false
	}
	now := time.Now()
	if pause := now.Sub(e.arrived); !e.arrived.IsZero() {
		e.pause = max(min(pause, mostTrust), e.pause-e.pause/8)
	}
	e.newest, e.arrived = at, now
	return true
}

// quiet tells whether new media should have come by now.
func (e endpoint) quiet() bool {
	return !e.arrived.IsZero() && time.Since(e.arrived) > max(quietAfter, 2*e.pause)
}

// doubt takes note of an answer without media, and returns what is known of the endpoint.
func (s *Stream) doubt(api control.APIName) endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.endpoints[api]
	if e == nil {
		return endpoint{}
	}
	now := time.Now()
	if e.empty.IsZero() || now.Sub(e.again) > leastTrust {
		e.empty = now
	}
	e.again = now
	return *e
}

// trusted tells whether an endpoint without media is trusted without another look-up: for
// as long again as it had been without at the last one. So the endpoint of a camera that is
// off is looked up less and less often.
func (e endpoint) trusted() bool {
	empty := e.looked.Sub(e.empty)
	return empty >= leastTrust && time.Since(e.looked) < min(empty, mostTrust)
}

// confirm looks an endpoint up again after an answer that makes sense only if that is the
// right one. It returns true if the answer came from another than the present one, so that
// the request has to be repeated. If it returns false, the answer is to be believed. The
// error says that nobody knows: nothing may be concluded from the answer.
//
// old tells that the answer is about a backlog.
func (s *Stream) confirm(ctx context.Context, api control.APIName, url string, old bool) (moved bool, err error) {
	answered := time.Now()
	if err := s.locating.Acquire(ctx, 1); err != nil {
		return false, err
	}
	defer s.locating.Release(1)
	e := s.doubt(api)
	switch {
	case e.usable() != url:
		return true, nil
	case !e.looked.Before(answered): // for another answer
		return false, nil
	}
	busy := time.Since(e.arrived) < arriving
	limit := lookUpTime
	if busy {
		limit = busyLookUpTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	due, err := s.waitDoubt(ctx, e, busy, old)
	if err == nil && !due {
		return false, nil
	}
	if err == nil && !busy {
		err = s.describeAgain(ctx)
	}
	if err == nil {
		var now string
		if now, err = s.locate(ctx, api); err == nil {
			return now != url, nil
		}
		err = s.explain(err)
	}
	if busy && !errors.Is(err, source.ErrNoStream) {
		return false, nil // it gave media a moment ago
	}
	return false, fmt.Errorf("no new media comes from the data endpoint, and it %w: %w", source.ErrUnconfirmed, err)
}

// waitDoubt waits until an endpoint that is in doubt may be looked up. It returns false if
// it is to be trusted instead.
//
// The first doubt after media has come is always cleared up. Later ones of a quiet stream
// are once its trust is over. While media arrives, and in a backlog, where an endpoint that
// moves could cost many slots within a second, each doubt is, unless all streams together
// have too many.
func (s *Stream) waitDoubt(ctx context.Context, e endpoint, busy, old bool) (due bool, err error) {
	trusted := busy || e.trusted()
	switch {
	case trusted && !busy && !old:
		return false, nil
	case s.client.doubts.Allow() && s.client.locates.spare():
		return true, pacing.Sleep(ctx, time.Until(e.looked.Add(lookUpAgain)))
	case trusted || e.looked.After(e.empty) && !old:
		return false, nil
	}
	return true, s.client.locates.wait(ctx)
}

// describeAgain finds out whether the stream still is what it was, unless that is known or
// the account has no request left. The error wraps [source.ErrNoStream] if it is gone.
func (s *Stream) describeAgain(ctx context.Context) error {
	s.mu.Lock()
	due := time.Since(s.learned) >= describeSoon && s.client.describes.spare()
	if due {
		s.learned = time.Now()
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := s.describe(ctx); errors.Is(err, source.ErrNoStream) {
		return err
	}
	return nil
}
