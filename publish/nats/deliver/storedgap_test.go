package deliver_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// gapMessage tells that the slots from first to last have no tensor.
func gapMessage(first, last int) publish.Message {
	return publish.NewInlineGap(subject, publish.Gap{
		Stream: "cam-1", From: conntest.Slot(first), To: conntest.Slot(last), Slots: last - first + 1, Reason: "no_media",
	}, &transform.Output{Name: "detector", Fingerprint: "test"})
}

// A slotReader is a consumer of a durable stream that takes what there is.
type slotReader struct {
	t    *testing.T
	js   jetstream.JetStream
	told []string // "1" for a tensor of slot 1, "2-4" for a gap
}

// take takes all that the stream holds.
func (r *slotReader) take() {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), dial.DefaultStream)
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := stream.CreateOrUpdateConsumer(r.t.Context(), jetstream.ConsumerConfig{Durable: "model", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		r.t.Fatal(err)
	}
	for {
		info, err := stream.Info(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		if info.State.Msgs == 0 {
			return
		}
		m, err := c.Next(jetstream.FetchMaxWait(time.Second))
		if errors.Is(err, nats.ErrTimeout) {
			continue // the last ack is still on its way
		}
		if err != nil {
			r.t.Fatal(err)
		}
		pos, err := publish.ParsePosition(m.Headers())
		if err != nil {
			r.t.Fatal(err)
		}
		number := func(s source.Slot) string { return strconv.Itoa(int(s.Sub(conntest.Slot(0)) / source.MinInterval)) }
		text := number(pos.First)
		if pos.Last > pos.First {
			text += "-" + number(pos.Last)
		}
		r.told = append(r.told, text)
		if err := m.DoubleAck(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestAGapThatGrew: after a crash before the cursor was saved, a gap begins where one
// began before, or a tensor was, and is longer. Each of its slots is told of, whether
// or not the queue was emptied meanwhile.
func TestAGapThatGrew(t *testing.T) {
	one := func(i int) publish.Message { return conntest.TensorMessage(subject, conntest.Slot(i), 100) }
	for _, tt := range []struct {
		name          string
		before, after []publish.Message
		held, emptied string
	}{
		// What an emptied queue does not know any more is told again.
		{"the same", []publish.Message{gapMessage(0, 3)}, []publish.Message{gapMessage(0, 3), one(4)}, "0-3 4", "0-3 1-3 4"},
		{"longer", []publish.Message{gapMessage(0, 3)}, []publish.Message{gapMessage(0, 8), one(9)}, "0-3 4-8 9", "0-3 1-8 9"},
		{"of one slot", []publish.Message{gapMessage(0, 0)}, []publish.Message{gapMessage(0, 2), one(3)}, "0 1-2 3", "0 1-2 3"},
		{"after tensors", []publish.Message{one(0), one(1), one(2)}, []publish.Message{gapMessage(0, 8), one(9)}, "0 1 2 3-8 9", "0 1 2 3-8 9"},
		{"of tensors alone", []publish.Message{one(0), one(1)}, []publish.Message{gapMessage(0, 1), one(2)}, "0 1 2", "0 1 2"},
	} {
		for queue, want := range map[string]string{"held": tt.held, "emptied": tt.emptied} {
			t.Run(tt.name+" "+queue, func(t *testing.T) {
				_, conn, js := conntest.Store(t)
				reader := &slotReader{t: t, js: js}
				publishAll := func(all []publish.Message) {
					t.Helper()
					pub := durable(t, conn, options())
					for _, m := range all {
						if err := pub.Publish(t.Context(), m); err != nil {
							t.Fatal(err)
						}
					}
				}
				publishAll(tt.before)
				if queue == "emptied" {
					reader.take()
				}
				publishAll(tt.after)
				reader.take()
				if diff := cmp.Diff(want, strings.Join(reader.told, " ")); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// TestAGapThatAnotherFeederToldShorter: of two feeders of one camera, one tells a gap while
// it is short, and the other, which does not know of that, when it has grown. Each of its
// slots is told of.
func TestAGapThatAnotherFeederToldShorter(t *testing.T) {
	url, conn, js := conntest.Store(t)
	one := func(i int) publish.Message { return conntest.TensorMessage(subject, conntest.Slot(i), 100) }
	here, there := durable(t, conn, options()), durable(t, conntest.Dial(t, dial.Options{URL: url}), options())
	for _, step := range []struct {
		by *deliver.Stored
		m  publish.Message
	}{{here, one(0)}, {there, one(0)}, {there, gapMessage(1, 2)}, {here, gapMessage(1, 6)}, {here, one(7)}, {there, gapMessage(3, 6)}, {there, one(7)}} {
		if err := step.by.Publish(t.Context(), step.m); err != nil {
			t.Fatal(err)
		}
	}
	reader := &slotReader{t: t, js: js}
	reader.take()
	if diff := cmp.Diff("0 1-2 3-6 7", strings.Join(reader.told, " ")); diff != "" {
		t.Error(diff)
	}
}

// TestAGapWhoseAckIsLost: a gap that is consumed before its publisher knows that it
// was stored is told once.
func TestAGapWhoseAckIsLost(t *testing.T) {
	b := natstest.StartBroker(t)
	nc, err := nats.Connect(b.Server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	conn := conntest.Dial(t, dial.Options{URL: b.URL(), WriteTimeout: 300 * time.Millisecond})
	pub := durable(t, conn, options())
	if err := pub.Publish(t.Context(), conntest.TensorMessage(subject, conntest.Slot(0), 100)); err != nil {
		t.Fatal(err)
	}
	reader := &slotReader{t: t, js: js}
	b.Toxic(`{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
	ended := make(chan error, 1)
	go func() { ended <- pub.Publish(t.Context(), gapMessage(1, 4)) }()
	natstest.Eventually(t, "the gap is consumed", func() bool { reader.take(); return len(reader.told) > 1 })
	b.Heal()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := pub.Publish(t.Context(), conntest.TensorMessage(subject, conntest.Slot(5), 100)); err != nil {
		t.Fatal(err)
	}
	reader.take()
	if diff := cmp.Diff([]string{"0", "1-4", "5"}, reader.told); diff != "" {
		t.Error(diff)
	}
}

// TestAGapInPlaceOfATensor: of a tensor some parts were stored before a crash, and then
// there was no picture any more.
func TestAGapInPlaceOfATensor(t *testing.T) {
	for _, tt := range []struct {
		gap  publish.Message
		want string
	}{
		{gapMessage(2, 5), "0 2 2 2-5"},
		{gapMessage(1, 5), "0 2 2 2-5"}, // what is before the last message has been told
		{gapMessage(2, 2), "0 2 2 2"},
	} {
		_, conn, js := conntest.Store(t)
		pub := durable(t, conn, options())
		parts, err := publish.Split(conntest.TensorMessage(subject, conntest.Slot(2), 9000), 4000)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []publish.Message{conntest.TensorMessage(subject, conntest.Slot(0), 100), parts[0], parts[1]} {
			if err := pub.Publish(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		if err := durable(t, conn, options()).Publish(t.Context(), tt.gap); err != nil {
			t.Fatal(err)
		}
		reader := &slotReader{t: t, js: js}
		reader.take()
		if got := strings.Join(reader.told, " "); got != tt.want {
			t.Errorf("%s, not %s", got, tt.want)
		}
	}
}

// TestAGapOfTheFuture: this feeder has told a gap of slots that have not been yet, because a
// clock was wrong. Their tensors are stored when they come, and those before them are not
// stored twice.
func TestAGapOfTheFuture(t *testing.T) {
	_, conn, js := conntest.Store(t)
	o := options()
	now := 300
	o.Now = func() time.Time { return conntest.Slot(now).Time() }
	pub := durable(t, conn, o)
	tell := func(m publish.Message) {
		t.Helper()
		if err := pub.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	tensor := func(slot int) publish.Message {
		m := conntest.TensorMessage(subject, conntest.Slot(slot), 100)
		delete(m.Header, publish.HeaderMsgID) // the same ones have come within minutes
		return m
	}
	tell(tensor(0))
	tell(tensor(1))
	tell(gapMessage(2, 300))
	now = 10
	for slot := range 5 {
		tell(tensor(slot))
	}
	reader := &slotReader{t: t, js: js}
	reader.take()
	if got := strings.Join(reader.told, " "); got != "0 1 2-300 2 3 4" {
		t.Error(got)
	}
}
