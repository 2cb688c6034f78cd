// Package ahead reads a range of the past faster than one request after the other can. It is a
// poller whose fetcher has asked already for what comes next: several windows of the stream
// are under way, and the poller finds the pictures in them in the order of the slots.
//
//	feed := ahead.New(fetcher, ledger, poll.Options{Stream: "front-door", To: to}, ahead.Options{})
//	for frame, err := range feed.Frames(ctx) { … }
//
// The poller stays the judge. What the windows have no picture of, it asks for again itself,
// with the overlap and as often as a proof takes, so no slot ends otherwise than without
// reading ahead. What it overlaps with what has been read costs nothing, and so the only images
// that are asked for twice are those before the first slot of each window: a fragment that is
// already running when a window opens is not in it. How long fragments are is learned from the
// answers, and windows are so long that this is a few percent.
//
// Media that is younger than five minutes may not be there yet, and is left to the poller.
package ahead

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// The defaults of [Options].
const (
	// DefaultWindows is enough for 500 images a second if a page of 25 takes 0.8 s.
	DefaultWindows = 16
	// DefaultRoom is the room of a feed that shares none.
	DefaultRoom = 64 << 20
)

// settled is how old media has to be to be read ahead.
const settled = 5 * time.Minute

// Options configure a [Feed]. The zero value has all defaults.
type Options struct {
	// Windows is how many windows are under way at most; default: [DefaultWindows].
	Windows int
	// Room is shared by feeds that run at a time; default: one of [DefaultRoom] bytes.
	Room *Room
}

// A Room bounds the bytes of pictures that have been read ahead and wait for earlier ones. The
// feeds that run at a time have equal parts of it. The window that a poller reads at present
// goes on however full its part is. It is safe for concurrent use.
type Room struct {
	limit int64
	feeds atomic.Int64
}

// NewRoom returns a room of so many bytes.
func NewRoom(bytes int64) *Room { return &Room{limit: bytes} }

// full tells whether a feed that holds so many bytes has used up its part.
func (r *Room) full(held int64) bool { return held >= r.limit/max(r.feeds.Load(), 1) }

// A Feed is a poller that reads ahead. It implements [source.Feed], but for one thing: while
// the caller works on a frame, what is under way goes on until the room is full.
type Feed struct {
	*poll.Poller
	fetcher *fetcher
}

// New returns a feed of the slots that the ledger wants.
func New(f poll.Fetcher, l *source.Ledger, opts poll.Options, ahead Options) *Feed {
	if ahead.Windows == 0 {
		ahead.Windows = DefaultWindows
	}
	if ahead.Room == nil {
		ahead.Room = NewRoom(DefaultRoom)
	}
	now := opts.Now
	if now == nil {
		now = time.Now
	}
	reading := &fetcher{
		Fetcher: f, ledger: l, interval: l.Grid().Interval(), to: opts.To, cause: opts.Cause, windows: ahead.Windows, room: ahead.Room,
		now: func() source.Slot { return source.SlotAt(now()) },
	}
	reading.changed = sync.NewCond(&reading.mu)
	return &Feed{Poller: poll.New(reading, l, opts), fetcher: reading}
}

// Frames implements [source.Feed].
func (f *Feed) Frames(ctx context.Context) iter.Seq2[source.Frame, error] {
	return func(yield func(source.Frame, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		f.fetcher.begin(ctx)
		defer func() {
			cancel()
			f.fetcher.end()
		}()
		for frame, err := range f.Poller.Frames(ctx) {
			if !yield(frame, err) {
				return
			}
		}
	}
}

// Frame implements [source.Feed]: it asks the service, whatever has been read ahead.
func (f *Feed) Frame(ctx context.Context, s source.Slot) (source.Frame, error) {
	return f.Poller.Frame(context.WithValue(ctx, apart{}, true), s)
}

// apart is the key of contexts whose requests have nothing to do with Frames.
type apart struct{}

// State implements [source.Feed]. The bytes that were read ahead count as held.
func (f *Feed) State() source.FeedState {
	st := f.Poller.State()
	st.HeldBytes += f.fetcher.held.Load()
	return st
}
