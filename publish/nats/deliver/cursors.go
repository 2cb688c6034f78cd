package deliver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
)

// CursorBucket is the key-value bucket of [Cursors].
const CursorBucket = "cvf_cursor"

var _ source.Cursors = (*Cursors)(nil)

// cursorsAtOnce is how many writes may wait for their answers at the same time.
const cursorsAtOnce = 64

// Cursors are [source.Cursors] in a NATS key-value bucket. A cursor never moves back, even
// if several processes write it, except by Rewind.
type Cursors struct {
	conn     *dial.Conn
	replicas int
	remaking sync.Mutex // held while the bucket is made again

	mu      sync.Mutex
	kv      jetstream.KeyValue
	cursors map[string]*cursor // by the key in the bucket
}

// A cursor is the state of the cursor of one key.
type cursor struct {
	writing sync.Mutex // held during a write; Cursors.mu guards the rest
	set     source.Slot
	back    bool // set is written even if the bucket holds a newer one
	// saved is what the bucket holds, 0 if it holds nothing.
	saved    source.Slot
	revision uint64
}

// NewCursors returns cursors that have yet to be opened. If the bucket does not exist,
// Open creates it with the given number of replicas. NewCursors does not wait for a
// server.
func NewCursors(conn *dial.Conn, replicas int) *Cursors {
	return &Cursors{conn: conn, replicas: max(replicas, 1), cursors: map[string]*cursor{}}
}

// Open opens or creates the bucket and reads it. It waits for JetStream, see
// [dial.Conn.Retry]. Call it before any other method.
func (c *Cursors) Open(ctx context.Context) error {
	if err := c.conn.Retry(ctx, "key-value bucket "+CursorBucket, c.open); err != nil {
		return fmt.Errorf("key-value bucket %s: %w", CursorBucket, err)
	}
	return nil
}

// open makes one attempt to open or create the bucket and to read it.
func (c *Cursors) open(ctx context.Context) error {
	js := c.conn.Control().JetStream()
	kv, _, err := c.ensure(ctx, js)
	if err == nil {
		c.mu.Lock()
		c.kv = kv
		c.mu.Unlock()
		err = c.read(ctx, js)
	}
	if err != nil && !dial.Transient(err) && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", dial.ErrStream, err)
	}
	return err
}

// ensure returns the bucket, and whether it had to be created.
func (c *Cursors) ensure(ctx context.Context, js jetstream.JetStream) (kv jetstream.KeyValue, created bool, err error) {
	return dial.Ensure(ctx, func(ctx context.Context) (jetstream.KeyValue, error) {
		return js.KeyValue(ctx, CursorBucket)
	}, func(ctx context.Context) (jetstream.KeyValue, error) {
		return js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: CursorBucket, Description: "cvfeeder: up to where streams were delivered", Replicas: c.replicas,
		})
	})
}

// bucket returns the bucket.
func (c *Cursors) bucket() jetstream.KeyValue {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kv
}

// remake makes the bucket again if it is gone, with all cursors that this process knows.
// It returns false if the bucket is there.
func (c *Cursors) remake(ctx context.Context) (bool, error) {
	c.remaking.Lock()
	defer c.remaking.Unlock()
	kv, created, err := c.ensure(ctx, c.conn.Control().JetStream())
	if err != nil || !created {
		return false, err
	}
	c.mu.Lock()
	c.kv = kv
	known := map[string]source.Slot{}
	for key, of := range c.cursors {
		of.set = max(of.set, of.saved)
		of.saved, of.revision = 0, 0
		if of.set != 0 {
			known[key] = of.set
		}
	}
	c.mu.Unlock()
	c.conn.Remade("key-value bucket " + CursorBucket)
	for key, slot := range known {
		if _, err := kv.Create(ctx, key, []byte(slot.String())); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
			return true, err
		}
	}
	return true, nil
}

// read reads all cursors. It takes the keys from the subjects of the bucket's stream,
// which needs no consumer, and so no permission to create one.
func (c *Cursors) read(ctx context.Context, js jetstream.JetStream) error {
	const prefix = "$KV." + CursorBucket + "."
	stream, err := js.Stream(ctx, "KV_"+CursorBucket)
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		key := strings.TrimPrefix(subject, prefix)
		if err := c.load(ctx, key); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			return err
		}
	}
	return nil
}

