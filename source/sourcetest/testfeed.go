package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Stream is what the feed of a test reads. Its media comes in real time, and has been
// there for at least a day.
type Stream struct {
	Name string
	// To, unless 0, is the first slot that is not read.
	To source.Slot
	// There is no media from Outage.From up to, not including, Outage.To; none is
	// missing where both are 0. Both are whole multiples of ten seconds.
	Outage struct{ From, To source.Slot }
	// Failing tells whether requests fail at present.
	Failing func() bool
}

// Missing tells whether there is no media of a slot.
func (s Stream) Missing(slot source.Slot) bool { return slot >= s.Outage.From && slot < s.Outage.To }

// TestFeed runs the suite that every [source.Feed] has to pass. open is called in a bubble
// of testing/synctest, and returns a function that opens a feed of the stream. What open
// starts has to end with t.
func TestFeed(t *testing.T, open func(t *testing.T, s Stream) source.OpenFeed) {
	for _, tc := range []struct {
		name string
		run  func(*feedTest)
	}{
		{"live", (*feedTest).live},
		{"backlog", (*feedTest).backlog},
		{"frames on request", (*feedTest).framesOnRequest},
		{"frames on request beside the others", (*feedTest).concurrentFrames},
		{"errors", (*feedTest).errors},
		{"back-pressure", (*feedTest).backPressure},
		{"end of the context", (*feedTest).endOfContext},
		{"end of the context during an outage", (*feedTest).endDuringOutage},
		{"end of the loop", (*feedTest).endOfLoop},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// The end of the bubble waits for all goroutines, and fails if one stays.
			synctest.Test(t, func(t *testing.T) {
				f := &feedTest{T: t, openFeed: open, begin: source.SlotAt(time.Now())}
				f.Stream = Stream{Name: "cam-1", Failing: func() bool { return false }}
				tc.run(f)
			})
		})
	}
}

const step = source.MinInterval

// A feedTest is one test of a feed.
type feedTest struct {
	*testing.T
	Stream
	openFeed func(*testing.T, Stream) source.OpenFeed
	begin    source.Slot

	source.Feed
	ledger *source.Ledger

	mu      sync.Mutex
	fetched []error                // by request
	longest time.Duration          // of a request
	last    source.Slot            // the last slot that was yielded
	data    map[source.Slot][]byte // what was yielded
}

// open opens the feed from a slot on.
func (f *feedTest) open(from source.Slot) {
	f.Helper()
	grid, err := source.NewGrid(step)
	if err != nil {
		f.Fatal(err)
	}
	f.ledger = source.NewLedger(grid, from)
	f.last, f.data = from-1, map[source.Slot][]byte{}
	f.Feed = f.openFeed(f.T, f.Stream)(f.ledger, func(took time.Duration, err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.fetched = append(f.fetched, err)
		f.longest = max(f.longest, took)
	})
}

func (f *feedTest) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.fetched)
}

// read reads the feed to its end, and resolves each frame once use returns true. Errors
// are given to use, too.
func (f *feedTest) read(ctx context.Context, use func(source.Frame, error) bool) {
	f.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	for frame, err := range f.Frames(ctx) {
		if err == nil {
			f.check(frame)
		} else if frame.Slot != 0 || frame.Data != nil {
			f.Errorf("the frame of an error is %+v", frame)
		}
		if !use(frame, err) {
			break
		}
		if err == nil && !f.ledger.Resolve(frame.Slot, source.Published) {
			f.Errorf("the slot %v had ended", frame.Slot)
		}
	}
	if ctx.Err() == context.DeadlineExceeded {
		f.Error("the feed did not end")
	}
	if held := f.State().HeldBytes; held != 0 {
		f.Errorf("%d bytes are held after the end", held)
	}
}

