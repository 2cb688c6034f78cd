// Package ondemand bounds what frames on request cost. The frame of a slot that is asked
// for several times is fetched once, and no more than so many images are fetched in a day.
//
//	frames := ondemand.New(ondemand.Options{ImagesPerDay: 50_000})
//	feed := frames.Remember(poll.New(fetcher, ledger, poll.Options{Spend: frames.Spend}), fetcher)
//	ctx, origin := ondemand.Watch(ctx)
//	frame, err := feed.Frame(ctx, slot) // then origin() is Made, Shared or Cached
//
// Images for whole ranges are reserved before the first of them is spent, within bounds on what
// each asker and all of them may spend in an hour: see [Frames.Reserve].
package ondemand

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

const (
	defaultBytes = 16 << 20
	defaultAge   = time.Minute
	failureAge   = 2 * time.Second
	// entrySize is what an entry counts besides its picture.
	entrySize = 1 << 10
)

// Options configure [Frames].
type Options struct {
	// ImagesPerDay is how many images may be fetched in a day, which begins with the first
	// of them.
	ImagesPerDay int
	// ImagesPerHour is how many images may be reserved in any hour, and ImagesPerHourPerAsker
	// how many of them for one asker.
	ImagesPerHour, ImagesPerHourPerAsker int
	// Bytes bounds the pictures that are kept. Default: 16 MiB.
	Bytes int
	// Age is how long a picture is kept. Default: a minute. That there is none is kept for
	// two seconds at most.
	Age time.Duration
}

// Frames keeps the frames that were asked for lately, of all streams, and counts the
// images. It is safe for concurrent use.
type Frames struct {
	opts  Options
	spent spent
	hours hours

	mu      sync.Mutex
	entries map[key]*entry
	kept    []*entry // those that have ended, in the order in which they did
	bytes   int      // of these
}

// New returns Frames that hold nothing.
func New(o Options) *Frames {
	o.Bytes, o.Age = cmp.Or(o.Bytes, defaultBytes), cmp.Or(o.Age, defaultAge)
	return &Frames{opts: o, spent: spent{limit: o.ImagesPerDay}, hours: hours{all: o.ImagesPerHour, each: o.ImagesPerHourPerAsker}, entries: map[key]*entry{}}
}

// key identifies a frame: of is what its stream was opened with.
type key struct {
	of   any
	slot source.Slot
}

// An entry is a frame that is being fetched, or was.
type entry struct {
	key   key
	done  chan struct{} // closed when what follows is set
	frame source.Frame
	err   error
	lost  bool // its fetch was cut short, and says nothing about the frame
}

func (e *entry) size() int { return entrySize + len(e.frame.Data) }

// Remember returns a feed whose frames on request are fetched once. Feeds that were given
// the same value of a comparable type share them.
func (f *Frames) Remember(feed source.Feed, of any) source.Feed {
	return &remembering{Feed: feed, frames: f, of: of}
}

type remembering struct {
	source.Feed
	frames *Frames
	of     any
}

// Frame implements [source.Feed]. The frame's data is shared, so it has no Recycle.
func (r *remembering) Frame(ctx context.Context, s source.Slot) (source.Frame, error) {
	k := key{r.of, s}
	for {
		if err := ctx.Err(); err != nil {
			return source.Frame{}, err
		}
		e, first := r.frames.enter(k)
		if first {
			note(ctx, Made)
			e.frame, e.err = r.Feed.Frame(ctx, s)
			e.frame.Recycle = nil
			r.frames.ended(e, ctx.Err() != nil)
			return e.frame, e.err
		}
		select {
		case <-e.done:
			note(ctx, Cached)
		default:
			note(ctx, Shared)
			select {
			case <-e.done:
			case <-ctx.Done():
				return source.Frame{}, ctx.Err()
			}
		}
		if !e.lost {
			return e.frame, e.err
		}
	}
}

// enter returns the entry of a frame. The caller fetches it if it is the first one.
func (f *Frames) enter(k key) (e *entry, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.entries[k]; e != nil {
		return e, false
	}
	e = &entry{key: k, done: make(chan struct{})}
	f.entries[k] = e
	return e, true
}

// ended keeps an entry for a while, unless it is lost, and tells those who wait for it.
func (f *Frames) ended(e *entry, lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer close(e.done)
	e.lost = lost
	age := f.opts.Age
	if e.err != nil {
		age = min(age, failureAge)
	}
	if lost || e.size() > f.opts.Bytes || isSpent(e.err) {
		delete(f.entries, e.key)
		return
	}
	f.kept = append(f.kept, e)
	f.bytes += e.size()
	for f.bytes > f.opts.Bytes {
		f.forget(f.kept[0])
	}
	time.AfterFunc(age, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.forget(e)
	})
}

// forget drops an entry, unless it is gone already. Its caller holds the lock.
func (f *Frames) forget(e *entry) {
	if f.entries[e.key] != e {
		return
	}
	delete(f.entries, e.key)
	for i, other := range f.kept {
		if other == e {
			f.kept = append(f.kept[:i:i], f.kept[i+1:]...)
			break
		}
	}
	f.bytes -= e.size()
}
