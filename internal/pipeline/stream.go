package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A Stream is one camera and what it is turned into.
type Stream struct {
	Name string
	// Open opens the stream's feed.
	Open source.OpenFeed
	Grid source.Grid
	// From is the first slot, unless there is a cursor for Key. To, unless 0, is the
	// first slot that is not read any more.
	From, To source.Slot
	// Key is that of the stream's cursor; "" neither loads nor keeps one.
	Key string
	// Backfill says that From is a time that the user chose, not now.
	Backfill bool
	// Grace is how long a missing slot may still turn up.
	Grace time.Duration
	// Freshness is the age from which on frames end as [source.Stale]; 0 keeps all.
	Freshness time.Duration
	// Routes are the outputs that are made of every frame, and where they go.
	Routes []publish.Route
	// Camera is what is particular to its pictures; nil for nothing.
	Camera *transform.Camera
	// Gates, unless nil, hold back frames that show nothing new. They have an entry for each
	// route, and no other stream has the same.
	Gates *Gates
	// Batches, unless nil, are the batches that the tensors of the routes are rows of: nil for a
	// route without batches. Streams with the same batch on the same subject are in it together;
	// they have the same Grid.
	Batches []*Batch
	// Health, unless nil, is told how good the pictures are that are decoded, and judges them. No
	// other stream has the same.
	Health *camerahealth.Watch
}

// gapRoutes returns the routes on which gaps may be announced: a batch says itself who is missing.
func (s *Stream) gapRoutes() []publish.Route {
	if s.Batches == nil {
		return s.Routes
	}
	var all []publish.Route
	for i, r := range s.Routes {
		if s.Batches[i] == nil {
			all = append(all, r)
		}
	}
	return all
}

// outputs returns the outputs of the routes.
func outputs(routes []publish.Route) []*transform.Output {
	all := make([]*transform.Output, len(routes))
	for i, r := range routes {
		all[i] = r.Output
	}
	return all
}

// A camera is what it takes to make tensors of a stream's frames: a stream of this
// pipeline, or one that another replica reads and that frames are requested of here.
type camera struct {
	Stream
	feed    feed
	ledger  *source.Ledger
	reopen  func()              // opens another feed at the ledger's cursor
	outputs []*transform.Output // of all routes
	seen    streamObservers
	share   share // of the workers' time, guarded by turns
	// background: see [Excursion].
	background bool
}

// A feed is that of a stream. Another one takes its place when the stream goes back.
type feed struct{ current atomic.Pointer[source.Feed] }

func (f *feed) get() source.Feed { return *f.current.Load() }

// Frame is that of [source.Feed].
func (f *feed) Frame(ctx context.Context, s source.Slot) (source.Frame, error) {
	return f.get().Frame(ctx, s)
}

// State is that of [source.Feed].
func (f *feed) State() source.FeedState { return f.get().State() }

// open opens the feed of s, which begins at from. answered is called after each
// request.
func open(s Stream, from source.Slot, seen func(first source.Slot) streamObservers, answered func(error)) *camera {
	c := &camera{Stream: s, ledger: source.NewLedger(s.Grid, from), outputs: outputs(s.Routes)}
	if seen != nil {
		c.seen = seen(c.ledger.Stats().Start)
		c.ledger.Watch(func(from source.Slot, n int, o source.Outcome) {
			c.seen.ended(from, n, o, c.feed.State().Trail)
		})
	}
	c.reopen = func() {
		opened := s.Open(c.ledger, func(took time.Duration, err error) {
			c.seen.fetched(took, err)
			answered(err)
		})
		c.feed.current.Store(&opened)
	}
	c.reopen()
	return c
}

// A stream is a Stream at work.
type stream struct {
	*camera
	log      *slog.Logger
	delivery publish.Delivery
	cursors  source.Cursors // nil where none are kept
	mark     func(publish.Message) publish.Message
	outing   bool // it is an excursion
	health   health
	sight    sight
	// initial: it is one of the streams that Run was given.
	initial bool
	// answered: a request has succeeded, so that a later refusal is not one at the start.
	answered atomic.Bool
	clips    *clips   // nil where there are none
	batches  *batches // nil where it is in none
	queue    queue
	// delivering and inHand: see State.
	delivering atomic.Bool
	inHand     atomic.Int64
	views      views
	// lastGated is closed when the last job that a worker has taken is past the gates; of
	// read only.
	lastGated <-chan struct{}
	saved     time.Time // when its cursor was last due to be saved; of report only
	// kept is the cursor that was last given to the Cursors, guarded by the pipeline's lock.
	kept source.Slot
	// rewinds is how often the ledger had been taken back then.
	rewinds uint64
	trail   time.Duration // of the camera's clock, as last logged; of report only
	ends    ends
}

