package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
)

// A mode is a delivery mode, and what it promises of a subject: sent are the slots
// that were published, in order, and taken those of them for which Publish returned
// nil.
type mode struct {
	name     string
	stored   bool
	stream   deliver.StreamOptions
	promises func(sent, taken, arrived []source.Slot) error
}

const ringKeep = 5

var modes = []mode{
	{name: "live", promises: atMostOnce},
	{name: "ring", stored: true, stream: deliver.StreamOptions{Kind: deliver.Ring, Keep: ringKeep}, promises: newest},
	{name: "durable", stored: true, stream: deliver.StreamOptions{Kind: deliver.Durable}, promises: everyOnce},
	{name: "durable-limits", stored: true, stream: deliver.StreamOptions{Kind: deliver.Durable, Limits: true}, promises: everyOnce},
}

// open returns the delivery of a mode, into a stream with so many replicas.
func (m mode) open(t *testing.T, conn *dial.Conn, replicas int) publish.Delivery {
	t.Helper()
	if !m.stored {
		return deliver.NewLive(conn, publish.GapEvents)
	}
	m.stream.Subjects, m.stream.Replicas = []string{"cvf.t.*.*"}, replicas
	return opened(t, conn, m.stream.Kind, deliver.StoredOptions{Stream: m.stream})
}

func atMostOnce(sent, taken, arrived []source.Slot) error {
	if err := ascending(arrived); err != nil {
		return err
	}
	last := sent[len(sent)-1]
	if len(arrived) > len(taken) || arrived[len(arrived)-1] != last {
		return fmt.Errorf("%d arrived of %d that were taken; the last is %v, not %v", len(arrived), len(taken), arrived[len(arrived)-1], last)
	}
	return nil
}

func newest(sent, _, arrived []source.Slot) error {
	if err := ascending(arrived); err != nil {
		return err
	}
	if len(arrived) != ringKeep || arrived[ringKeep-1] != sent[len(sent)-1] {
		return fmt.Errorf("%d are kept, up to %v", len(arrived), arrived[len(arrived)-1])
	}
	return nil
}

func everyOnce(sent, taken, arrived []source.Slot) error {
	if len(taken) != len(sent) {
		return fmt.Errorf("%d of %d were taken", len(taken), len(sent))
	}
	for i, s := range sent {
		if i >= len(arrived) || arrived[i] != s {
			return fmt.Errorf("of %d, %d arrived; number %d is not %v", len(sent), len(arrived), i, s)
		}
	}
	if len(arrived) != len(sent) {
		return fmt.Errorf("%d arrived of %d", len(arrived), len(sent))
	}
	return nil
}

func ascending(slots []source.Slot) error {
	for i := 1; i < len(slots); i++ {
		if slots[i] <= slots[i-1] {
			return fmt.Errorf("%v comes after %v", slots[i], slots[i-1])
		}
	}
	if len(slots) == 0 {
		return errors.New("nothing arrived")
	}
	return nil
}

