package consume_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/nats/reply"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A recording has a tensor for each slot of a range, but for a gap of two slots.
type recording struct {
	sent  atomic.Int64 // messages
	asker atomic.Value // of the last range
	ended chan error   // of each range
}

func (r *recording) read(_ context.Context, q frames.RangeRequest, begin func(reply.Summary) (context.Context, *reply.Reply, error)) (images int, err error) {
	defer func() { r.ended <- err }()
	r.asker.Store(q.Asker)
	switch q.Output {
	case "dear":
		return 0, &frames.Error{Code: frames.CodeBusy, Text: "too dear", Wait: 90 * time.Second}
	case "none":
		return 0, &frames.Error{Code: frames.CodeNotFound, Text: "unknown output"}
	}
	slots := int(q.To.Sub(q.From) / q.Interval)
	ctx, to, err := begin(reply.Summary{Slots: slots, Images: slots + 5})
	if err != nil {
		return 0, err
	}
	for i := 0; i < slots; i++ {
		s := q.From.Add(time.Duration(i) * q.Interval)
		if i == 3 {
			g := publish.Gap{Stream: q.Stream, From: s, To: s.Add(q.Interval), Slots: 2, Reason: "no_media"}
			if err := to.Gap(ctx, g, []publish.Route{{Output: &transform.Output{Name: q.Output, Fingerprint: "test"}}}); err != nil {
				return i, err
			}
			i++
		} else if err := to.Publish(ctx, conntest.TensorMessage("cvf.t."+q.Stream+"."+q.Output, s, 1000)); err != nil {
			return i, err
		}
		r.sent.Add(1)
		if q.Output == "broken" && i == 5 {
			return i, &frames.Error{Code: frames.CodeUpstream, Text: "no more"}
		}
	}
	return slots + 1, nil
}

