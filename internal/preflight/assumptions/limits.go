package assumptions

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// throttled is the code with which requests beyond the limits are refused.
const throttled = "ClientLimitExceededException"

// offBy is how far clocks may differ.
const offBy = time.Second

// askClock needs an answer that tells the service's time.
func askClock(ctx context.Context, s *subject) (string, bool, error) {
	if err := s.stream.Check(ctx); err != nil {
		return "", false, err
	}
	if !s.opts.Client.TimeTold() {
		return "", false, untoldf("the answers do not tell the time: they have no Date")
	}
	off := s.opts.Client.ClockOffset()
	way := "ahead"
	if off < 0 {
		way = "behind"
	}
	return fmt.Sprintf("%v %s", off.Abs().Round(100*time.Millisecond), way), off.Abs() <= offBy, nil
}

// The names of a page of ListStreams: without MaxResults, and whatever it says.
const (
	namesUnasked = 10
	namesAtMost  = 1000
	namesAsked   = 10_000
)

func askLists(ctx context.Context, s *subject) (string, bool, error) {
	page := func(most int) (int, bool, error) {
		names, more, err := s.opts.Client.ListPage(ctx, "", most)
		switch kinesis.Label(err) {
		case "NotAuthorizedException", "AccessDeniedException":
			return 0, false, untoldf("the permission kinesisvideo:ListStreams is missing")
		}
		return names, more, err
	}
	unasked, more, err := page(0)
	if err != nil {
		return "", false, err
	}
	if !more && unasked <= namesUnasked {
		return "", false, untoldf("all streams of the account fit on the first page: there are %d", unasked)
	}
	asked, rest, err := page(namesAsked)
	if err != nil {
		return "", false, err
	}
	seen := fmt.Sprintf("%d without MaxResults, and %d with it", unasked, asked)
	if !rest {
		return seen + ", which are all", unasked == namesUnasked && asked <= namesAtMost, nil
	}
	return seen, unasked == namesUnasked && asked == namesAtMost, nil
}

const (
	// burstMost and burstTime bound the requests that are sent until one is throttled, and
	// burstAtOnce how many are under way.
	burstMost   = 120
	burstTime   = 3 * time.Second
	burstAtOnce = 16
	// burstCost is the points that each takes.
	burstCost = limits.RequestPoints + 1
)

// A burst is what came of requests in quick succession.
type burst struct {
	mu       sync.Mutex
	answered int    // all of them were sent before one was known to be throttled
	failures int    // of those that count as answered: they cost points all the same
	label    string // of the answer that ended it, "" if none did
	failed   error  // the last failure
	spent    bool   // the images ended it
	took     time.Duration
}

// askThrottle sends requests that take many points and no picture, until one is refused.
func askThrottle(ctx context.Context, s *subject) (string, bool, error) {
	if _, err := s.stream.DataEndpoint(ctx); err != nil {
		return "", false, err
	}
	// What earlier requests took is granted again by then.
	if err := pacing.Sleep(ctx, 2*time.Second); err != nil {
		return "", false, err
	}
	b := s.burst(ctx)
	switch {
	case b.spent:
		return "", false, errSpent
	case 2*b.failures > b.answered:
		return "", false, b.failed
	}
	in := fmt.Sprintf("%d requests in %v", b.answered, b.took.Round(100*time.Millisecond))
	granted := limits.MetadataPoints * (1 + b.took.Seconds()) / burstCost
	switch {
	case b.label != "":
		same := b.label == throttled && float64(b.answered) <= 1.25*granted && float64(b.answered) >= granted/2
		return fmt.Sprintf("%s, after %s of %d points each", b.label, in, burstCost), same, nil
	case float64(b.answered) > 1.25*granted:
		return fmt.Sprintf("nothing: %s of %d points each were answered", in, burstCost), false, nil
	default:
		return "", false, untoldf("%s were answered: too few to be throttled", in)
	}
}

// burst sends the requests. Each asks for one image, of the present, that is never there.
func (s *subject) burst(ctx context.Context) *burst {
	ctx, cancel := context.WithTimeout(ctx, burstTime)
	defer cancel()
	b := &burst{}
	begin := time.Now()
	var all errgroup.Group
	all.SetLimit(burstAtOnce)
	for range burstMost {
		if b.over() || ctx.Err() != nil {
			break
		}
		if b.spent = s.spend(1) != nil; b.spent {
			break
		}
		all.Go(func() error {
			now := s.now()
			w := poll.Window{Start: now.Add(-time.Second), End: now, Interval: 2 * time.Second}
			_, err := s.stream.Page(ctx, kinesis.PageRequest{Window: w, MaxResults: 1, Width: s.size.X, Height: s.size.Y})
			if ctx.Err() == nil {
				b.end(begin, err)
			}
			return nil
		})
	}
	_ = all.Wait() // none of them returns an error
	return b
}

func (b *burst) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.label != ""
}

// end takes note of how a request ended.
func (b *burst) end(begin time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch label := kinesis.Label(err); {
	case err == nil || label == notFound:
		b.answered++
	case label != throttled && passing(err):
		b.answered++
		b.failures++
		b.failed = err
	case b.label != "":
		return
	default:
		b.label = label
	}
	b.took = time.Since(begin)
}