// load reads the cursor of one key from the bucket.
func (c *Cursors) load(ctx context.Context, key string) error {
	v, err := c.bucket().Get(ctx, key)
	if err != nil {
		return err
	}
	slot, err := source.ParseSlot(string(v.Value()))
	if err != nil {
		return fmt.Errorf("%.40q is not a cursor: %w: delete it with: nats kv del %s %.200s", v.Value(), err, CursorBucket, key)
	}
	c.note(key, slot, v.Revision())
	return nil
}

// BucketMade returns when a key-value bucket was made, zero if there is none.
func BucketMade(ctx context.Context, conn *dial.Conn, bucket string) (time.Time, error) {
	stream, err := conn.Control().JetStream().Stream(ctx, "KV_"+bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return stream.CachedInfo().Created, nil
}

// SavedCursor returns the cursor that [Cursors] have saved for a key, and false if there
// is none. It does not create the bucket.
func SavedCursor(ctx context.Context, conn *dial.Conn, key string) (source.Slot, bool, error) {
	kv, err := conn.Control().JetStream().KeyValue(ctx, CursorBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	cursors := &Cursors{kv: kv, cursors: map[string]*cursor{}}
	err = cursors.load(ctx, dial.EncodeKey(key))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, false, nil
	}
	slot, ok := cursors.Load(key)
	return slot, ok, err
}

// Load implements [source.Cursors]. It does not see what other processes write after
// Open.
func (c *Cursors) Load(key string) (source.Slot, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.of(dial.EncodeKey(key))
	slot := max(of.set, of.saved)
	if of.back {
		slot = of.set
	}
	return slot, slot != 0
}

// Set implements [source.Cursors]. A cursor does not move back.
func (c *Cursors) Set(key string, slot source.Slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.of(dial.EncodeKey(key))
	of.set = max(of.set, slot)
}

// Rewind implements [source.Cursors].
func (c *Cursors) Rewind(key string, slot source.Slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.of(dial.EncodeKey(key))
	of.set, of.back = slot, true
}

// of returns the state of a key. The caller holds the lock.
func (c *Cursors) of(key string) *cursor {
	of := c.cursors[key]
	if of == nil {
		of = &cursor{}
		c.cursors[key] = of
	}
	return of
}

// Flush implements [source.Cursors]. A newer cursor in the bucket stays as it is. If ctx
// has no deadline, Flush waits for [dial.Options.WriteTimeout].
func (c *Cursors) Flush(ctx context.Context, keys ...string) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.conn.Control().WriteTimeout())
		defer cancel()
	}
	var writes errgroup.Group
	writes.SetLimit(cursorsAtOnce)
	for _, key := range keys {
		writes.Go(func() error { return c.save(ctx, dial.EncodeKey(key)) })
	}
	if err := writes.Wait(); err != nil {
		return fmt.Errorf("key-value bucket %s: %w", CursorBucket, err)
	}
	return nil
}

// save writes the cursor of a key, unless the bucket has it or a newer one.
func (c *Cursors) save(ctx context.Context, key string) error {
	c.mu.Lock()
	of := c.of(key)
	c.mu.Unlock()
	of.writing.Lock()
	defer of.writing.Unlock()
	for {
		c.mu.Lock()
		slot, saved, revision, back := of.set, of.saved, of.revision, of.back
		c.mu.Unlock()
		if saved == slot || saved > slot && !back {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		revision, err := c.bucket().Update(ctx, key, []byte(slot.String()), revision)
		if dial.IsGone(err) {
			if remade, e := c.remake(ctx); remade || e != nil {
				if e != nil {
					return e
				}
				continue
			}
		}
		if dial.IsConflict(err) {
			if revision, err = c.resolve(ctx, key, slot); revision == 0 && err == nil {
				continue
			}
			if err == nil && saved != 0 {
				c.conn.KeysLost(CursorBucket)
			}
		}
		if err != nil {
			return err
		}
		c.note(key, slot, revision)
	}
}

// resolve reads a key that somebody else has written. If it was deleted, resolve creates
// it again and returns its revision.
func (c *Cursors) resolve(ctx context.Context, key string, slot source.Slot) (revision uint64, err error) {
	err = c.load(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		revision, err = c.bucket().Create(ctx, key, []byte(slot.String()))
		if dial.IsConflict(err) || errors.Is(err, jetstream.ErrKeyExists) {
			return 0, nil
		}
	}
	return revision, err
}

// note remembers what the bucket holds for a key.
func (c *Cursors) note(key string, slot source.Slot, revision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.of(key)
	of.saved, of.revision = slot, revision
	if slot == of.set {
		of.back = false
	}
}
