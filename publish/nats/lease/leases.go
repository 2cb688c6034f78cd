// Package lease shares streams between replicas, through a NATS key-value bucket: each
// stream belongs to one member of a group at a time.
//
//	leases := lease.New(conn, lease.Options{Group: "yard"})
//	if err := leases.Join(ctx); err != nil {
//		return err
//	}
//	defer leases.Close()
//	h, err := leases.Acquire(ctx, lease.Claim{Key: "cam-1", First: first})
//	if err == nil && h.Held {
//		// the stream is ours for as long as leases.Holds("cam-1"), from h.Cursor on
//	}
//
// Which member tries for which stream is for the caller to decide, by [Leases.Members].
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
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
)

// Bucket is the key-value bucket of [Leases].
const Bucket = "cvf_lease"

// ErrNotHeld says that a stream is not owned any more.
var ErrNotHeld = errors.New("the lease is not held any more")

var _ source.Cursors = (*Leases)(nil)

const (
	// MinDuration is that of the shortest lease: the server's clock counts whole
	// seconds, and a renewal has a third of them.
	MinDuration = 3 * time.Second
	// DefaultDuration is the default of [Options.Lease].
	DefaultDuration = 6 * time.Second

	// markerTime is how long the server tells of a member that is gone.
	markerTime = time.Minute
	// atOnce bounds the writes that wait for their answers.
	atOnce = 64
	// groupWrites is how many cursors a group writes in a second, about; the more
	// streams it has, the more seldom each is written.
	groupWrites = 2000
	maxPace     = time.Minute
	// maxWait bounds the wait for the bucket however long the lease is: others wait
	// for whoever waits for it.
	maxWait = 5 * time.Second
)

