package natspub_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/natspub"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A mode is a delivery mode, and what it promises of a subject: sent are the slots
// that were published, in order, and taken those of them for which Publish returned
// nil.
type mode struct {
	name     string
	open     func(context.Context, *natspub.Conn, natspub.StreamOptions) (publish.Publisher, error)
	stored   bool
	promises func(sent, taken, arrived []source.Slot) error
}

const ringKeep = 5

var modes = []mode{
	{name: "live", open: func(_ context.Context, c *natspub.Conn, _ natspub.StreamOptions) (publish.Publisher, error) {
		return c.Live(), nil
	}, promises: atMostOnce},
	{name: "ring", stored: true, open: func(ctx context.Context, c *natspub.Conn, o natspub.StreamOptions) (publish.Publisher, error) {
		o.Keep = ringKeep
		return c.Ring(ctx, o)
	}, promises: newest},
	{name: "durable", stored: true, open: func(ctx context.Context, c *natspub.Conn, o natspub.StreamOptions) (publish.Publisher, error) {
		return c.Durable(ctx, o)
	}, promises: everyOnce},
	{name: "durable-limits", stored: true, open: func(ctx context.Context, c *natspub.Conn, o natspub.StreamOptions) (publish.Publisher, error) {
		o.Limits = true
		return c.Durable(ctx, o)
	}, promises: everyOnce},
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

// A broker is a NATS server with JetStream that can be stopped and started, behind
// a proxy that can do what networks do.
type broker struct {
	t     *testing.T
	srv   *natspub.Server
	opts  natspub.ServerOptions
	proxy *toxiproxy.Proxy
}

func startBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{t: t, opts: natspub.ServerOptions{StoreDir: t.TempDir()}}
	b.srv = startServer(t, b.opts)
	b.opts.Listen = address(b.srv)
	b.proxy = toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "nats", "127.0.0.1:0", b.opts.Listen)
	if err := b.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.proxy.Stop)
	return b
}

func address(s *natspub.Server) string { return strings.TrimPrefix(s.ClientURL(), "nats://") }

func (b *broker) toxic(json string) {
	if _, err := b.proxy.Toxics.AddToxicJson(strings.NewReader(json)); err != nil {
		b.t.Error(err)
	}
}

func (b *broker) heal() { b.proxy.Toxics.ResetToxics(b.t.Context()) }

func (b *broker) restart() {
	b.srv.Shutdown()
	b.srv = startServer(b.t, b.opts)
}

// faults are what happens amidst the messages; all but the restart are over after
// a moment.
var faults = map[string]func(*broker){
	"nothing": func(*broker) {},
	"latency": func(b *broker) { b.toxic(`{"type":"latency","attributes":{"latency":20,"jitter":10}}`) },
	// Still enough: what is too slow is black-holed by the next but one.
	"little bandwidth":  func(b *broker) { b.toxic(`{"type":"bandwidth","stream":"upstream","attributes":{"rate":6000}}`) },
	"reset":             func(b *broker) { b.toxic(`{"type":"reset_peer","stream":"upstream","attributes":{"timeout":0}}`) },
	"black hole":        func(b *broker) { b.toxic(`{"type":"timeout","stream":"upstream","attributes":{"timeout":0}}`) },
	"acks are lost":     func(b *broker) { b.toxic(`{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`) },
	"acks are cut off":  func(b *broker) { b.toxic(`{"type":"limit_data","stream":"downstream","attributes":{"bytes":20}}`) },
	"cut in a message":  func(b *broker) { b.toxic(`{"type":"limit_data","stream":"upstream","attributes":{"bytes":30000}}`) },
	"the server starts": (*broker).restart,
}

