package deliver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
)

// CursorBucket is the key-value bucket of [Cursors].
const CursorBucket = "cvf_cursor"

// flushEvery is how often cursors are written. A cursor that lags costs work after a
// crash, but no repeat: the subjects tell what they hold.
const flushEvery = 5 * time.Second

// Cursors keep in a NATS key-value bucket up to where streams were delivered. A
// cursor there never moves back, whoever else writes it. Its methods may be called
// concurrently.
type Cursors struct {
	conn     *dial.Conn
	replicas int
	kv       jetstream.KeyValue

	mu      sync.Mutex
	saved   map[string]saved
	changed map[string]source.Slot
	next    time.Time // of the next write
}

// A saved cursor is what the bucket holds of a key.
type saved struct {
	cursor   source.Slot
	revision uint64
}

// NewCursors returns the cursors in the bucket of a server, which have yet to be opened.
// Where the bucket does not exist, it is made on as many servers as replicas says. It
// does not wait for a server.
func NewCursors(conn *dial.Conn, replicas int) *Cursors {
	return &Cursors{conn: conn, replicas: max(replicas, 1), saved: map[string]saved{}, changed: map[string]source.Slot{}}
}

// Open opens or makes the bucket and reads it. It waits for JetStream, see
// [dial.Conn.Retry], and comes before all other methods.
func (c *Cursors) Open(ctx context.Context) error {
	if err := c.conn.Retry(ctx, "key-value bucket "+CursorBucket, c.open); err != nil {
		return fmt.Errorf("key-value bucket %s: %w", CursorBucket, err)
	}
	return nil
}

// open opens or makes the bucket, and reads it.
func (c *Cursors) open(ctx context.Context) (err error) {
	js := c.conn.Control().JetStream()
	c.kv, err = js.KeyValue(ctx, CursorBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		c.kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: CursorBucket, Description: "cvfeeder: up to where streams were delivered", Replicas: c.replicas,
		})
	}
	if err == nil {
		err = c.read(ctx, js)
	}
	if err != nil && !dial.Transient(err) && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", dial.ErrStream, err)
	}
	return err
}

// read reads all cursors. It finds the keys among the subjects of the bucket's
// stream, which needs no consumer, and so no permission to make one.
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

// load reads the cursor of a key of the bucket.
func (c *Cursors) load(ctx context.Context, key string) error {
	v, err := c.kv.Get(ctx, key)
	if err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339, string(v.Value()))
	if err != nil {
		return fmt.Errorf("%.40q is not a cursor: delete it with: nats kv del %s %s", v.Value(), CursorBucket, key)
	}
	c.note(key, source.SlotAt(at), v.Revision(), nil)
	return nil
}

// SavedCursor returns the cursor that [Cursors] have saved for a key, false where there
// is none. It makes no bucket.
func SavedCursor(ctx context.Context, conn *dial.Conn, key string) (source.Slot, bool, error) {
	kv, err := conn.Control().JetStream().KeyValue(ctx, CursorBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	cursors := &Cursors{kv: kv, saved: map[string]saved{}}
	err = cursors.load(ctx, dial.EncodeKey(key))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, false, nil
	}
	cursor, ok := cursors.Load(key)
	return cursor, ok, err
}

// Load returns the cursor of a key, as it was when the bucket was opened or as it
// was set since, false where there is none.
func (c *Cursors) Load(key string) (source.Slot, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key = dial.EncodeKey(key)
	if cursor, ok := c.changed[key]; ok {
		return cursor, true
	}
	s, ok := c.saved[key]
	return s.cursor, ok
}

// Set notes a cursor for the next Flush.
func (c *Cursors) Set(key string, cursor source.Slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(dial.EncodeKey(key), cursor)
}

func (c *Cursors) set(key string, cursor source.Slot) {
	if cursor > c.saved[key].cursor && cursor > c.changed[key] {
		c.changed[key] = cursor
	}
}

// Flush writes what was set, every five seconds at most. What could not be written
// is for the next time.
func (c *Cursors) Flush() error {
	c.mu.Lock()
	due := !time.Now().Before(c.next)
	if due {
		c.next = time.Now().Add(flushEvery)
	}
	c.mu.Unlock()
	if !due {
		return nil
	}
	return c.Close()
}

// Close writes what was set.
func (c *Cursors) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.conn.Control().WriteTimeout())
	defer cancel()
	c.mu.Lock()
	changed := c.changed
	c.changed = map[string]source.Slot{}
	c.mu.Unlock()
	var failed error
	for key, cursor := range changed {
		if failed == nil {
			failed = c.save(ctx, key, cursor)
		}
		if failed != nil {
			c.mu.Lock()
			c.set(key, cursor)
			c.mu.Unlock()
		}
	}
	if failed != nil {
		return fmt.Errorf("key-value bucket %s: %w", CursorBucket, failed)
	}
	return nil
}

// save writes a cursor, unless a newer one is there.
func (c *Cursors) save(ctx context.Context, key string, cursor source.Slot) error {
	for ctx.Err() == nil {
		c.mu.Lock()
		last := c.saved[key]
		c.mu.Unlock()
		if last.cursor >= cursor {
			return nil
		}
		revision, err := c.kv.Update(ctx, key, []byte(cursor.String()), last.revision)
		c.note(key, cursor, revision, err)
		if err == nil {
			return nil
		}
		if !dial.IsConflict(err) {
			return err
		}
		// Somebody else has written it. Where it was deleted, nobody knows better.
		err = c.load(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			revision, err = c.kv.Create(ctx, key, []byte(cursor.String()))
			c.note(key, cursor, revision, err)
		}
		if err != nil && !dial.IsConflict(err) {
			return err
		}
	}
	return ctx.Err()
}

// note keeps what was written, if it was.
func (c *Cursors) note(key string, cursor source.Slot, revision uint64, err error) {
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.saved[key] = saved{cursor, revision}
}