// faults are what happens amidst the messages; all but the restart are over after
// a moment.
var faults = map[string]func(*natstest.Broker){
	"nothing": func(*natstest.Broker) {},
	"latency": func(b *natstest.Broker) { b.Toxic(`{"type":"latency","attributes":{"latency":20,"jitter":10}}`) },
	// Still enough: what is too slow is black-holed by the next but one.
	"little bandwidth": func(b *natstest.Broker) {
		b.Toxic(`{"type":"bandwidth","stream":"upstream","attributes":{"rate":6000}}`)
	},
	"reset": func(b *natstest.Broker) {
		b.Toxic(`{"type":"reset_peer","stream":"upstream","attributes":{"timeout":0}}`)
	},
	"black hole": func(b *natstest.Broker) { b.Toxic(`{"type":"timeout","stream":"upstream","attributes":{"timeout":0}}`) },
	"acks are lost": func(b *natstest.Broker) {
		b.Toxic(`{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
	},
	"acks are cut off": func(b *natstest.Broker) {
		b.Toxic(`{"type":"limit_data","stream":"downstream","attributes":{"bytes":20}}`)
	},
	"cut in a message": func(b *natstest.Broker) {
		b.Toxic(`{"type":"limit_data","stream":"upstream","attributes":{"bytes":30000}}`)
	},
	"the server starts": (*natstest.Broker).Restart,
}

// TestModesKeepTheirPromises publishes in every mode while each of the faults comes
// and goes, and compares what was published with what arrived, or is stored.
func TestModesKeepTheirPromises(t *testing.T) {
	for _, m := range modes {
		for name, fault := range faults {
			t.Run(m.name+"/"+name, func(t *testing.T) {
				if testing.Short() && (m.name == "durable-limits" || name == "latency" || name == "little bandwidth") {
					t.Skip("not with -short: others are harder")
				}
				t.Parallel()
				b := natstest.StartBroker(t)
				conn := conntest.Dial(t, dial.Options{URL: b.URL(), WriteTimeout: 400 * time.Millisecond})
				pub := m.open(t, conn, 1)
				heard := hear(t, b.Server.ClientURL())
				conntest.WaitConnected(t, conn)
				var over atomic.Bool
				sent, taken := sendAmid(t, pub, func(i int) bool {
					if i == 20 {
						fault(b)
						// Long enough for a write, a ping and an ack to be given up.
						time.AfterFunc(time.Second, func() { b.Heal(); over.Store(true) })
					}
					return over.Load() && conn.States()[0].Connected
				})
				arrived := func() map[string][]source.Slot { return heard.slots() }
				if m.stored {
					arrived = func() map[string][]source.Slot { return held(t, b.Server.ClientURL(), dial.DefaultStream) }
				}
				natstest.Within(t, func() error {
					all := arrived()
					for _, subject := range subjects {
						if err := m.promises(sent, taken[subject], all[subject]); err != nil {
							return fmt.Errorf("%s: %w", subject, err)
						}
					}
					return nil
				})
			})
		}
	}
}

var subjects = []string{"cvf.t.cam-1.detector", "cvf.t.cam-1.classifier"}

// sendAmid publishes slot after slot on all subjects, 20 before the first call of step
// with 20, and 20 more after it has returned true.
func sendAmid(t *testing.T, pub publish.Delivery, step func(i int) bool) (sent []source.Slot, taken map[string][]source.Slot) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	taken = map[string][]source.Slot{}
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	slot, more := source.SlotAt(time.Now()), 0
	for i := 0; more < 20; i++ {
		<-pace.C
		if step(i) && i > 20 {
			more++
		}
		slot = slot.Add(source.MinInterval)
		sent = append(sent, slot)
		for _, subject := range subjects {
			err := pub.Publish(ctx, conntest.TensorMessage(subject, slot, 4000))
			var drop *publish.DropError
			if err == nil {
				taken[subject] = append(taken[subject], slot)
			} else if !errors.As(err, &drop) && !errors.Is(err, publish.ErrUnwatched) { // the listener has yet to connect again
				t.Fatalf("%s, slot %v: %v", subject, slot, err)
			}
		}
	}
	return sent, taken
}

// A listener keeps what a subscriber gets.
type listener struct {
	mu  sync.Mutex
	got map[string][]source.Slot
}

func hear(t *testing.T, url string) *listener {
	t.Helper()
	sub := conntest.Subscribe(t, url, "cvf.t.>")
	conntest.WaitConnected(t, sub)
	l := &listener{got: map[string][]source.Slot{}}
	go func() {
		for {
			m, err := sub.Next(t.Context())
			if err != nil {
				return
			}
			l.mu.Lock()
			l.got[m.Subject] = append(l.got[m.Subject], slotOf(m.Header))
			l.mu.Unlock()
		}
	}()
	return l
}

func (l *listener) slots() map[string][]source.Slot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.got)
}

func slotOf(h map[string][]string) source.Slot {
	at, err := time.Parse(time.RFC3339, h[publish.HeaderTime][0])
	if err != nil {
		panic(err)
	}
	return source.SlotAt(at)
}

// held returns what a stream holds.
func held(t *testing.T, url, name string) map[string][]source.Slot {
	t.Helper()
	got := map[string][]source.Slot{}
	nc, err := nats.Connect(url)
	if err != nil {
		t.Log(err)
		return got
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Log(err)
		return got
	}
	for seq := stream.CachedInfo().State.FirstSeq; seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got[m.Subject] = append(got[m.Subject], slotOf(m.Header))
	}
	return got
}

// TestALeaderIsLost publishes into a stream of three replicas while the server that
// leads it is stopped.
func TestALeaderIsLost(t *testing.T) {
	for _, m := range modes[1:] {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			c := natstest.StartCluster(t)
			conn := conntest.Dial(t, dial.Options{URL: c.URLs(), WriteTimeout: time.Second})
			// The servers have to elect a leader of their own first, which is waited for.
			pub := m.open(t, conn, 3)
			sent, taken := sendAmid(t, pub, func(i int) bool {
				if i == 20 {
					c.StopLeader(dial.DefaultStream)
				}
				return true
			})
			natstest.Within(t, func() error {
				all := held(t, c.URLs(), dial.DefaultStream)
				for _, subject := range subjects {
					if err := m.promises(sent, taken[subject], all[subject]); err != nil {
						return fmt.Errorf("%s: %w", subject, err)
					}
				}
				return nil
			})
		})
	}
}
