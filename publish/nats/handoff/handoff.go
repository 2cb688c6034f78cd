// Package handoff publishes where tensors are instead of the tensors, to consumers on the same
// host: see publish/memory.
//
// A consumer that can read the memory of a host subscribes to the usual subject, and over the
// same connection to [publish.MemorySubject] of it. A [Delivery] asks the server once a second
// for the subscribers of both. If everybody who would get the payload has said in this way that
// a place is enough, the message says where the tensor is, and goes to the second subject.
// Otherwise the payload is published, as ever. So each tensor is published once, on one of the
// two subjects, and reaches everybody; its order, identity and acknowledgement are those of any
// message; and a consumer that knows nothing of this needs nothing.
package handoff

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/interest"
)

const (
	// askEvery is how long an answer is good enough, and believe how long it is believed if there
	// is no newer one.
	askEvery = time.Second
	believe  = 3 * time.Second
	// askers is how many questions are open at a time, and maxWaiting how many wait.
	askers     = 4
	maxWaiting = 1 << 14
)

// Options are those of [New].
type Options struct {
	// Host returns the token of the memory, see publish/memory. It may change when the memory is
	// made anew.
	Host func() string
	// OnUnknown is told why it is not known whether places are enough. It must be quick, and
	// safe for concurrent use.
	OnUnknown func(error)
}

// A Coverer is a delivery that can tell who listens to a subject, and whether another one would
// do, which they have subscribed to by what begins with the prefix. The answer has a deadline.
type Coverer interface {
	publish.Delivery
	Covered(ctx context.Context, subject, other, prefix string) (interest.Coverage, error)
}

// A Delivery publishes places where they are enough, by way of another delivery.
type Delivery struct {
	publish.Delivery
	by     Coverer
	opts   Options
	asking chan *subject
	counts [2]atomic.Uint64

	mu       sync.RWMutex
	subjects map[string]*subject
}

// A subject is what is known of one.
type subject struct {
	name    string
	waiting atomic.Bool            // to be asked for
	asked   atomic.Int64           // in nanoseconds since the Unix epoch
	covered atomic.Pointer[string] // the host whose places are enough, nil for none
}

// New returns a delivery that publishes by way of d. Serve has to run beside it.
func New(d Coverer, o Options) *Delivery {
	return &Delivery{
		Delivery: d, by: d, opts: o,
		asking: make(chan *subject, maxWaiting), subjects: map[string]*subject{},
	}
}

// Counts are how many messages were published in each way.
type Counts struct{ Memory, Payload uint64 }

// Counts returns how many messages were published so far.
func (d *Delivery) Counts() Counts {
	return Counts{Memory: d.counts[0].Load(), Payload: d.counts[1].Load()}
}

// Publish implements [publish.Delivery].
func (d *Delivery) Publish(ctx context.Context, m publish.Message) error {
	if m.Share != nil {
		s := d.of(m.Subject)
		if host := d.opts.Host(); d.enough(s, host) {
			// Memory that is not the host's any more has no places.
			if place := m.Share(m.Subject); place != "" {
				err := d.Delivery.Publish(ctx, publish.InMemory(m, host, place))
				if !errors.Is(err, publish.ErrUnwatched) {
					return d.count(0, err)
				}
				s.covered.Store(nil) // they have left
			}
		}
	}
	return d.count(1, d.Delivery.Publish(ctx, m))
}

func (d *Delivery) count(way int, err error) error {
	if err == nil {
		d.counts[way].Add(1)
	}
	return err
}

func (d *Delivery) of(name string) *subject {
	d.mu.RLock()
	s := d.subjects[name]
	d.mu.RUnlock()
	if s != nil {
		return s
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s = d.subjects[name]; s == nil {
		s = &subject{name: name}
		d.subjects[name] = s
	}
	return s
}

// enough tells whether a place on a host is enough for everybody, as far as is known, and has the
// question asked again if that is some time ago.
func (d *Delivery) enough(s *subject, host string) bool {
	age := time.Since(time.Unix(0, s.asked.Load()))
	if age >= askEvery && s.waiting.CompareAndSwap(false, true) {
		select {
		case d.asking <- s:
		default:
			s.waiting.Store(false)
		}
	}
	covered := s.covered.Load()
	return age < believe && covered != nil && *covered == host
}

// Forget drops what is known of subjects.
func (d *Delivery) Forget(subjects ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range subjects {
		delete(d.subjects, s)
	}
}

// Serve asks who listens until ctx ends.
func (d *Delivery) Serve(ctx context.Context) {
	var all sync.WaitGroup
	for range askers {
		all.Go(func() {
			for {
				select {
				case s := <-d.asking:
					d.ask(ctx, s)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	all.Wait()
}

func (d *Delivery) ask(ctx context.Context, s *subject) {
	begun, host := time.Now().UnixNano(), d.opts.Host()
	found, err := d.by.Covered(ctx, s.name, publish.MemorySubject(host, s.name), publish.MemorySubject(host, ""))
	if err != nil && ctx.Err() == nil {
		d.opts.OnUnknown(err)
	}
	s.covered.Store(nil)
	if err == nil && found.Some && !found.Others {
		s.covered.Store(&host)
	}
	s.asked.Store(begun)
	s.waiting.Store(false)
}
