package reply_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/nats/reply"
	"github.com/cvfeeder/cvfeeder/publish/publishtest"
	"github.com/cvfeeder/cvfeeder/transform"
)

func TestMain(m *testing.M) { natstest.VerifyNoLeaks(m) }

// A requester keeps what it is sent, and gives credit for it if it reads.
type requester struct {
	nc    *nats.Conn
	inbox string

	mu       sync.Mutex
	reads    bool
	messages []*nats.Msg
}

func (r *requester) receive(m *nats.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, m)
	if r.reads {
		_ = m.Respond(fmt.Appendf(nil, `{"read": %s}`, m.Header.Get(publish.HeaderRangeSequence)))
	}
}

// received returns the messages that came in a state, "" for those that count.
func (r *requester) received(state string) []*nats.Msg {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*nats.Msg
	for _, m := range r.messages {
		if m.Header.Get(publish.HeaderRangeState) == state {
			all = append(all, m)
		}
	}
	return all
}

// say sends a message on the subject for credit.
func (r *requester) say(t *testing.T, text string) {
	t.Helper()
	if err := r.received(publish.RangeOpen)[0].Respond([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// open returns a reply, the context of its work, and who it is for.
func open(t *testing.T, reads bool, server embedded.Options, o reply.Options) (context.Context, *reply.Reply, *requester) {
	t.Helper()
	srv := natstest.Serve(t, server)
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	on, err := conn.Open("service")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(on.Close)
	conntest.WaitConnected(t, on)
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	q := &requester{nc: nc, inbox: nats.NewInbox(), reads: reads}
	if _, err := nc.Subscribe(q.inbox, q.receive); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	o.Subject = q.inbox
	ctx, r, err := reply.Open(t.Context(), on, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.End(reply.Summary{}, nil) })
	natstest.Eventually(t, "the reply has begun", func() bool { return len(q.received(publish.RangeOpen)) == 1 })
	return ctx, r, q
}

func TestDelivery(t *testing.T) {
	publishtest.TestDelivery(t, func(t *testing.T) publishtest.Harness {
		_, r, q := open(t, true, embedded.Options{}, reply.Options{Credit: 3})
		return publishtest.Harness{
			Delivery: r, Gaps: publish.InlineGaps,
			Received: func(subject string) []publish.Message {
				var all []publish.Message
				for _, m := range q.received("") {
					of := "cvf.t." + m.Header.Get(publish.HeaderStream) + "." + m.Header.Get(publish.HeaderOutput)
					if of == subject {
						all = append(all, publish.Message{Subject: of, Header: m.Header, Data: m.Data})
					}
				}
				return all
			},
			Close: func() {
				if err := r.End(reply.Summary{}, nil); err != nil {
					t.Error(err)
				}
			},
		}
	})
}

// send publishes n messages of a size, and returns a channel with the error of the first that
// is not sent.
func send(ctx context.Context, r *reply.Reply, n, size int) chan error {
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < n && err == nil; i++ {
			err = r.Publish(ctx, conntest.TensorMessage(conntest.Subject, conntest.Slot(i), size))
		}
		done <- err
	}()
	return done
}

// still fails the test unless a count stays as it is for a while.
func still(t *testing.T, what string, want int, count func() int) {
	t.Helper()
	natstest.Eventually(t, what, func() bool { return count() >= want })
	timer := time.NewTimer(100 * time.Millisecond)
	<-timer.C
	if n := count(); n != want {
		t.Errorf("%s: %d, want %d", what, n, want)
	}
}

// TestCredit: no more messages are on their way than the requester has credit for, they are
// numbered, and the last message counts them.
func TestCredit(t *testing.T) {
	ctx, r, q := open(t, false, embedded.Options{}, reply.Options{Credit: 4, Open: reply.Summary{Slots: 10, Images: 12}})
	first := q.received(publish.RangeOpen)[0]
	if h := first.Header; h.Get(publish.HeaderRangeSlots) != "10" || h.Get(publish.HeaderRangeImages) != "12" || h.Get(publish.HeaderRangeSequence) != "0" || len(first.Data) > 0 {
		t.Errorf("the first message: %v, %d bytes", h, len(first.Data))
	}
	done := send(ctx, r, 10, 1000)
	count := func() int { return len(q.received("")) }
	still(t, "messages without a word", 4, count)
	for _, nonsense := range []string{"", "[]", "{", `{"read": -1}`, `{"read": 5}`, `{"read": 99}`, `{"read": "2"}`, string(make([]byte, 10_000))} {
		q.say(t, nonsense)
	}
	still(t, "messages after nonsense", 4, count)
	q.say(t, `{"read": 3}`)
	still(t, "messages when three were read", 7, count)
	q.say(t, `{"read": 2}`) // overtaken
	still(t, "messages after an older word", 7, count)
	q.say(t, `{"read": 7}`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := r.Gap(ctx, publish.Gap{Stream: "cam-1", From: conntest.Slot(10), To: conntest.Slot(12), Slots: 3, Reason: "no_media"}, []publish.Route{{Output: &transform.Output{Name: "detector", Fingerprint: "3f2a"}}}); err != nil {
		t.Fatal(err)
	}
	if err := r.End(reply.Summary{Images: 11}, &reply.Failure{Code: "502", Text: "it broke"}); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, "the end comes", func() bool { return len(q.received(publish.RangeEnd)) == 1 })
	for i, m := range q.received("") {
		if m.Header.Get(publish.HeaderRangeSequence) != strconv.Itoa(i+1) || m.Header.Get(publish.HeaderRange) != first.Header.Get(publish.HeaderRange) || m.Reply != first.Reply {
			t.Errorf("message %d has %v, reply %s", i+1, m.Header, m.Reply)
		}
	}
	last := q.received(publish.RangeEnd)[0].Header
	want := map[string]string{
		publish.HeaderRangeSequence: "11", publish.HeaderRangeSlots: "13", publish.HeaderRangeTensors: "10", publish.HeaderRangeImages: "11",
		micro.ErrorCodeHeader: "502", micro.ErrorHeader: "it broke",
	}
	for name, value := range want {
		if last.Get(name) != value {
			t.Errorf("%s is %q in the last message, want %q", name, last.Get(name), value)
		}
	}
}

// TestUnreadBytes: large messages need fewer to fill what may be on its way.
func TestUnreadBytes(t *testing.T) {
	ctx, r, q := open(t, false, embedded.Options{MaxPayload: 64 << 20}, reply.Options{Credit: 8})
	done := send(ctx, r, 3, 12<<20)
	still(t, "of 12 MiB each", 2, func() int { return len(q.received("")) })
	q.say(t, `{"read": 1}`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestRequesterGoes: the work ends when the requester is gone, in whichever way, and whoever
// waits for credit is told.
func TestRequesterGoes(t *testing.T) {
	for name, tc := range map[string]struct {
		options reply.Options
		leave   func(*testing.T, *requester)
		want    error
	}{
		"says nothing": {reply.Options{Credit: 2, Silence: 300 * time.Millisecond, Alive: 50 * time.Millisecond}, func(*testing.T, *requester) {}, reply.ErrGone},
		"is killed":    {reply.Options{Credit: 2, Alive: 50 * time.Millisecond}, func(_ *testing.T, q *requester) { q.nc.Close() }, reply.ErrGone},
		"cancels":      {reply.Options{Credit: 2}, func(t *testing.T, q *requester) { q.say(t, `{"cancel": true}`) }, reply.ErrCancelled},
		"reads nothing": {
			reply.Options{Credit: 2, Stall: 300 * time.Millisecond, Alive: 50 * time.Millisecond},
			func(t *testing.T, q *requester) { q.say(t, `{"read": 0}`) }, reply.ErrStalled,
		},
		"gets nothing": {
			reply.Options{Credit: 2, Idle: 300 * time.Millisecond, Alive: 50 * time.Millisecond},
			func(t *testing.T, q *requester) { q.say(t, `{"read": 2}`) }, reply.ErrIdle,
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, r, q := open(t, false, embedded.Options{}, tc.options)
			n := 100
			if errors.Is(tc.want, reply.ErrIdle) {
				n = 2
			}
			done := send(ctx, r, n, 1000)
			natstest.Eventually(t, "the credit is used up", func() bool { return len(q.received("")) == 2 })
			tc.leave(t, q)
			begin := time.Now()
			<-ctx.Done()
			err := <-done
			var drop *publish.DropError
			if !errors.Is(context.Cause(ctx), tc.want) || n > 2 && !errors.Is(err, context.Canceled) && !errors.As(err, &drop) {
				t.Errorf("the cause is %v, the error %v", context.Cause(ctx), err)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it was noticed after %v", took)
			}
			if r.Watched(conntest.Subject) {
				t.Error("it is still watched")
			}
			if err := r.End(reply.Summary{}, &reply.Failure{Code: "499", Text: "gone"}); err != nil {
				t.Error(err)
			}
			if !errors.Is(tc.want, reply.ErrGone) {
				natstest.Eventually(t, "who is there is told", func() bool { return len(q.received(publish.RangeEnd)) == 1 })
			}
		})
	}
}

// TestAlive: while there is nothing to send, and while a slow requester has no credit, it is
// told that the work goes on, and how many messages there were.
func TestAlive(t *testing.T) {
	ctx, r, q := open(t, false, embedded.Options{}, reply.Options{Credit: 1, Alive: 50 * time.Millisecond})
	natstest.Eventually(t, "it is told", func() bool { return len(q.received(publish.RangeAlive)) > 1 })
	done := send(ctx, r, 2, 1000)
	natstest.Eventually(t, "it is told with the number of the last message", func() bool {
		all := q.received(publish.RangeAlive)
		return all[len(all)-1].Header.Get(publish.HeaderRangeSequence) == "1"
	})
	q.say(t, `{"read": 1}`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestLargeMessages are refused, or sent in parts that count each, and are cut so that the
// headers of the reply still fit.
func TestLargeMessages(t *testing.T) {
	ctx, r, _ := open(t, true, embedded.Options{MaxPayload: 8 << 10}, reply.Options{})
	var size *publish.SizeError
	if err := <-send(ctx, r, 1, 8<<10); !errors.As(err, &size) {
		t.Errorf("got %v", err)
	}
	ctx, r, q := open(t, true, embedded.Options{MaxPayload: 8 << 10}, reply.Options{Credit: 2, Split: publish.Split})
	m := conntest.TensorMessage(conntest.Subject, conntest.Slot(1), 100_000)
	if err := r.Publish(ctx, m); err != nil {
		t.Fatal(err)
	}
	if err := r.End(reply.Summary{}, nil); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, "all has come", func() bool { return len(q.received(publish.RangeEnd)) == 1 })
	var joiner publish.Joiner
	for _, part := range q.received("") {
		whole, ok, err := joiner.Add(publish.Message{Subject: conntest.Subject, Header: part.Header, Data: part.Data})
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			if !bytes.Equal(whole.Data, m.Data) || len(q.received("")) < 10 {
				t.Errorf("%d bytes in %d parts", len(whole.Data), len(q.received("")))
			}
			return
		}
	}
	t.Error("the parts are no whole tensor")
}