// Options are those of [New].
type Options struct {
	// Group is the name that the members have in common.
	Group string
	// Member is the name of this one, which no other has. Default: the host's, and a
	// random part.
	Member string
	// Lease is how long a member owns its streams without renewal, in whole seconds,
	// at least [MinDuration]. Default: [DefaultDuration].
	Lease time.Duration
	// Replicas is the number of servers that hold the bucket, where it is made.
	// Default: 1.
	Replicas int
	// Weight is this member's part of the streams, as a multiple of any unit that
	// the group has in common. Default: 1.
	Weight float64
	// Logger gets what is lost. Default: it is discarded.
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

// Leases share streams between the members of a group, through a NATS key-value
// bucket. They are the [source.Cursors] of those streams, too.
//
// Each member has a key that it renews after every third of the lease, and that the
// server lets expire by its own clock. Each stream has a key, with its owner and its
// cursor, which is only ever written by compare-and-set: so whoever was taken for
// dead, and is not, learns it by the write that would have moved the cursor. A
// member takes a stream whose owner is no member any more. Its own leases end on its
// own, monotonic clock when two thirds of a lease have gone by without an answer to a
// renewal: before anybody else takes them.
//
// Cursors outlive the members: a stream that nobody owns goes on where it was.
//
// The methods may be called concurrently.
type Leases struct {
	conn    *dial.Conn
	kv      jetstream.KeyValue
	opts    Options
	prefix  string // of the group's keys
	timeout time.Duration
	members *members
	changed chan struct{} // has a value when something has
	renew   chan struct{} // has a value when the renewal is not to wait
	writes  atomic.Uint64
	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	until    time.Time   // the end of the leases, by this process's clock
	expiry   *time.Timer // at until
	weight   float64
	released []string // keys that the next renewal tells of
	records  map[string]*record
}

// A record is what is known of a stream that is owned, or may be.
type record struct {
	writing sync.Mutex // held while it is written; the rest is guarded by that of Leases
	lease
	next   source.Slot // the cursor to write
	unsure bool        // whether the bucket says that it is ours; it is not used
}

// New returns the leases of a member, which has yet to join the group. It does not wait
// for a server.
func New(conn *dial.Conn, o Options) *Leases {
	o = o.withDefaults()
	return &Leases{
		conn: conn, opts: o, prefix: dial.EncodeKey(o.Group) + ".", timeout: min(o.Lease/3, maxWait),
		members: newMembers(o.Member, o.Lease), changed: make(chan struct{}, 1), renew: make(chan struct{}, 1),
		weight: o.Weight, records: map[string]*record{},
	}
}

// Join opens the bucket, which is made where it does not exist, and joins the group.
// It waits for JetStream, see [dial.Conn.Retry], and comes before all other methods but
// Member and Lease. Close leaves the group.
func (l *Leases) Join(ctx context.Context) error {
	what := "key-value bucket " + Bucket
	err := l.conn.Retry(ctx, what, func(ctx context.Context) (err error) {
		l.kv, err = openBucket(ctx, l.conn.Control().JetStream(), l.opts.Replicas)
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

// openBucket opens or makes the bucket.
func openBucket(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.KeyValue, error) {
	kv, err := js.KeyValue(ctx, Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: Bucket, Description: "cvfeeder: which replica has which stream, and up to where it is delivered",
			Replicas: replicas, LimitMarkerTTL: markerTime,
		})
	}
	if err != nil {
		return nil, err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, err
	}
	if status.LimitMarkerTTL() == 0 || status.TTL() != 0 {
		return nil, fmt.Errorf("%w: it does not let single keys expire, and tell of it: delete it with: nats kv del %s; cvfeeder makes it anew", dial.ErrStream, Bucket)
	}
	return kv, nil
}

// Member returns the name of this member.
func (l *Leases) Member() string { return l.opts.Member }

// Lease returns how long a lease lasts.
func (l *Leases) Lease() time.Duration { return l.opts.Lease }

// Writes returns how often the bucket was written to.
func (l *Leases) Writes() uint64 { return l.writes.Load() }

// Changed has a value after the members have changed, a stream was lost, or one was
// released by another member.
func (l *Leases) Changed() <-chan struct{} { return l.changed }

func (l *Leases) tell() { signal(l.changed) }

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// CursorPace returns how often a group of so many streams should flush the cursor of
// each: every third of a lease, unless those are too many writes. Callers vary it, so
// that not all are written at once.
func CursorPace(lease time.Duration, streams int) time.Duration {
	return min(max(lease/3, time.Duration(streams)*time.Second/groupWrites), maxPace)
}

// Holds tells whether the stream of a key is owned, at this instant.
func (l *Leases) Holds(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.records[key]
	return r != nil && l.holds(r)
}

// holds is Holds for a record. The caller holds the lock.
func (l *Leases) holds(r *record) bool { return !r.unsure && time.Now().Before(l.until) }

// Unsure returns the keys that the bucket may still name this member for, though it
// does not hold them: after a pause, or a write without an answer. They are to be
// acquired or released.
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

// Load implements [source.Cursors]: it returns the cursor of a stream that is owned,
// false for others.
func (l *Leases) Load(key string) (source.Slot, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.records[key]
	if r == nil {
		return 0, false
	}
	cursor := max(r.Cursor, r.next)
	return cursor, cursor != 0
}

// Set implements [source.Cursors], where the stream is owned. Otherwise it does nothing.
func (l *Leases) Set(key string, cursor source.Slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.records[key]; r != nil {
		r.next = max(r.next, cursor)
	}
}

// Flush implements [source.Cursors]. The error wraps [ErrNotHeld] where a stream is not
// owned any more, whose cursor is the new owner's: see [Leases.Holds].
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

// save writes the cursor of a stream, unless the bucket has it.
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
		saved, held := r.next <= r.Cursor, l.records[key] == r && l.holds(r)
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
			r.lease = now
			l.mu.Unlock()
		}
		if err != nil {
			return err
		}
	}
}

// contested finds out who has written a stream's key: an earlier write of our own,
// whose answer was lost, or whoever has the stream now.
func (l *Leases) contested(ctx context.Context, key string, r *record) error {
	is, err := l.get(ctx, key)
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if is.Owner == l.opts.Member {
		r.lease = is
		return nil
	}
	l.lose(key, r)
	l.opts.Logger.Warn("another replica has taken the stream", "stream", key, "owner", is.Owner)
	return nil
}

// lose forgets a stream that is not ours.
func (l *Leases) lose(key string, r *record) {
	if l.records[key] == r {
		delete(l.records, key)
		l.tell()
	}
}

// Close releases all streams, leaves the group, and ends all use of the bucket. It does
// nothing before Join.
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
