package kinesistest

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Request is what a client asked for, and what it got.
type Request struct {
	// Client is the client's name for itself: the app id in the AWS SDK's user agent,
	// which AWS_SDK_UA_APP_ID sets; "" for none.
	Client string
	// Time is when the request came.
	Time time.Time
	// Operation is "ListStreams", "DescribeStream", "GetDataEndpoint", "GetImages" or
	// "ListFragments"; "" for anything else.
	Operation string
	// Stream is the name of the stream, if the request named one that exists.
	Stream string

	// Start, End and Interval are the window of GetImages; Producer tells that it is by
	// the producer's clock. Offset is how many of its instants were on earlier pages, and
	// Asked how many are on this one.
	Start, End    time.Time
	Interval      time.Duration
	Producer      bool
	Offset, Asked int

	// Images are the instants of the pictures that were handed out, in the order of the
	// page. Made counts those that the service made, even if the answer was cut before
	// them.
	Images []time.Time
	Made   int
	// Status and Code are the HTTP status and error of the answer, if any. If the
	// connection was reset, or the request never answered, Status is 0.
	Status int
	Code   string
	// Fault names which of [Faults] happened: "throttle", "hang", "reset", "error",
	// "no-images", "stale-endpoint", "bad-token", "hidden", or any of "empty-page", "cut" or
	// "stall", "slow" and "trickle", joined by a plus.
	Fault string
}

// A Total counts what was asked of one stream, by any operation.
type Total struct {
	Requests int
	// Errors are the requests that were not answered with a 200.
	Errors int
	// Asked counts the images that GetImages was asked for, and Answered those of them
	// that were not refused, whether there is media or not: the most that could be
	// billed. Made counts those that the service made, and Images those that were handed
	// out; both count repeats.
	Asked, Answered, Made, Images int
	// Faults are the requests to which one of [Faults] happened.
	Faults int
}

// A requestLog keeps the last requests, and totals of all.
type requestLog struct {
	mu     sync.Mutex
	last   []Request // a ring once full
	next   int
	limit  int
	totals map[string]Total
	handed handedOut
}

func newRequestLog(limit, instants int) *requestLog {
	return &requestLog{
		limit: limit, totals: map[string]Total{},
		handed: handedOut{limit: instants, counts: map[instantKey]int{}},
	}
}

// logRequest keeps a request that is answered now, and passes it to [Options.Observe].
func (s *Server) logRequest(req Request) {
	s.requests.add(req)
	if s.opts.Observe != nil {
		s.opts.Observe(req)
	}
}

// appID finds the client's own name in a user agent, where the SDK writes it as app/name.
func appID(agent string) string {
	for field := range strings.FieldsSeq(agent) {
		if name, ok := strings.CutPrefix(field, "app/"); ok {
			return name
		}
	}
	return ""
}

func (r *requestLog) add(req Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.last) < r.limit {
		r.last = append(r.last, req)
	} else {
		r.last[r.next] = req
		r.next = (r.next + 1) % r.limit
	}
	total := r.totals[req.Stream]
	total.Requests++
	total.Asked += req.Asked
	total.Images += len(req.Images)
	total.Made += req.Made
	if req.Fault != "" {
		total.Faults++
	}
	if req.Status == http.StatusOK {
		total.Answered += req.Asked
	} else {
		total.Errors++
	}
	r.totals[req.Stream] = total
	for _, t := range req.Images {
		r.handed.add(instantKey{req.Stream, source.SlotAt(t)})
	}
}

// Requests returns the last requests, oldest first: see [Options.Records].
func (s *Server) Requests() []Request {
	r := s.requests
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Request, 0, len(r.last))
	return append(append(all, r.last[r.next:]...), r.last[:r.next]...)
}

// Totals returns the counts of all requests by stream. Requests that named no existing
// stream are counted under the empty name.
func (s *Server) Totals() map[string]Total {
	r := s.requests
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.totals)
}

// An instantKey is an instant of a stream that was asked for.
type instantKey struct {
	stream string
	slot   source.Slot
}

// handedOut counts how often pictures were handed out, for the instants that were asked
// for most recently for the first time.
type handedOut struct {
	limit  int
	counts map[instantKey]int
	order  []instantKey // a ring once full
	next   int
}

func (h *handedOut) add(k instantKey) {
	if h.counts[k]++; h.counts[k] > 1 {
		return
	}
	if len(h.order) < h.limit {
		h.order = append(h.order, k)
		return
	}
	if h.limit == 0 {
		delete(h.counts, k)
		return
	}
	delete(h.counts, h.order[h.next])
	h.order[h.next] = k
	h.next = (h.next + 1) % h.limit
}

// Handed returns how often the stream's picture of each instant was handed out whole, for
// the last instants: see [Options.Instants]. An instant is what was asked for, whatever
// timestamp the answer gave.
func (s *Server) Handed(stream string) map[source.Slot]int {
	r := s.requests
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[source.Slot]int{}
	for k, n := range r.handed.counts {
		if k.stream == stream {
			counts[k.slot] = n
		}
	}
	return counts
}