// serveRanges starts a feeder that answers requests for ranges.
func serveRanges(t *testing.T, server embedded.Options, split func(publish.Message, int) ([]publish.Message, error)) (*recording, dial.Options) {
	t.Helper()
	url := natstest.Serve(t, server).ClientURL()
	r := &recording{ended: make(chan error, 100)}
	conn := conntest.Dial(t, dial.Options{URL: url})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- frames.Serve(ctx, conn, frames.Options{
			Rates: frames.NewRates(1000, 1000), Streams: func(string) (any, error) { return nil, nil },
			Ranges: &frames.Ranges{Read: r.read, Split: split},
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	nc := plain(t, url)
	natstest.Eventually(t, "the service answers", func() bool {
		_, err := nc.Request(frames.StreamsSubject, nil, time.Second)
		return err == nil
	})
	return r, dial.Options{URL: url}
}

func plain(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func rangeOf(output string, slots int) consume.Range {
	from := conntest.Slot(0).Time()
	return consume.Range{Stream: "cam-1", Output: output, From: from, To: from.Add(time.Duration(slots) * 200 * time.Millisecond), Interval: 200 * time.Millisecond}
}

// all returns the times of the tensors and gaps, and the error at the end.
func all(ctx context.Context, o dial.Options, r consume.Range) (times []string, err error) {
	for d, err := range consume.Frames(ctx, o, r) {
		switch {
		case err != nil:
			return times, err
		case d.Gap != nil:
			times = append(times, fmt.Sprintf("%v to %v: %s", d.Gap.From, d.Gap.To, d.Gap.Reason))
		case len(d.Data) != 1000:
			return times, fmt.Errorf("%d bytes", len(d.Data))
		default:
			times = append(times, d.Time.UTC().Format(publish.TimeFormat))
		}
	}
	return times, nil
}

func checkTimes(t *testing.T, got []string, slots int) {
	t.Helper()
	for i, j := 0, 0; i < slots; i, j = i+1, j+1 {
		want := conntest.Slot(i).String()
		if i == 3 {
			want = fmt.Sprintf("%v to %v: no_media", conntest.Slot(3), conntest.Slot(4))
			i++
		}
		if j >= len(got) || got[j] != want {
			t.Fatalf("item %d of %v is not %s", j, got, want)
		}
	}
	if len(got) != slots-1 {
		t.Errorf("%d items for %d slots", len(got), slots)
	}
}

func TestFrames(t *testing.T) {
	_, o := serveRanges(t, embedded.Options{}, nil)
	for _, credit := range []int{0, 1, 3, 64} {
		var begun, ended consume.RangeSummary
		r := rangeOf("detector", 100)
		r.Credit, r.Begun, r.Ended = credit, func(s consume.RangeSummary) { begun = s }, func(s consume.RangeSummary) { ended = s }
		got, err := all(t.Context(), o, r)
		if err != nil {
			t.Fatalf("credit %d: %v", credit, err)
		}
		checkTimes(t, got, 100)
		if begun != (consume.RangeSummary{Slots: 100, Images: 105}) || ended != (consume.RangeSummary{Slots: 100, Tensors: 98, Images: 101}) {
			t.Errorf("begun %+v, ended %+v", begun, ended)
		}
	}
}

// TestAskerOfFrames: with a prefix of inboxes, all ranges are those of one asker.
func TestAskerOfFrames(t *testing.T) {
	rec, o := serveRanges(t, embedded.Options{}, nil)
	o.InboxPrefix = "_INBOX.alice"
	for range 2 {
		if _, err := all(t.Context(), o, rangeOf("detector", 10)); err != nil {
			t.Fatal(err)
		}
		if got := rec.asker.Load(); got != "_INBOX.alice" {
			t.Errorf("the asker is %v", got)
		}
	}
	o.InboxPrefix = "_INBOX.>"
	if _, err := all(t.Context(), o, rangeOf("detector", 10)); err == nil || !strings.Contains(err.Error(), `inbox prefix "_INBOX.>"`) {
		t.Errorf("a wrong prefix: %v", err)
	}
}

// TestFramesInParts: tensors that are larger than a message come whole.
func TestFramesInParts(t *testing.T) {
	_, o := serveRanges(t, embedded.Options{MaxPayload: 2 << 10}, func(m publish.Message, limit int) ([]publish.Message, error) {
		return publish.Split(m, min(limit, 1700)) // of which a kilobyte is headers
	})
	r := rangeOf("detector", 10)
	r.Credit = 1
	got, err := all(t.Context(), o, r)
	if err != nil {
		t.Fatal(err)
	}
	checkTimes(t, got, 10)
}

// TestFramesAreRefused with the code of the answer, and how long to wait.
func TestFramesAreRefused(t *testing.T) {
	_, o := serveRanges(t, embedded.Options{}, nil)
	wrong := rangeOf("detector", 10)
	wrong.Interval = time.Millisecond
	for _, tt := range []struct {
		r    consume.Range
		want consume.RangeError
		came int
	}{
		{rangeOf("dear", 10), consume.RangeError{Code: "429", Text: "too dear", Wait: 90 * time.Second}, 0},
		{rangeOf("none", 10), consume.RangeError{Code: "404", Text: "unknown output"}, 0},
		{rangeOf("broken", 10), consume.RangeError{Code: "502", Text: "no more"}, 5},
		{wrong, consume.RangeError{Code: "400", Text: `interval "1ms": interval 1ms is too short: GetImages samples at most every 200ms: it is a duration like 1s or 500ms`}, 0},
	} {
		got, err := all(t.Context(), o, tt.r)
		var answer *consume.RangeError
		if !errors.As(err, &answer) || *answer != tt.want || len(got) != tt.came {
			t.Errorf("%s: %d items, %v", tt.r.Output, len(got), err)
		}
	}
	empty := natstest.Serve(t, embedded.Options{}).ClientURL()
	var answer *consume.RangeError
	if _, err := all(t.Context(), dial.Options{URL: empty}, rangeOf("detector", 10)); !errors.As(err, &answer) || answer.Code != "503" {
		t.Errorf("without a feeder: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := all(ctx, dial.Options{URL: "nats://127.0.0.1:1"}, rangeOf("detector", 10)); !errors.Is(err, dial.ErrNotConnected) {
		t.Errorf("without a server: %v", err)
	}
}

// TestLeavingFrames: to leave the loop, or the end of its context, ends the reading; and a loop
// that is slow is not run ahead of by more than its credit.
func TestLeavingFrames(t *testing.T) {
	rec, o := serveRanges(t, embedded.Options{}, nil)
	r := rangeOf("detector", 100_000)
	r.Credit = 4
	n := 0
	for d, err := range consume.Frames(t.Context(), o, r) {
		if err != nil {
			t.Fatal(err)
		}
		_ = d
		if n++; n == 5 {
			natstest.Eventually(t, "the credit is used up", func() bool { return rec.sent.Load() >= 8 })
			timer := time.NewTimer(100 * time.Millisecond)
			<-timer.C
			if sent := rec.sent.Load(); sent > 9 {
				t.Errorf("%d messages were sent, 4 were read", sent)
			}
			break
		}
	}
	if err := <-rec.ended; err == nil {
		t.Error("the range was read to its end")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range consume.Frames(ctx, o, r) {
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if err := <-rec.ended; err == nil {
		t.Error("the range was read to its end")
	}
}

// respond answers the next request for a range with messages that begin and number as given:
// "open 0", " 1", "alive 1", "end 1".
func respond(t *testing.T, nc *nats.Conn, messages ...string) {
	t.Helper()
	sub, err := nc.Subscribe(frames.RangeSubject, func(m *nats.Msg) {
		for _, text := range messages {
			state, number, _ := strings.Cut(text, " ")
			n, _ := strconv.Atoi(number)
			out := &nats.Msg{Subject: m.Reply, Reply: "cvf.svc.credit.x", Header: nats.Header{publish.HeaderVersion: {"1"}}}
			if state == "" {
				one := conntest.TensorMessage("cvf.t.cam-1.detector", conntest.Slot(n), 1000)
				out.Header, out.Data = one.Header, one.Data
			} else {
				out.Header[publish.HeaderRangeState] = []string{state}
			}
			out.Header[publish.HeaderRange], out.Header[publish.HeaderRangeSequence] = []string{"x"}, []string{number}
			_ = nc.PublishMsg(out)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestLostFrames: a message that did not come is noticed at the next one, whichever it is, and
// a feeder that says nothing any more is given up.
func TestLostFrames(t *testing.T) {
	for name, tt := range map[string]struct {
		messages []string
		want     error
		came     int
	}{
		"one between others": {[]string{"open 0", " 1", " 3"}, consume.ErrLost, 1},
		"the first":          {[]string{"open 0", " 2"}, consume.ErrLost, 0},
		"the opening":        {[]string{" 1", " 2", "end 2"}, nil, 2},
		"the last":           {[]string{"open 0", " 1", "alive 2"}, consume.ErrLost, 1},
		"before the end":     {[]string{"open 0", " 1", "end 2"}, consume.ErrLost, 1},
		"twice":              {[]string{"open 0", " 1", " 1"}, consume.ErrLost, 1},
		"none":               {[]string{"open 0", " 1", "alive 1", " 2", "end 2"}, nil, 2},
		"all that follows":   {[]string{"open 0", " 1"}, consume.ErrSilent, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := natstest.Serve(t, embedded.Options{}).ClientURL()
			respond(t, plain(t, url), tt.messages...)
			got, err := all(t.Context(), dial.Options{URL: url}, rangeOf("detector", 10))
			if !errors.Is(err, tt.want) || len(got) != tt.came {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}
