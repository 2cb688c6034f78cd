package kinesis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
)

const (
	// answerTime is how long the service may take for the answer to one attempt of a
	// request, and for each further part of an answer with images. Answers usually take
	// a fraction of a second.
	answerTime = 10 * time.Second
	// listingTime is the same for ListFragments: images are found without it.
	listingTime = 5 * time.Second
	// tellSlowAgain is the least time between two warnings about one operation.
	tellSlowAgain = time.Minute
)

// An unanswered error says that a request was sent and not answered in time. It hides the
// error of the canceled request, because the SDK never retries that.
type unanswered struct {
	what  string
	after time.Duration
	again bool // there is time for another attempt
}

// Error implements error.
func (u unanswered) Error() string {
	return fmt.Sprintf("%s within %v", u.what, u.after)
}

// Is tells that the error is a deadline's.
func (u unanswered) Is(err error) bool { return err == context.DeadlineExceeded }

// RetryableError tells the SDK whether to try again.
func (u unanswered) RetryableError() bool { return u.again }

// patience cancels an attempt of a request that is not answered in time. The zero value
// of warn says nothing.
type patience struct {
	limit time.Duration
	warn  func(operation string, err error)
}

// deadline gives each attempt of a request limit to be answered in full.
func (p patience) deadline(stack *middleware.Stack) error {
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Deadline",
		func(parent context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			ctx, cancel := context.WithTimeout(parent, p.limit)
			defer cancel()
			begin := time.Now()
			out, meta, err := next.HandleFinalize(ctx, in)
			if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				err = p.unanswered(parent, time.Since(begin), "has not answered")
			}
			return out, meta, err
		}), "Signing", middleware.Before)
}

// unanswered returns the error for an attempt that has taken too long, and warns of it.
func (p patience) unanswered(parent context.Context, after time.Duration, did string) error {
	operation := awsmiddleware.GetOperationName(parent)
	err := unanswered{what: operation + " " + did, after: after.Round(100 * time.Millisecond), again: parent.Err() == nil}
	if p.warn != nil {
		p.warn(operation, err)
	}
	return err
}

// A stallWatch cancels a request when the service sends nothing for too long. It waits for
// the service only: the time in which the receiver works on images does not count.
type stallWatch struct {
	limit  time.Duration // of each wait
	left   time.Duration // of all that are still to come
	timer  *time.Timer
	ended  func() error // why the request's context has ended, nil while it has not
	cancel context.CancelFunc
}

// watchStalls returns a context for the request, which ends when the service stalls.
func watchStalls(ctx context.Context, limit time.Duration) (context.Context, *stallWatch) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &stallWatch{limit: limit, left: requestTime, timer: time.AfterFunc(limit, cancel), ended: ctx.Err, cancel: cancel}
}

// over tells whether the service has stalled, given the context of the caller.
func (w *stallWatch) over(parent context.Context) bool {
	return w.ended() != nil && parent.Err() == nil
}

// waited returns the time that the service has let pass.
func (w *stallWatch) waited() time.Duration {
	if w.left <= 0 {
		return requestTime
	}
	return w.limit
}

// end stops watching, and releases the request.
func (w *stallWatch) end() {
	w.timer.Stop()
	w.cancel()
}

// A watchedBody is the body of an answer whose parts must each come in time, and all of
// them within requestTime.
type watchedBody struct {
	io.ReadCloser
	watch *stallWatch
}

// Read implements [io.Reader].
func (b watchedBody) Read(p []byte) (int, error) {
	w := b.watch
	if w.left <= 0 {
		w.cancel()
	}
	begin := time.Now()
	w.timer.Reset(min(w.limit, max(w.left, 0)))
	n, err := b.ReadCloser.Read(p)
	w.timer.Stop()
	w.left -= time.Since(begin)
	return n, err
}

// warner warns of operations that are not answered: of each once in a while, because a
// thousand streams may wait for the same service.
func (c *Client) warner() func(operation string, err error) {
	var mu sync.Mutex
	told := map[string]time.Time{}
	return func(operation string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if last, ok := told[operation]; ok && time.Since(last) < tellSlowAgain {
			return
		}
		told[operation] = time.Now()
		c.log.Warn("the service accepts a request and does not answer, trying again", "operation", operation, "err", err)
	}
}

// boundedCredentials gets credentials within a limited time.
type boundedCredentials struct {
	aws.CredentialsProvider
	patience patience
}

// Retrieve implements [aws.CredentialsProvider].
func (b boundedCredentials) Retrieve(parent context.Context) (aws.Credentials, error) {
	ctx, cancel := context.WithTimeout(parent, b.patience.limit)
	defer cancel()
	begin := time.Now()
	got, err := b.CredentialsProvider.Retrieve(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		slow := unanswered{
			what: "the provider of the AWS credentials has not answered", after: time.Since(begin).Round(100 * time.Millisecond),
			again: parent.Err() == nil,
		}
		if b.patience.warn != nil {
			b.patience.warn("credentials", slow)
		}
		err = slow
	}
	return got, err
}
