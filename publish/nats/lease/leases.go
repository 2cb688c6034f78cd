// Package lease shares streams between replicas by means of a NATS key-value bucket: each
// stream belongs to one member of a group at a time.
//
//	leases := lease.New(conn, lease.Options{Group: "yard"})
//	if err := leases.Join(ctx); err != nil {
//		return err
//	}
//	defer leases.Close()
//	h, err := leases.Acquire(ctx, lease.Claim{Key: "cam-1", First: first})
//	if err == nil && h.Held {
//		// the stream is ours while leases.Holds("cam-1"); it resumes at h.Cursor
//	}
//
// The caller decides which member tries to acquire which stream, based on
// [Leases.Members].
package lease

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
)

// Bucket is the key-value bucket of [Leases].
const Bucket = "cvf_lease"

// ErrNotHeld says that a lease was lost.
var ErrNotHeld = errors.New("the lease is not held any more")

var _ source.Cursors = (*Leases)(nil)

const (
	// MinDuration is the shortest lease: the server counts whole seconds, and each
	// renewal has a third of the lease.
	MinDuration = 3 * time.Second
	// DefaultDuration is the default of [Options.Lease].
	DefaultDuration = 6 * time.Second

	// markerTime is how long the server keeps the marker of a member that is gone.
	markerTime = time.Minute
	// atOnce is how many writes may wait for their answers at the same time.
	atOnce = 64
	// groupWrites is about how many cursors a group writes in a second. The more
	// streams it has, the less often each is written.
	groupWrites = 2000
	maxPace     = time.Minute
	// maxWait bounds the wait for the bucket, however long the lease is, because
	// callers wait for it.
	maxWait = 5 * time.Second
)

// Options are the options of [New].
type Options struct {
	// Group is the name of the group.
	Group string
	// Member is the name of this member, which must be unique. Default: the name of the
	// host and a random part.
	Member string
	// Lease is how long a member owns its streams without a renewal, in whole seconds,
	// at least [MinDuration]. Default: [DefaultDuration].
	Lease time.Duration
	// Replicas is the number of servers that hold the bucket, if it is created here.
	// Default: 1.
	Replicas int
	// Weight is this member's share of the streams, in any unit that the whole group
	// uses. Default: 1.
	Weight float64
	// Logger is told which leases are lost. Default: nothing is logged.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Lease = max(cmp.Or(o.Lease, DefaultDuration), MinDuration).Round(time.Second)
	o.Replicas = max(o.Replicas, 1)
	if o.Weight <= 0 {
		o.Weight = 1
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Member == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "member"
		}
		o.Member = host + "-" + strings.ToLower(rand.Text()[:8])
	}
	return o
}

// Leases share streams between the members of a group, by means of a NATS key-value
// bucket. They are also the [source.Cursors] of those streams.
//
// Each member has a key that it renews every third of a lease, and that expires by the
// server's clock. Each stream has a key with its owner and its cursor, which is written
// by compare-and-set only. So a member that was taken for dead, but is not, finds out
// when it tries to write the cursor. A member can acquire a stream whose owner is no
// longer a member. Its own leases end, by its monotonic clock, after two thirds of a
// lease without a successful renewal: before anybody else can acquire them.
//
// Cursors outlive the members: a stream that nobody owned resumes where it was.
//
// The methods are safe for concurrent use.
type Leases struct {
	conn    *dial.Conn
	kv      jetstream.KeyValue
	opts    Options
	prefix  string // the group's keys begin with it
	timeout time.Duration
	members *members
	changed chan struct{} // has a value when something has changed
	renew   chan struct{} // has a value when the next renewal must not wait
	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	until    time.Time   // when the leases end, by this process's clock
	expiry   *time.Timer // fires at until
	weight   float64
	released []string // keys for the next renewal to announce
	records  map[string]*record
	bucket   bucketState
}

// A record is the state of a stream that this member owns, or may own.
type record struct {
	writing sync.Mutex // held during a write; Leases.mu guards the rest
	lease
	next   source.Slot // the cursor to write
	back   bool        // next is written even if it is before the cursor in the bucket
	unsure bool        // the bucket may say that it is ours, but it is not used
}

