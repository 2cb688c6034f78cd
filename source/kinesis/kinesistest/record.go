package kinesistest

import (
	"maps"
	"sync"
	"time"
)

// A Request is what a client asked, and what it got.
type Request struct {
	// Time is when the request came.
	Time time.Time
	// Operation is "ListStreams", "DescribeStream", "GetDataEndpoint" or
	// "GetImages"; empty for anything else.
	Operation string
	// Stream is the stream's name, where the request named one that exists.
	Stream string

	// Start, End and Interval are GetImages's window. Offset tells how many of its
	// instants earlier pages have dealt with, and Asked how many this one does.
	Start, End    time.Time
	Interval      time.Duration
	Offset, Asked int

	// Images are the instants of the pictures that were handed out.
	Images []time.Time
	// Status and Code are the answer's HTTP status, and its error, if any.
	Status int
	Code   string
}

// A Total counts what was asked of one stream, by any operation.
type Total struct {
	Requests int
	// Errors are the requests that were not answered with a 200.
	Errors int
	// Asked are the images that GetImages was asked for, Images those handed out.
	Asked, Images int
}

// A record keeps the last requests, and totals of all.
type record struct {
	mu     sync.Mutex
	last   []Request // a ring once full
	next   int
	limit  int
	totals map[string]Total
}

func newRecord(limit int) *record { return &record{limit: limit, totals: map[string]Total{}} }

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
	if req.Status != 200 {
		total.Errors++
	}
	r.totals[req.Stream] = total
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
