package lease

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// remadeKey is set in the metadata of a bucket that was made in place of one that members
// were using.
const remadeKey = "cvfeeder-remade"

// A bucketState is what a member knows of the bucket as a whole. The sequence of each
// write is higher than that of the one before. If it is not, the bucket is another one,
// or was put back to an earlier state.
type bucketState struct {
	sequence uint64    // of this member's last renewal
	created  time.Time // when the bucket was made, by the server's clock; zero if not known
	// lost says that the owners have yet to write their leases into the bucket again.
	lost bool
	// wait is until when streams that are not in the bucket are left to their owners.
	wait time.Time
}

// remake makes the bucket again if it is gone, and takes note if another member has.
func (l *Leases) remake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	js := l.conn.Control().JetStream()
	cfg := bucketConfig(l.opts.Replicas)
	cfg.Metadata = map[string]string{remadeKey: "true"}
	kv, err := findOrCreate(ctx, js, cfg)
	if err != nil {
		return err
	}
	created, err := createdAt(ctx, kv)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.bucket.created.IsZero() && !created.Equal(l.bucket.created) {
		l.bucket.sequence = math.MaxUint64
	}
	l.bucket.created = created
	return nil
}

// createdAt returns when a bucket was made.
func createdAt(ctx context.Context, kv jetstream.KeyValue) (time.Time, error) {
	status, err := kv.Status(ctx)
	if err != nil {
		return time.Time{}, err
	}
	info, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return time.Time{}, fmt.Errorf("the NATS client has no information about the stream of bucket %s", Bucket)
	}
	return info.StreamInfo().Created, nil
}

// renewed takes note of the sequence of a renewal. The caller holds the lock.
func (l *Leases) renewed(sequence uint64, now time.Time) {
	if sequence <= l.bucket.sequence {
		if l.bucket.sequence != math.MaxUint64 {
			l.bucket.created = time.Time{} // of the bucket before, perhaps
		}
		l.bucket.lost, l.bucket.wait = true, now.Add(l.opts.Lease)
		l.members.restart()
		for _, r := range l.records {
			// This member knows best what it has delivered. Its lease is written anew.
			r.next, r.Cursor = max(r.next, r.Cursor), 0
		}
		l.conn.Remade("key-value bucket " + Bucket)
	}
	l.bucket.sequence = sequence
}

// rewrite writes the leases that this member holds into a bucket that has lost them.
func (l *Leases) rewrite(ctx context.Context) {
	l.mu.Lock()
	lost := l.bucket.lost
	l.mu.Unlock()
	if !lost {
		return
	}
	var held []string
	for _, key := range l.keys() {
		if l.Holds(key) {
			held = append(held, key)
		}
	}
	if err := l.Flush(ctx, held...); err != nil && !errors.Is(err, ErrNotHeld) {
		l.opts.Logger.Debug("the leases could not be written again, retrying", "err", err)
		return
	}
	l.mu.Lock()
	l.bucket.lost = false
	l.mu.Unlock()
}

// leftToOwners tells whether a stream that is not in the bucket may have an owner all the
// same, who has yet to write its lease again. Nobody else has one that was ours.
func (l *Leases) leftToOwners(r *record) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return r.next == 0 && time.Now().Before(l.bucket.wait)
}

// tellOfKeys tells that keys are gone, unless the whole bucket is another one, which is told
// when it is found.
func (l *Leases) tellOfKeys(ctx context.Context) {
	created, err := createdAt(ctx, l.kv)
	l.mu.Lock()
	same := err == nil && created.Equal(l.bucket.created)
	l.mu.Unlock()
	if same {
		l.conn.KeysLost(Bucket)
	}
}

// recreate writes the lease of a stream that this member holds and that is not in the
// bucket any more.
func (l *Leases) recreate(ctx context.Context, key string, r *record) error {
	l.mu.Lock()
	now := lease{Owner: l.opts.Member, Cursor: max(r.next, r.Cursor)}
	l.mu.Unlock()
	revision, err := l.kv.Create(ctx, l.streamKey(key), now.encode())
	if errors.Is(err, jetstream.ErrKeyExists) || dial.IsConflict(err) {
		return nil // the next attempt to write finds out whose it is
	}
	if err != nil {
		return err
	}
	now.revision = revision
	l.mu.Lock()
	defer l.mu.Unlock()
	r.lease = now
	return nil
}
