package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
)

// A lease is what the bucket holds for a stream.
type lease struct {
	// Owner is the name of a member, "" for nobody.
	Owner  string      `json:"owner"`
	Cursor source.Slot `json:"-"`

	revision uint64    // 0 if there is none
	at       time.Time // when it was written, by the server's clock
}

// leaseText is the JSON of a lease in the bucket. The cursor is in RFC 3339.
type leaseText struct {
	Owner  string `json:"owner"`
	Cursor string `json:"cursor"`
}

// maxName is how long the name of a member may be.
const maxName = 1 << 10

// A Claim says which stream to acquire, and how.
type Claim struct {
	// Key is the key of the stream's cursor.
	Key string
	// First returns where the stream begins if it has no cursor yet.
	First func(context.Context) (source.Slot, error)
	// Now makes the stream begin at First also if nobody has owned it for a few leases.
	Now bool
	// End, unless 0, is the cursor at which the stream is done. Then it is not
	// acquired.
	End source.Slot
}

// A Holding is the result of [Leases.Acquire].
type Holding struct {
	// Held tells whether this member holds the stream's lease now.
	Held bool
	// Owner is the name of the owner, "" for nobody.
	Owner string
	// Cursor is how far the stream was delivered.
	Cursor source.Slot
}

// Acquire acquires a stream that nobody owns, or whose owner is no longer a member. The
// error is First's, or says that the bucket did not answer.
func (l *Leases) Acquire(ctx context.Context, c Claim) (Holding, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	r := l.record(c.Key)
	r.writing.Lock()
	defer r.writing.Unlock()
	is, err := l.get(ctx, c.Key)
	missing := errors.Is(err, jetstream.ErrKeyNotFound)
	switch {
	case missing && l.leftToOwners(r):
		l.dropNew(c.Key, r)
		return Holding{}, nil
	case missing:
		is.Cursor, err = c.First(ctx)
	case err != nil:
	case c.End != 0 && is.Cursor >= c.End, is.Owner != "" && is.Owner != l.opts.Member && !l.gone(is):
		l.drop(c.Key, r)
		return Holding{Owner: is.Owner, Cursor: is.Cursor}, nil
	case c.Now && l.members.clock().Sub(is.at) > 3*l.opts.Lease:
		var first source.Slot
		first, err = c.First(ctx)
		is.Cursor = max(is.Cursor, first)
	}
	if err != nil {
		l.dropNew(c.Key, r)
		return Holding{}, err
	}
	return l.take(ctx, c.Key, r, is, missing)
}

// take makes this member the owner of a stream whose lease was read as given.
func (l *Leases) take(ctx context.Context, key string, r *record, is lease, missing bool) (Holding, error) {
	l.mu.Lock()
	until := l.until
	now := lease{Owner: l.opts.Member, Cursor: r.cursor(is.Cursor), revision: is.revision}
	l.mu.Unlock()
	if !time.Now().Before(until) {
		l.dropNew(key, r)
		return Holding{Owner: is.Owner, Cursor: is.Cursor}, nil
	}
	var err error
	if missing {
		now.revision, err = l.kv.Create(ctx, l.streamKey(key), now.encode())
	} else {
		now.revision, err = l.put(ctx, key, now)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case dial.IsConflict(err), errors.Is(err, jetstream.ErrKeyExists):
		if r.revision == 0 && l.records[key] == r {
			delete(l.records, key)
		}
		return Holding{Cursor: is.Cursor}, nil
	case err != nil:
		r.unsure, r.revision = true, max(r.revision, 1)
		return Holding{}, err
	}
	// If until has passed meanwhile, this lease has ended with the others.
	r.saved(now)
	r.unsure = !time.Now().Before(until)
	return Holding{Held: !r.unsure, Owner: l.opts.Member, Cursor: now.Cursor}, nil
}

// record returns the record of a key. A new one is not in use yet.
func (l *Leases) record(key string) *record {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.records[key]
	if r == nil {
		r = &record{unsure: true}
		l.records[key] = r
	}
	return r
}

// drop forgets a record, because somebody else owns the stream.
func (l *Leases) drop(key string, r *record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.records[key] == r {
		delete(l.records, key)
	}
}