// check checks a frame that was yielded.
func (f *feedTest) check(frame source.Frame) {
	f.Helper()
	if off := source.SlotAt(frame.Capture).Sub(frame.Slot); frame.Stream != f.Name || len(frame.Data) == 0 || off < -step/2 || off > step/2 {
		f.Errorf("frame of stream %q at %v, captured at %v, %d bytes", frame.Stream, frame.Slot, frame.Capture, len(frame.Data))
	}
	if frame.Slot <= f.last || frame.Slot != f.ledger.Grid().Floor(frame.Slot) || frame.Slot >= f.ledger.End() {
		f.Errorf("slot %v came after %v", frame.Slot, f.last)
	}
	if f.Missing(frame.Slot) {
		f.Errorf("slot %v came, and has no media", frame.Slot)
	}
	if f.ledger.Take(frame.Slot) || f.ledger.GiveUp(frame.Slot, source.NoMedia) {
		f.Errorf("slot %v was not claimed", frame.Slot)
	}
	f.last = frame.Slot
	f.data[frame.Slot] = bytes.Clone(frame.Data)
	if frame.Recycle != nil {
		frame.Recycle()
	}
}

// all reads the whole feed, which must not fail, and checks the ledger.
func (f *feedTest) all() {
	f.Helper()
	f.read(f.Context(), func(_ source.Frame, err error) bool {
		if err != nil {
			f.Error(err)
		}
		return true
	})
	f.checkLedger()
}

// checkLedger checks that all slots have ended as they should.
func (f *feedTest) checkLedger() {
	f.Helper()
	st := f.ledger.Stats()
	expected := uint64(f.To.Sub(st.Start) / step)
	missing := uint64(f.Outage.To.Sub(f.Outage.From) / step)
	if st.Expected != expected || st.Pending != 0 || st.Ended[source.NoMedia] != missing || st.Ended[source.Published] != expected-missing {
		f.Errorf("of %d slots %d have no media: %+v", expected, missing, st)
	}
}

// live reads a stream with an outage as it comes.
func (f *feedTest) live() {
	f.To = f.begin.Add(2 * time.Minute)
	f.Outage.From, f.Outage.To = f.begin.Add(40*time.Second), f.begin.Add(50*time.Second)
	f.open(f.begin)
	f.all()
	if n := f.requests(); n == 0 {
		f.Error("no request was reported")
	}
	for _, err := range f.fetched {
		if err != nil {
			f.Errorf("a request failed: %v", err)
		}
	}
}

// backlog reads what has been there before, which takes no time.
func (f *feedTest) backlog() {
	f.To = f.begin.Add(-10 * time.Minute)
	f.Outage.From, f.Outage.To = f.begin.Add(-20*time.Minute), f.begin.Add(-19*time.Minute)
	f.open(f.begin.Add(-30 * time.Minute))
	f.all()
	if took := time.Since(f.begin.Time()); took > time.Minute {
		f.Errorf("reading took %v", took)
	}
}

// framesOnRequest asks for frames before and after all have been read.
func (f *feedTest) framesOnRequest() {
	f.To = f.begin.Add(time.Minute)
	f.Outage.From, f.Outage.To = f.begin.Add(20*time.Second), f.begin.Add(30*time.Second)
	f.open(f.begin)
	f.request(f.begin.Add(-time.Hour), nil)
	f.request(f.begin.Add(time.Hour), source.ErrNoMedia)
	f.all()
	before := f.ledger.Stats()
	for s := f.begin; s < f.To; s = s.Add(7 * step) {
		if f.Missing(s) {
			f.request(s, source.ErrNoMedia)
		} else {
			f.request(s, nil)
		}
	}
	if f.ledger.Stats() != before {
		f.Error("requests of frames have changed the ledger")
	}
	ctx, cancel := context.WithCancel(f.Context())
	cancel()
	if _, err := f.Frame(ctx, f.begin); !errors.Is(err, context.Canceled) {
		f.Errorf("a request whose context has ended: %v", err)
	}
}

// request asks for the frame of a slot, which is that of Frames if it has come.
func (f *feedTest) request(s source.Slot, want error) {
	f.Helper()
	frame, err := f.Frame(f.Context(), s)
	switch {
	case want != nil:
		if !errors.Is(err, want) || frame.Data != nil {
			f.Errorf("slot %v: got %d bytes, %v, want %v", s, len(frame.Data), err, want)
		}
	case err != nil:
		f.Errorf("slot %v: %v", s, err)
	case frame.Stream != f.Name || frame.Slot != s || len(frame.Data) == 0:
		f.Errorf("slot %v: got %+v", s, frame)
	default:
		if data, ok := f.data[s]; ok && !bytes.Equal(data, frame.Data) {
			f.Errorf("slot %v: the picture on request is another", s)
		}
	}
}