// New returns the leases of a member that has yet to join its group. It does not wait for
// a server.
func New(conn *dial.Conn, o Options) *Leases {
	o = o.withDefaults()
	return &Leases{
		conn: conn, opts: o, prefix: dial.EncodeKey(o.Group) + ".", timeout: min(o.Lease/3, maxWait),
		members: newMembers(o.Member, o.Lease), changed: make(chan struct{}, 1), renew: make(chan struct{}, 1),
		weight: o.Weight, records: map[string]*record{},
	}
}

// Join opens or creates the bucket, and joins the group. It waits for JetStream, see
// [dial.Conn.Retry]. Before Join, only Member and Lease can be called. Close leaves the
// group.
func (l *Leases) Join(ctx context.Context) error {
	what := "key-value bucket " + Bucket
	err := l.conn.Retry(ctx, what, func(ctx context.Context) (err error) {
		var remade bool
		if l.kv, remade, err = openBucket(ctx, l.conn.Control().JetStream(), l.opts.Replicas); remade {
			l.bucket.wait = time.Now().Add(l.opts.Lease)
		}
		if err == nil {
			l.bucket.created, err = createdAt(ctx, l.kv)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: %s: %w", dial.ErrStream, what, err)
	}
	l.expiry = time.AfterFunc(math.MaxInt64, l.expire)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.running.Go(func() { l.renewals(running) })
	l.running.Go(func() { l.watch(running) })
	return nil
}

func bucketConfig(replicas int) jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket: Bucket, Description: "cvfeeder: which replica has which stream, and up to where it is delivered",
		Replicas: replicas, LimitMarkerTTL: markerTime,
	}
}

func findOrCreate(ctx context.Context, js jetstream.JetStream, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	kv, _, err := dial.Ensure(ctx, func(ctx context.Context) (jetstream.KeyValue, error) {
		return js.KeyValue(ctx, cfg.Bucket)
	}, func(ctx context.Context) (jetstream.KeyValue, error) {
		return js.CreateKeyValue(ctx, cfg)
	})
	return kv, err
}

// openBucket opens or creates the bucket. It tells whether the bucket was made in place of
// one that members were using.
func openBucket(ctx context.Context, js jetstream.JetStream, replicas int) (kv jetstream.KeyValue, remade bool, err error) {
	if kv, err = findOrCreate(ctx, js, bucketConfig(replicas)); err != nil {
		return nil, false, err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, false, err
	}
	if status.LimitMarkerTTL() == 0 || status.TTL() != 0 {
		return nil, false, fmt.Errorf("%w: its keys cannot expire one by one, or watchers would not notice: delete it with: nats kv del %s; cvfeeder creates it again", dial.ErrStream, Bucket)
	}
	return kv, status.Metadata()[remadeKey] != "", nil
}

// Member returns the name of this member.
func (l *Leases) Member() string { return l.opts.Member }

// Lease returns how long a lease lasts.
func (l *Leases) Lease() time.Duration { return l.opts.Lease }

// Changed returns a channel that has a value after the members have changed, after a
// stream was lost, and after another member has released one.
func (l *Leases) Changed() <-chan struct{} { return l.changed }

func (l *Leases) tell() { signal(l.changed) }

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// CursorPace returns how often each cursor of a group should be flushed: every third of a
// lease, or less often if there are many streams. Callers should add jitter.
func CursorPace(lease time.Duration, streams int) time.Duration {
	return min(max(lease/3, time.Duration(streams)*time.Second/groupWrites), maxPace)
}

// Holds tells whether this member holds the lease of a stream at this instant.
func (l *Leases) Holds(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.records[key]
	return r != nil && l.holds(r)
}

// holds is [Leases.Holds] for a record. The caller holds the lock.
func (l *Leases) holds(r *record) bool { return !r.unsure && time.Now().Before(l.until) }

// Unsure returns the keys that this member does not hold, but may still own according to
// the bucket, because of a pause or of a write without an answer. The caller has to
// acquire or release them.
func (l *Leases) Unsure() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var keys []string
	for key, r := range l.records {
		if r.unsure {
			keys = append(keys, key)
		}
	}
	return keys
}

// Load implements [source.Cursors]. It returns false for streams that are not owned.
func (l *Leases) Load(key string) (source.Slot, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.records[key]
	if r == nil {
		return 0, false
	}
	cursor := r.cursor(r.Cursor)
	return cursor, cursor != 0
}