// ends are the means to end a stream's loop.
type ends struct {
	stop   context.CancelFunc // stop reading, finish what is in flight
	giveUp context.CancelFunc // give up what is in flight
	ended  chan struct{}      // closed when the loop has ended
}

// openStream opens a stream at its saved cursor, where there is one.
func (p *Pipeline) openStream(s Stream, cursors source.Cursors, observers []Observer) *stream {
	log := p.opts.Log.With("stream", s.Name)
	if cursors != nil && s.Key != "" {
		// At its first start, what is saved is where it begins.
		if cursor, ok := cursors.Load(s.Key); ok && cursor != s.From {
			s.From = cursor
			log.Info("resuming at the saved cursor", "cursor", cursor.String())
		}
	}
	st := &stream{log: log, delivery: p.opts.Delivery, cursors: cursors, ends: ends{ended: make(chan struct{})}}
	seen := func(first source.Slot) streamObservers { return observe(observers, s, first) }
	st.camera = open(s, s.From, seen, func(err error) {
		if err == nil {
			st.answered.Store(true)
			st.health.read(nil)
		}
	})
	st.health.last = st.ledger.Stats()
	return st
}

// expect keeps time going for a stream that cannot be read: its slots are expected all
// the same, unless nobody wants them. now is the service's time.
func (s *stream) expect(now time.Time) {
	if state := s.feed.State(); !state.Unknown && !state.Resting {
		s.ledger.Follow(s.present(now), s.To)
	}
}

// loop reads a stream, and passes its frames to the workers and on to the delivery,
// until ctx or the feed ends. What is in flight then is finished before drain ends. When
// the delivery has lost what it had, loop begins again there.
func (p *Pipeline) loop(ctx, drain context.Context, s *stream) error {
	for {
		err := p.pass(ctx, drain, s)
		if !s.withdraw(err) {
			return err
		}
		s.reopen()
	}
}

// pass is loop, which it leaves when the delivery has lost what it had.
func (p *Pipeline) pass(ctx, drain context.Context, s *stream) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var fatal error
	s.batches.join()
	s.queue.open(func(j *job) {
		if err := p.deliver(drain, s, j, fatal == nil); err != nil {
			fatal = err
			stop()
		}
		if j != nil {
			s.inHand.Add(-1)
		}
	})
	refused := p.read(ctx, s)
	s.queue.close()
	s.clips.reset()
	s.batches.leave(drain)
	if fatal == nil {
		fatal = p.tellGaps(drain, s)
	}
	if fatal == nil {
		fatal = refused
	}
	return fatal
}

// withdraw takes the stream back to what the delivery has lost, if err says that it has
// lost anything. Nothing of the stream is in flight.
func (s *stream) withdraw(err error) bool {
	var lost *publish.LostError
	if !errors.As(err, &lost) {
		return false
	}
	n := s.ledger.Withdraw(lost.From)
	s.log.Info("messages that NATS had acknowledged are lost: they are published again where Kinesis still has the media", "from", lost.From.String(), "slots", n)
	return true
}

// read queues the frames of a stream's feed. The error says that the credentials of
// every stream were refused.
func (p *Pipeline) read(ctx context.Context, s *stream) error {
	var wait waitEstimate
	first := true
	for f, err := range s.feed.get().Frames(ctx) {
		if err != nil {
			if first && s.initial && !s.answered.Load() && p.refusedAll(err) {
				return fmt.Errorf("stream %s: %w", s.Name, err)
			}
			first = false
			s.health.read(err)
			continue
		}
		first = false
		if f.Late && p.opts.InOrder {
			if f.Recycle != nil {
				f.Recycle()
			}
			continue
		}
		j := s.newJob(f)
		begin := time.Now()
		s.inHand.Add(1)
		switch {
		case wait.tooLong(j, p.opts.Now()):
			j.skip()
		case p.admit(ctx, j):
			wait = waitEstimate{waited: time.Since(begin), at: p.opts.Now()}
			if j.gated != nil {
				s.lastGated = j.gated.decided
			}
		default:
			j.seen.ended(source.Pending, nil)
			s.inHand.Add(-1)
			return nil
		}
		s.queue.add(j)
	}
	return nil
}
