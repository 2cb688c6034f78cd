package dial

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
)

// createdBy is how long another process may take to create what this one could not create.
const createdBy = time.Second

// Ensure returns a stream or bucket that find finds, or else the one that create creates. It
// tells whether it was missing at first.
//
// Several processes may create it at the same time. A server counts the stream of the first
// one against the room for those of the others, although it is the same: where there is no
// room for two, it refuses the others. So where create fails, it is looked for again.
func Ensure[T any](ctx context.Context, find, create func(context.Context) (T, error)) (it T, missing bool, err error) {
	if it, err = find(ctx); !IsMissing(err) {
		return it, false, err
	}
	it, err = create(ctx)
	var refused *jetstream.APIError
	if !errors.As(err, &refused) && !errors.Is(err, jetstream.ErrBucketExists) {
		return it, true, err
	}
	retry := pacing.Backoff{Min: minRetry, Max: createdBy / 4}
	for begin := time.Now(); time.Since(begin) < createdBy; {
		found, e := find(ctx)
		if e == nil {
			return found, true, nil
		}
		if !IsMissing(e) || pacing.Sleep(ctx, retry.Next()) != nil {
			break
		}
	}
	return it, true, err
}

// IsMissing tells whether a stream or bucket was not found.
func IsMissing(err error) bool {
	return errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound)
}