// TestModesKeepTheirPromises publishes in every mode while each of the faults comes
// and goes, and compares what was published with what arrived, or is stored.
func TestModesKeepTheirPromises(t *testing.T) {
	for _, m := range modes {
		for name, fault := range faults {
			t.Run(m.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				b := startBroker(t)
				conn := dial(t, natspub.Options{URL: "nats://" + b.proxy.Listen, WriteTimeout: 400 * time.Millisecond})
				pub, err := m.open(t.Context(), conn, natspub.StreamOptions{Subjects: []string{"cvf.t.*.*"}})
				if err != nil {
					t.Fatal(err)
				}
				heard := hear(t, b.srv.ClientURL())
				waitConnected(t, conn)
				var over atomic.Bool
				sent, taken := sendAmid(t, pub, func(i int) bool {
					if i == 20 {
						fault(b)
						// Long enough for a write, a ping and an ack to be given up.
						time.AfterFunc(time.Second, func() { b.heal(); over.Store(true) })
					}
					return over.Load() && conn.States()[0].Connected
				})
				arrived := func() map[string][]source.Slot { return heard.slots() }
				if m.stored {
					arrived = func() map[string][]source.Slot { return held(t, b.srv.ClientURL(), natspub.DefaultStream) }
				}
				within(t, func() error {
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
func sendAmid(t *testing.T, pub publish.Publisher, step func(i int) bool) (sent []source.Slot, taken map[string][]source.Slot) {
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
			err := pub.Publish(ctx, tensorMessage(subject, slot, 4000))
			var drop *publish.DropError
			if err == nil {
				taken[subject] = append(taken[subject], slot)
			} else if !errors.As(err, &drop) {
				t.Fatalf("%s, slot %v: %v", subject, slot, err)
			}
		}
	}
	return sent, taken
}

// tensorMessage returns a whole message of a tensor with the given size, a multiple
// of 100.
func tensorMessage(subject string, slot source.Slot, size int) publish.Message {
	spec, err := transform.Preset("raw")
	if err != nil {
		panic(err)
	}
	spec.DType, spec.Color = transform.Uint8, transform.Gray
	parts := strings.Split(subject, ".")
	return publish.NewMessage(subject, &transform.Tensor{
		Stream: parts[2], Slot: slot, Capture: slot.Time(), Shape: []int{1, size / 100, 100, 1}, Source: image.Pt(100, size/100),
		Output: &transform.Output{Name: parts[3], Spec: spec, Fingerprint: "test"}, Data: make([]byte, size),
	})
}

// A listener keeps what a subscriber gets.
type listener struct {
	mu  sync.Mutex
	got map[string][]source.Slot
}

func hear(t *testing.T, url string) *listener {
	t.Helper()
	sub := subscribe(t, url, "cvf.t.>")
	waitConnected(t, sub)
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

// within waits for something to become true, and fails when it does not.
func within(t *testing.T, check func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-limit:
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

// TestALeaderIsLost publishes into a stream of three replicas while the server that
// leads it is stopped.
func TestALeaderIsLost(t *testing.T) {
	for _, m := range modes[1:] {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t)
			conn := dial(t, natspub.Options{URL: c.urls(), WriteTimeout: time.Second})
			// The servers have to elect a leader of their own first, which is waited for.
			pub, err := m.open(t.Context(), conn, natspub.StreamOptions{Subjects: []string{"cvf.t.*.*"}, Replicas: 3})
			if err != nil {
				t.Fatal(err)
			}
			sent, taken := sendAmid(t, pub, func(i int) bool {
				if i == 20 {
					c.stopLeader(natspub.DefaultStream)
				}
				return true
			})
			within(t, func() error {
				all := held(t, c.urls(), natspub.DefaultStream)
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

type cluster struct {
	t       *testing.T
	servers []*server.Server
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	return &cluster{t: t, servers: startServers(t)}
}

// startServers starts three servers in a cluster.
func startServers(t testing.TB) (servers []*server.Server) {
	t.Helper()
	var routes []string
	for range 3 {
		routes = append(routes, freeAddress(t))
	}
	for i, route := range routes {
		opts := &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), Routes: server.RoutesFromStr("nats://" + strings.Join(routes, ",nats://")),
		}
		host, port, _ := strings.Cut(route, ":")
		opts.Cluster.Name, opts.Cluster.Host = "test", host
		if _, err := fmt.Sscan(port, &opts.Cluster.Port); err != nil {
			t.Fatal(err)
		}
		srv, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
		servers = append(servers, srv)
	}
	for _, srv := range servers {
		if !srv.ReadyForConnections(10 * time.Second) {
			t.Fatal("the cluster does not start")
		}
	}
	return servers
}

func (c *cluster) urls() string {
	var urls []string
	for _, s := range c.servers {
		if s.Running() {
			urls = append(urls, s.ClientURL())
		}
	}
	return strings.Join(urls, ",")
}

func (c *cluster) stopLeader(stream string) {
	for _, s := range c.servers {
		if s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			s.Shutdown()
			return
		}
	}
	c.t.Error("no server leads the stream")
}
