package frames

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The defaults of [Options].
const (
	DefaultRate         = 20
	DefaultRatePerAsker = 10
)

const (
	// maxAskers is how many askers are remembered at least. An asker that is forgotten may
	// have another burst, which the rate of all still bounds.
	maxAskers = 1000
	maxAsker  = 128 // bytes
)

// An Outcome is how a request for a frame ended before [Options.Frame] was called.
type Outcome string

// The outcomes.
const (
	// Forwarded: the cvfeeder that has the stream answered.
	Forwarded Outcome = "forwarded"
	// RefusedRate: there were too many requests in a short time.
	RefusedRate Outcome = "refused_rate"
	// RefusedBusy: too many frames were being made, or the service was ending.
	RefusedBusy Outcome = "refused_busy"
	// BadRequest: it was not understood.
	BadRequest Outcome = "bad_request"
	// Misdirected: the answer was wanted on a subject that is no inbox. This is also said of
	// requests for other things than frames.
	Misdirected Outcome = "misdirected"
	// Failed: the cvfeeder that has the stream did not answer.
	Failed Outcome = "failed"
)

// askerOf returns who asks. NATS does not tell, but a client has its inboxes below one
// prefix, such as _INBOX.1GoNqBNwc0tPtvAVWfXyRU. Who wants to be taken for many can choose
// many, unless the server's permissions give each user an inbox of its own; so the limit for
// each asker is for fairness, and that for all is what holds.
func askerOf(reply string) string {
	first, rest, _ := strings.Cut(reply, ".")
	second, _, _ := strings.Cut(rest, ".")
	asker := first + "." + second
	return asker[:min(len(asker), maxAsker)]
}

// Rates are the limits on requests for frames in a short time. They may be shared with who
// takes such requests in another way than over NATS.
type Rates struct {
	perAsker int
	all      *rate.Limiter

	mu sync.Mutex
	// askers that asked lately, and those that asked before maxAskers others.
	askers, before map[string]*rate.Limiter
}

// NewRates returns limits on the requests a second from all askers together, and from each. A
// burst may have twice as many.
func NewRates(all, perAsker int) *Rates {
	return &Rates{perAsker: perAsker, all: limiter(all), askers: map[string]*rate.Limiter{}}
}

// unused returns the same limits, of which nothing has been taken.
func (r *Rates) unused() *Rates { return NewRates(int(r.all.Limit()), r.perAsker) }

func limiter(perSecond int) *rate.Limiter { return rate.NewLimiter(rate.Limit(perSecond), 2*perSecond) }

// Take counts a request, or returns which limit it goes beyond.
func (r *Rates) Take(asker string) error {
	now := time.Now()
	r.mu.Lock()
	own := r.of(asker)
	r.mu.Unlock()
	mine := own.ReserveN(now, 1)
	if wait := mine.DelayFrom(now); wait > 0 {
		mine.CancelAt(now)
		return tooMany("for each asker", "requests.rate_per_asker", r.perAsker, wait)
	}
	shared := r.all.ReserveN(now, 1)
	if wait := shared.DelayFrom(now); wait > 0 {
		shared.CancelAt(now)
		mine.CancelAt(now)
		return tooMany("for all askers together", "requests.rate", int(r.all.Limit()), wait)
	}
	return nil
}

// of returns the limiter of an asker. Its caller holds the lock.
func (r *Rates) of(asker string) *rate.Limiter {
	l := r.askers[asker]
	if l != nil {
		return l
	}
	if l = r.before[asker]; l == nil {
		l = limiter(r.perAsker)
	}
	if len(r.askers) >= maxAskers {
		r.before, r.askers = r.askers, map[string]*rate.Limiter{}
	}
	r.askers[asker] = l
	return l
}

func tooMany(whose, key string, limit int, wait time.Duration) error {
	wait = max(wait.Round(time.Millisecond), time.Millisecond)
	return &Error{CodeBusy, fmt.Sprintf("too many requests: at most %d a second %s (%s): ask again in %v", limit, whose, key, wait), wait}
}