// Set implements [source.Cursors]. It does nothing for streams that are not owned.
func (l *Leases) Set(key string, cursor source.Slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.records[key]; r != nil {
		r.next = max(r.next, cursor)
	}
}

// Rewind implements [source.Cursors]. It does nothing for streams that are not owned.
func (l *Leases) Rewind(key string, cursor source.Slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.records[key]; r != nil {
		r.next, r.back = cursor, true
	}
}

// cursor returns how far the stream was delivered, given what the bucket says. This member
// knows best what it has delivered itself.
func (r *record) cursor(bucket source.Slot) source.Slot {
	if r.back {
		return r.next
	}
	return max(bucket, r.next)
}

// saved takes note of what the bucket holds.
func (r *record) saved(is lease) {
	r.lease = is
	r.back = r.back && r.next != is.Cursor
}

// Flush implements [source.Cursors]. The error wraps [ErrNotHeld] if a lease was lost:
// then the new owner's cursor counts.
func (l *Leases) Flush(ctx context.Context, keys ...string) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	var writes errgroup.Group
	writes.SetLimit(atOnce)
	for _, key := range keys {
		writes.Go(func() error { return l.save(ctx, key) })
	}
	if err := writes.Wait(); err != nil {
		return fmt.Errorf("key-value bucket %s: %w", Bucket, err)
	}
	return nil
}

// save writes the cursor of a stream, unless the bucket has it already.
func (l *Leases) save(ctx context.Context, key string) error {
	l.mu.Lock()
	r := l.records[key]
	l.mu.Unlock()
	if r == nil {
		return nil // nothing was set
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	for {
		l.mu.Lock()
		now := lease{Owner: l.opts.Member, Cursor: r.next, revision: r.revision}
		saved, held := r.cursor(r.Cursor) == r.Cursor, l.records[key] == r && l.holds(r)
		l.mu.Unlock()
		switch {
		case saved:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !held:
			return fmt.Errorf("stream %s: %w", key, ErrNotHeld)
		}
		revision, err := l.put(ctx, key, now)
		if dial.IsConflict(err) {
			err = l.contested(ctx, key, r)
		} else if err == nil {
			now.revision = revision
			l.mu.Lock()
			r.saved(now)
			l.mu.Unlock()
		}
		if err != nil {
			return err
		}
	}
}

// contested finds out who has written a stream's key: this member, in a write whose
// answer was lost, or the new owner of the stream. A key that is gone is written again.
func (l *Leases) contested(ctx context.Context, key string, r *record) error {
	is, err := l.get(ctx, key)
	missing := errors.Is(err, jetstream.ErrKeyNotFound)
	if err != nil && !missing {
		return err
	}
	if missing && l.Holds(key) {
		l.tellOfKeys(ctx)
		return l.recreate(ctx, key, r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if is.Owner == l.opts.Member {
		r.next = max(r.next, r.Cursor) // the bucket may have been put back to an earlier state
		r.lease = is
		return nil
	}
	l.lose(key, r)
	if !missing {
		l.opts.Logger.Warn("another replica has taken the stream", "stream", key, "owner", is.Owner)
	}
	return nil
}

// lose forgets a stream that is not ours any more.
func (l *Leases) lose(key string, r *record) {
	if l.records[key] == r {
		delete(l.records, key)
		l.tell()
	}
}

// Close releases all streams, leaves the group, and stops using the bucket. Before Join it
// does nothing.
func (l *Leases) Close() error {
	if l.stop == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(l.opts.Lease, maxWait))
	defer cancel()
	err := l.Release(ctx, l.keys()...)
	l.stop()
	l.running.Wait()
	l.expiry.Stop()
	l.mu.Lock()
	l.until = time.Time{}
	l.mu.Unlock()
	if e := l.kv.Purge(ctx, l.memberKey(), jetstream.PurgeTTL(markerTime)); e != nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("key-value bucket %s: others take the streams when the leases end: %w", Bucket, err)
	}
	return nil
}

func (l *Leases) keys() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := make([]string, 0, len(l.records))
	for key := range l.records {
		keys = append(keys, key)
	}
	return keys
}
