package poll

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/source"
)

// The pauses after requests that failed double between these.
const (
	MinRetry = 500 * time.Millisecond
	MaxRetry = 30 * time.Second
)

// The pauses after checks that failed double between these.
const (
	minCheckRetry = time.Second // of checks
	maxCheckRetry = 15 * time.Second
)

// waitReadable waits until the stream may be read, and yields each failed check as an
// error. It returns false when ctx ends first or the caller wants no more.
func (p *Poller) waitReadable(ctx context.Context, yield func(source.Frame, error) bool) bool {
	if p.opts.Check == nil {
		return true
	}
	for retry := (pacing.Backoff{Min: minCheckRetry, Max: maxCheckRetry}); ; {
		err := p.opts.Check(ctx)
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			return true
		case !yield(source.Frame{}, err) || p.opts.Sleep(ctx, retry.Next()) != nil:
			return false
		}
	}
}

// images asks for a window, and reports how long that took and how it ended.
func (p *Poller) images(ctx context.Context, w Window) iter.Seq2[Image, error] {
	return p.imagesOf(ctx, p.fetcher, w)
}

func (p *Poller) imagesOf(ctx context.Context, f Fetcher, w Window) iter.Seq2[Image, error] {
	return func(yield func(Image, error) bool) {
		w := p.charge(w)
		begin := time.Now()
		var away time.Duration // in which the caller worked on what was yielded
		var last error
		defer func() {
			if p.opts.Fetched == nil {
				return
			}
			if errors.Is(last, ErrEmptyWindow) {
				last = nil
			}
			p.opts.Fetched(time.Since(begin)-away, last)
		}()
		// A request needs a stack many times the size of what a stream needs between
		// its polls, and a goroutine keeps the stack that it once had. So each request
		// runs on a stack of its own.
		next, stop := iter.Pull2(f.Images(ctx, w))
		defer stop()
		for {
			img, err, more := next()
			if !more {
				return
			}
			last = err
			left := time.Now()
			more = yield(img, err)
			away += time.Since(left)
			if !more {
				return
			}
		}
	}
}
