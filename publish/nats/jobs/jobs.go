// Package jobs keeps the records of replay jobs in a NATS key-value bucket, each under the id of
// its job. A record is replaced only by whoever has read its last revision, so that one process
// at a time can hold a job.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// Bucket is the key-value bucket of the jobs.
const Bucket = "cvf_replay"

// Errors of the methods of [Store].
var (
	// ErrUnknown: there is no such job.
	ErrUnknown = errors.New("no such job")
	// ErrConflict: somebody else has written the record since it was read.
	ErrConflict = errors.New("somebody else has written it")
)

// A Store is the bucket. Its methods make one attempt each, within the time of ctx.
type Store struct {
	conn *dial.Conn
	kv   jetstream.KeyValue
}

// Open waits for JetStream, see [dial.Conn.Retry], and opens the bucket. If it does not exist, it
// is created with so many replicas.
func Open(ctx context.Context, conn *dial.Conn, replicas int) (*Store, error) {
	s := &Store{conn: conn}
	err := conn.Retry(ctx, "key-value bucket "+Bucket, func(ctx context.Context) (err error) {
		js := conn.Control().JetStream()
		s.kv, _, err = dial.Ensure(ctx, func(ctx context.Context) (jetstream.KeyValue, error) {
			return js.KeyValue(ctx, Bucket)
		}, func(ctx context.Context) (jetstream.KeyValue, error) {
			return js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: Bucket, Description: "cvfeeder: replay jobs", Replicas: max(replicas, 1)})
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("key-value bucket %s: %w", Bucket, err)
	}
	return s, nil
}

// Create writes the record of a new job, and returns its revision.
func (s *Store) Create(ctx context.Context, id string, record []byte) (uint64, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	revision, err := s.kv.Create(ctx, dial.EncodeKey(id), record)
	return revision, explain(id, err)
}

// Get returns the record of a job, and its revision.
func (s *Store) Get(ctx context.Context, id string) (record []byte, revision uint64, err error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	entry, err := s.kv.Get(ctx, dial.EncodeKey(id))
	if err != nil {
		return nil, 0, explain(id, err)
	}
	return entry.Value(), entry.Revision(), nil
}

// Update replaces the record of a job whose last revision is known, and returns the new one.
func (s *Store) Update(ctx context.Context, id string, record []byte, revision uint64) (uint64, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	next, err := s.kv.Update(ctx, dial.EncodeKey(id), record, revision)
	return next, explain(id, err)
}

// IDs returns the ids of all jobs, in order. It takes them from the subjects of the bucket's
// stream, which needs no consumer.
func (s *Store) IDs(ctx context.Context) ([]string, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	const prefix = "$KV." + Bucket + "."
	stream, err := s.conn.Control().JetStream().Stream(ctx, "KV_"+Bucket)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		return nil, err
	}
	var ids []string
	for subject := range info.State.Subjects {
		ids = append(ids, dial.DecodeKey(subject[len(prefix):]))
	}
	slices.Sort(ids)
	return ids, nil
}

func (s *Store) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.conn.Control().WriteTimeout())
}

func explain(id string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted):
		return fmt.Errorf("replay job %.64q: %w", id, ErrUnknown)
	case errors.Is(err, jetstream.ErrKeyExists), dial.IsConflict(err):
		return fmt.Errorf("replay job %.64q: %w", id, ErrConflict)
	}
	return fmt.Errorf("replay job %.64q: %w", id, err)
}

// Exists tells whether there is a bucket of jobs. It makes one attempt, and creates nothing.
func Exists(ctx context.Context, conn *dial.Conn) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, conn.Control().WriteTimeout())
	defer cancel()
	_, err := conn.Control().JetStream().KeyValue(ctx, Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return false, nil
	}
	return err == nil, err
}
