package kinesistest

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Request is what a client asked, and what it got.
type Request struct {
	// Client is what the client calls itself: the app id of the AWS SDK's user agent,
	// which AWS_SDK_UA_APP_ID sets; empty for none.
	Client string
	// Time is when the request came.
	Time time.Time
	// Operation is "ListStreams", "DescribeStream", "GetDataEndpoint", "GetImages" or
	// "ListFragments"; empty for anything else.
	Operation string
	// Stream is the stream's name, where the request named one that exists.
	Stream string

	// Start, End and Interval are GetImages's window; Producer tells that it is by
	// the producer's clock. Offset tells how many of its instants earlier pages have
	// dealt with, and Asked how many this one does.
	Start, End    time.Time
	Interval      time.Duration
	Producer      bool
	Offset, Asked int

	// Images are the instants of the pictures that were handed out, in the order of
	// the page; Made counts those that the service made, though the answer was cut
	// before them.
	Images []time.Time
	Made   int
	// Status and Code are the answer's HTTP status, and its error, if any. Where the
	// connection was reset there is no status.
	Status int
	Code   string
	// Fault names what went wrong by [Faults]: "throttle", "reset", "error",
	// "no-images", "stale-endpoint", "bad-token", or any of "empty-page", "cut", "slow"
	// and "trickle", joined by a plus.
	Fault string
}

// A Total counts what was asked of one stream, by any operation.
type Total struct {
	Requests int
	// Errors are the requests that were not answered with a 200.
	Errors int
	// Asked are the images that GetImages was asked for, and Answered those of them
	// that were not refused, whether there is media or not: the most that could be
	// billed. Made are those that the service made, and Images those handed out, in
	// both with repeats.
	Asked, Answered, Made, Images int
	// Faults are the requests with which something went wrong by [Faults].
	Faults int
}

// A record keeps the last requests, and totals of all.
type record struct {
	mu     sync.Mutex
	last   []Request // a ring once full
	next   int
	limit  int
	totals map[string]Total
	handed handed
}

func newRecord(limit, instants int) *record {
	return &record{limit: limit, totals: map[string]Total{}, handed: handed{limit: instants, counts: map[instantKey]int{}}}
}

// recorded keeps a request that is answered now, and tells who wants to know.
func (s *Server) recorded(req Request) {
	s.record.add(req)
	if s.opts.Observe != nil {
		s.opts.Observe(req)
	}
}

// appID finds the client's own name in a user agent, which the SDK writes as app/name.
func appID(agent string) string {
	for field := range strings.FieldsSeq(agent) {
		if name, ok := strings.CutPrefix(field, "app/"); ok {
			return name
		}
	}
	return ""
}

func (r *record) add(req Request) {
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

// Requests returns the last requests (see [Options.Records]), oldest first.
func (s *Server) Requests() []Request {
	r := s.record
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Request, 0, len(r.last))
	return append(append(all, r.last[r.next:]...), r.last[:r.next]...)
}

// Totals returns the counts of all requests by stream; those that named none that
// exists are under the empty name.
func (s *Server) Totals() map[string]Total {
	r := s.record
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.totals)
}

// An instantKey is an instant of a stream, as it was asked for.
type instantKey struct {
	stream string
	slot   source.Slot
}

// handed counts how often pictures were handed out, for the instants that were
// seen first last.
type handed struct {
	limit  int
	counts map[instantKey]int
	order  []instantKey // a ring once full
	next   int
}

func (h *handed) add(k instantKey) {
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

// Handed returns how often the stream's picture of each instant was handed out
// whole, for the last instants (see [Options.Instants]). An instant is what was
// asked for, whatever timestamp it got.
func (s *Server) Handed(stream string) map[source.Slot]int {
	r := s.record
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