// concurrentFrames asks for frames while others are read.
func (f *feedTest) concurrentFrames() {
	f.To = f.begin.Add(time.Minute)
	f.open(f.begin)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for s := f.begin.Add(-time.Hour); time.Now().Before(f.To.Time()); s = s.Add(step) {
				frame, err := f.Frame(f.Context(), s)
				if err != nil || frame.Slot != s || len(frame.Data) == 0 {
					f.Errorf("slot %v: got %+v, %v", s, frame, err)
				}
				_ = f.State()
				time.Sleep(time.Duration(i+1) * 300 * time.Millisecond)
			}
		})
	}
	f.read(f.Context(), func(frame source.Frame, err error) bool {
		if err != nil {
			f.Error(err)
			return true
		}
		if frame.Slot%source.Slot(10*step.Milliseconds()) == 0 {
			f.request(frame.Slot, nil)
		}
		return true
	})
	wg.Wait()
	f.checkLedger()
}

// errors has requests fail for half a minute.
func (f *feedTest) errors() {
	f.To = f.begin.Add(time.Minute)
	f.Failing = func() bool { return time.Since(f.begin.Time()) < 30*time.Second }
	f.open(f.begin)
	errs := 0
	f.read(f.Context(), func(_ source.Frame, err error) bool {
		if err != nil {
			errs++
		}
		return true
	})
	// The pauses between requests that fail grow.
	if errs < 2 || errs > 30 {
		f.Errorf("%d errors", errs)
	}
	failed, answered := 0, 0
	for _, err := range f.fetched {
		if err != nil {
			failed++
		} else {
			answered++
		}
	}
	if failed < errs || answered == 0 {
		f.Errorf("%d requests have failed, %d were answered, %d errors", failed, answered, errs)
	}
	f.checkLedger()
}

// backPressure works on each frame for a while.
func (f *feedTest) backPressure() {
	const work = 30 * time.Second
	f.To = f.begin.Add(time.Minute)
	f.open(f.To.Add(-20 * step))
	f.read(f.Context(), func(_ source.Frame, err error) bool {
		if err != nil {
			f.Error(err)
		}
		before := f.requests()
		time.Sleep(work)
		if n := f.requests() - before; n > 0 {
			f.Errorf("%d requests were made while the receiver was busy", n)
		}
		return true
	})
	if f.longest >= work {
		f.Errorf("a request took %v: with the time that its receiver worked", f.longest)
	}
	f.checkLedger()
}

// endOfContext ends the context while the feed waits.
func (f *feedTest) endOfContext() {
	f.open(f.begin)
	f.readFor(30*time.Second + step/2)
	if len(f.data) == 0 {
		f.Error("no frame came before")
	}
}

// endDuringOutage ends the context while missing slots may still turn up: frames after
// them may be held.
func (f *feedTest) endDuringOutage() {
	f.Outage.From, f.Outage.To = f.begin, f.begin.Add(10*time.Second)
	f.open(f.begin)
	f.readFor(16*time.Second + step/2)
}

// readFor reads until the context ends, which it does after d.
func (f *feedTest) readFor(d time.Duration) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	time.AfterFunc(d, cancel)
	f.read(ctx, func(frame source.Frame, err error) bool {
		if err != nil || ctx.Err() != nil {
			f.Errorf("got slot %v, %v", frame.Slot, err)
		}
		return true
	})
	if took := time.Since(f.begin.Time()); took < d || took > d+time.Second {
		f.Errorf("it ended after %v, its context after %v", took, d)
	}
}

// endOfLoop takes only some frames.
func (f *feedTest) endOfLoop() {
	f.open(f.begin)
	f.read(f.Context(), func(_ source.Frame, err error) bool {
		if err != nil {
			f.Error(err)
		}
		return len(f.data) < 12
	})
	if len(f.data) != 12 {
		f.Errorf("%d frames", len(f.data))
	}
}