// dropNew forgets a record that was made for an attempt that has written nothing.
func (l *Leases) dropNew(key string, r *record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.records[key] == r && r.revision == 0 {
		delete(l.records, key)
	}
}

// gone tells whether the owner of a lease is certainly no longer a member. That takes
// news of the members that is not older than the lease.
func (l *Leases) gone(is lease) bool {
	member, revision := l.members.has(is.Owner)
	if !member && revision < is.revision {
		signal(l.renew) // our own renewal is such news
	}
	return !member && revision >= is.revision
}

// Release writes the cursors of streams, gives up their leases, and tells the group. The
// leases are not held any more, whatever the error. Streams that could not be released
// are [Leases.Unsure].
func (l *Leases) Release(ctx context.Context, keys ...string) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	records := map[string]*record{}
	l.mu.Lock()
	for _, key := range keys {
		if r := l.records[key]; r != nil {
			r.unsure = true
			records[key] = r
		}
	}
	l.mu.Unlock()
	var writes errgroup.Group
	writes.SetLimit(atOnce)
	for key, r := range records {
		writes.Go(func() error { return l.release(ctx, key, r) })
	}
	err := writes.Wait()
	signal(l.renew)
	return err
}

func (l *Leases) release(ctx context.Context, key string, r *record) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	for ctx.Err() == nil {
		l.mu.Lock()
		now := lease{Cursor: r.cursor(r.Cursor), revision: r.revision}
		ours := l.records[key] == r && r.unsure
		l.mu.Unlock()
		if !ours {
			return nil
		}
		_, err := l.put(ctx, key, now)
		if err == nil {
			l.mu.Lock()
			r.Cursor = now.Cursor
			delete(l.records, key)
			l.released = append(l.released, key)
			l.mu.Unlock()
			return nil
		}
		if !dial.IsConflict(err) {
			return err
		}
		if err := l.contested(ctx, key, r); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// get reads the lease of a stream.
func (l *Leases) get(ctx context.Context, key string) (lease, error) {
	v, err := l.kv.Get(ctx, l.streamKey(key))
	if err != nil {
		return lease{}, err
	}
	is, err := decodeLease(v.Value())
	if err != nil {
		return lease{}, fmt.Errorf("%.80q is not a lease: %w: delete it with: nats kv del %s %.200s", v.Value(), err, Bucket, v.Key())
	}
	is.revision, is.at = v.Revision(), v.Created()
	return is, nil
}

// decodeLease reads a value of the bucket, which anybody may have written who is allowed to.
func decodeLease(value []byte) (lease, error) {
	var text leaseText
	if err := json.Unmarshal(value, &text); err != nil {
		return lease{}, err
	}
	if len(text.Owner) > maxName {
		return lease{}, fmt.Errorf("the name of its owner has %d bytes", len(text.Owner))
	}
	cursor, err := source.ParseSlot(text.Cursor)
	return lease{Owner: text.Owner, Cursor: cursor}, err
}

// put writes a lease, unless somebody else has written it since its revision.
func (l *Leases) put(ctx context.Context, key string, e lease) (uint64, error) {
	return l.kv.Update(ctx, l.streamKey(key), e.encode(), e.revision)
}

func (e lease) encode() []byte {
	data, _ := json.Marshal(leaseText{e.Owner, e.Cursor.String()}) // two texts: it cannot fail
	return data
}

func (l *Leases) streamKey(key string) string { return l.prefix + "s." + dial.EncodeKey(key) }

// publishWithTTL writes a key that expires, and returns the sequence of the write.
func (l *Leases) publishWithTTL(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	ack, err := l.conn.Control().JetStream().PublishMsg(ctx, &nats.Msg{Subject: "$KV." + Bucket + "." + key, Data: value}, jetstream.WithMsgTTL(ttl))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// Cursor reads how far a stream was delivered, whoever owns it. It is 0 if the stream has
// not begun.
func (l *Leases) Cursor(ctx context.Context, key string) (source.Slot, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	is, err := l.get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, nil
	}
	return is.Cursor, err
}
