package handoff_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/memory"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/handoff"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/transform"
)

func TestMain(m *testing.M) { natstest.VerifyNoLeaks(m) }

const (
	size = 100 * 100 // bytes of a tensor
	room = 8         // tensors in memory
)

// A rig is a feeder's end: it publishes tensors that are full of their number.
type rig struct {
	*handoff.Delivery
	t       *testing.T
	dir     string
	buffers transform.Buffers
	output  *transform.Output
	next    int
	unknown atomic.Int64
}

func newRig(t *testing.T, d handoff.Coverer) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "memory")}
	ring, err := memory.Open(t.Context(), memory.Options{Dir: r.dir, Bytes: room * 12288, SlotBytes: size, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ring.Close() })
	r.buffers.Shared = ring
	r.Delivery = handoff.New(d, handoff.Options{Host: ring.Host, OnUnknown: func(error) { r.unknown.Add(1) }})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	spec, err := transform.Preset("raw")
	if err != nil {
		t.Fatal(err)
	}
	spec.DType, spec.Color = transform.Uint8, transform.Gray
	r.output = &transform.Output{Name: "detector", Spec: spec, Fingerprint: "test"}
	return r
}

// tensor returns the next tensor.
func (r *rig) tensor() *transform.Tensor {
	t, _ := r.buffers.Tensor(size, transform.Padding{})
	for i := range t.Data {
		t.Data[i] = byte(r.next)
	}
	slot := conntest.Slot(r.next)
	r.next++
	t.Stream, t.Slot, t.Capture, t.Output = "cam-1", slot, slot.Time(), r.output
	t.Shape, t.Source, t.Affines = []int{1, 100, 100, 1}, image.Pt(100, 100), []transform.Affine{{1, 0, 0, 0, 1, 0}}
	return t
}

// send publishes the next tensor, and tells whether it went through memory.
func (r *rig) send() (inMemory bool) {
	r.t.Helper()
	before := r.Counts()
	t := r.tensor()
	defer t.Release()
	if err := r.Publish(r.t.Context(), publish.NewMessage(conntest.Subject, t)); err != nil && !errors.Is(err, publish.ErrUnwatched) {
		r.t.Fatal(err)
	}
	return r.Counts().Memory > before.Memory
}

// until publishes tensors until they go the way that is wanted.
func (r *rig) until(inMemory bool) {
	r.t.Helper()
	natstest.Within(r.t, func() error {
		if r.send() != inMemory {
			return errors.New("tensors do not go the way that they should")
		}
		return nil
	})
}

// A reader gets all tensors from its first one on.
type reader struct {
	*consume.Subscription
	t    *testing.T
	next int // the number of the tensor that comes next, -1 before the first
}

func (r *rig) reader(url, dir string) *reader {
	r.t.Helper()
	sub, err := consume.Open(dial.Options{URL: url}, consume.Options{Memory: dir}, "cvf.t.>")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(sub.Close)
	conntest.WaitConnected(r.t, sub)
	return &reader{sub, r.t, -1}
}

// read reads up to the tensor with number last.
func (rd *reader) read(last int) {
	rd.t.Helper()
	for d, err := range rd.Tensors(rd.t.Context()) {
		if err != nil || d.Gap != nil {
			rd.t.Fatalf("gap %+v, error %v", d.Gap, err)
		}
		n := int(d.Time.Sub(conntest.Slot(0).Time()) / (200 * 1e6))
		if rd.next >= 0 && n != rd.next || d.Subject != conntest.Subject || !bytes.Equal(d.Data, bytes.Repeat([]byte{byte(n)}, size)) {
			rd.t.Fatalf("tensor %d on %s, full of %d, comes where %d should", n, d.Subject, d.Data[0], rd.next)
		}
		if rd.next = n + 1; n >= last {
			return
		}
	}
}

// get reads the tensor with a number, or the gap in its place.
func (rd *reader) get(n int) (whole bool) {
	rd.t.Helper()
	ctx, stop := context.WithTimeout(rd.t.Context(), 10*time.Second)
	defer stop()
	for d, err := range rd.Tensors(ctx) {
		at := d.Time
		if d.Gap != nil {
			at = d.Gap.From.Time()
		}
		if err != nil || !at.Equal(conntest.Slot(n).Time()) {
			rd.t.Fatalf("%+v comes instead of tensor %d: %v", d, n, err)
		}
		return d.Gap == nil
	}
	rd.t.Fatalf("tensor %d does not come", n)
	return false
}

func newLive(t *testing.T) (url string, live *deliver.Live) {
	t.Helper()
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	conntest.WaitConnected(t, conn)
	return srv.ClientURL(), deliver.NewLive(conn, publish.GapEvents)
}

// TestEverybodyGetsAll: each reader gets each tensor once and in order, in memory as long as all
// of them read it there.
func TestEverybodyGetsAll(t *testing.T) {
	url, live := newLive(t)
	r := newRig(t, live)
	if r.send() {
		t.Error("a tensor that nobody listens to is handed over in memory")
	}
	near := r.reader(url, r.dir)
	r.until(true)
	near.read(r.next - 1)

	second := r.reader(url, r.dir)
	for range room { // as if they had been asked for before
		r.send()
	}
	near.read(r.next - 1)
	second.read(r.next - 1)

	far := r.reader(url, "off")
	r.until(false)
	far.read(r.next - 1)
	near.read(r.next - 1)
	second.read(r.next - 1)

	far.Close()
	second.Close()
	r.until(true)
	near.read(r.next - 1)
	near.Close()
	r.until(false)
	if n := r.unknown.Load(); n > 0 || near.Lost() > 0 || near.Missed() > 0 {
		t.Errorf("unknown %d times, %d lost, %d missed", n, near.Lost(), near.Missed())
	}
}

// TestSomebodyElse: whoever subscribes to everything, or shares the work with others, gets
// payloads.
func TestSomebodyElse(t *testing.T) {
	url, live := newLive(t)
	r := newRig(t, live)
	near := r.reader(url, r.dir)
	r.until(true)
	nc := conntest.Dial(t, dial.Options{URL: url}).Control()
	conntest.WaitConnected(t, nc)
	for what, subscribe := range map[string]func() error{
		"everything": func() error { _, err := nc.Client().SubscribeSync(">"); return err },
		"a group":    func() error { _, err := nc.Client().QueueSubscribeSync("cvf.t.>", "group"); return err },
	} {
		if err := subscribe(); err != nil {
			t.Fatal(err)
		}
		r.until(false)
		near.read(r.next - 1)
		nc.Client().Close()
		nc = conntest.Dial(t, dial.Options{URL: url}).Control()
		conntest.WaitConnected(t, nc)
		t.Log(what)
		r.until(true)
		near.read(r.next - 1)
	}
}

// TestTooLate: what was overwritten before it was read is a gap of one slot, with a reason, and
// what cannot be read at all comes as payload from then on.
func TestTooLate(t *testing.T) {
	url, live := newLive(t)
	r := newRig(t, live)
	near := r.reader(url, r.dir)
	r.until(true)
	near.read(r.next - 1)
	gap := func(m publish.Message, place string, n int, reason string) {
		t.Helper()
		host, err := memory.NewReader(r.dir).Host()
		if err != nil {
			t.Fatal(err)
		}
		conntest.Send(t, live, publish.InMemory(m, host, place))
		for d, err := range near.Tensors(t.Context()) {
			want := publish.Gap{Stream: "cam-1", From: conntest.Slot(n), To: conntest.Slot(n), Slots: 1, Reason: reason}
			if err != nil || d.Gap == nil || d.Gap.Gap != want || d.Gap.Output != "detector" || d.Subject != conntest.Subject {
				t.Fatalf("%+v, error %v", d.Gap, err)
			}
			break
		}
	}
	late := r.tensor()
	m, n := publish.NewMessage(conntest.Subject, late), r.next-1
	place := m.Share(conntest.Subject)
	late.Release()
	for range room {
		one := r.tensor()
		one.Share()(conntest.Subject)
		one.Release()
	}
	gap(m, place, n, memory.ReasonOverwritten)
	for range 3 { // it might be that only one file is gone
		gap(m, "cvf-0.mem;1052672;10000;1", n, memory.ReasonUnreachable)
	}
	if near.Lost() != 4 {
		t.Errorf("%d are lost", near.Lost())
	}
	near.next = -1
	r.until(false)
	near.read(r.next - 1)
}

// TestGivingUp: a reader that asks for payloads, because it cannot read memory, gets what the feeder
// publishes before it notices, though another reader is content with places.
func TestGivingUp(t *testing.T) {
	url, live := newLive(t)
	r := newRig(t, live)
	near := r.reader(url, r.dir)
	r.until(true)
	near.read(r.next - 1)
	apart := filepath.Join(t.TempDir(), "memory") // where the file with the tensors is not
	if err := os.Mkdir(apart, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(r.dir, "readers"), filepath.Join(apart, "readers")); err != nil {
		t.Fatal(err)
	}
	other := r.reader(url, apart)
	for came := 0; came < 3; { // payloads, after it has asked for them
		r.send()
		near.read(r.next - 1)
		if other.get(r.next - 1) {
			came++
		}
	}
}

// TestAllTaken: when there is no room left in memory, payloads go to everybody.
func TestAllTaken(t *testing.T) {
	url, live := newLive(t)
	r := newRig(t, live)
	near := r.reader(url, r.dir)
	r.until(true)
	near.read(r.next - 1)
	var taken []*transform.Tensor
	for range room {
		taken = append(taken, r.tensor())
		taken[len(taken)-1].Share()(conntest.Subject)
		r.next--
	}
	if r.send() {
		t.Error("a tensor without a slot is handed over in memory")
	}
	for _, one := range taken {
		one.Release()
	}
	r.until(true)
	near.read(r.next - 1)
}

// TestNotAllowed: whoever may not subscribe to places, or ask who listens, has payloads.
func TestNotAllowed(t *testing.T) {
	url := natstest.StartUsers(t, &server.Options{}, map[string]*server.Permissions{
		"reader": {Subscribe: &server.SubjectPermission{Allow: []string{"cvf.t.>"}}},
		"feeder": {Publish: &server.SubjectPermission{Deny: []string{"cvf.svc.>"}}, Subscribe: &server.SubjectPermission{Deny: []string{"cvf.svc.>"}}},
	})
	feeder := func(user string) *rig {
		conn := conntest.Dial(t, dial.Options{URL: url(user)})
		conntest.WaitConnected(t, conn)
		return newRig(t, deliver.NewLive(conn, publish.NoGaps))
	}
	r := feeder("admin")
	reader := r.reader(url("reader"), r.dir)
	for range 3 {
		if r.send() {
			t.Fatal("a reader that may not know of memory gets places")
		}
	}
	reader.read(r.next - 1)

	blind := feeder("feeder")
	blind.next = r.next
	natstest.Eventually(t, "the feeder that may not ask says so", func() bool {
		if blind.send() {
			t.Fatal("places are published although nobody knows who listens")
		}
		return blind.unknown.Load() > 0
	})
	reader.read(blind.next - 1)
}

// TestRing: a consumer of the JetStream stream says by its filters that it reads memory, and
// finds both kinds of messages in their order. Without anybody, payloads are kept.
func TestRing(t *testing.T) {
	url, conn, js := conntest.Store(t)
	subject := "cvf.t.*.*"
	ring := deliver.NewStored(conn, deliver.StoredOptions{
		Stream: deliver.StreamOptions{Kind: deliver.Ring, Name: "ring", Subjects: []string{subject, publish.MemorySubject("*", subject)}, Keep: 100},
	})
	if err := ring.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, ring)
	for range 3 {
		if r.send() {
			t.Fatal("a tensor that nobody may come for is kept in memory")
		}
	}
	host, err := memory.NewReader(r.dir).Host()
	if err != nil {
		t.Fatal(err)
	}
	consumer := func(name string, filters ...string) {
		t.Helper()
		if _, err := js.CreateConsumer(t.Context(), "ring", jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckExplicitPolicy, FilterSubjects: filters}); err != nil {
			t.Fatal(err)
		}
	}
	consumer("near", subject, publish.MemorySubject(host, subject))
	r.until(true)
	near, err := consume.Consume(t.Context(), dial.Options{URL: url}, consume.ConsumerOptions{Stream: "ring", Name: "near", Memory: r.dir})
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close(t.Context())
	n, gaps := 0, 0
	for d, err := range near.Deliveries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Time.UnixMilli() != int64(conntest.Slot(n)) {
			t.Fatalf("%v comes where %v should", d.Time, conntest.Slot(n))
		}
		if d.Gap != nil {
			gaps++
		} else if !bytes.Equal(d.Data, bytes.Repeat([]byte{byte(n)}, size)) {
			t.Fatalf("tensor %d is full of %d", n, d.Data[0])
		}
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
		if n++; n == r.next {
			break
		}
	}
	if gaps > 0 && r.Counts().Memory <= room {
		t.Errorf("%d gaps", gaps)
	}
	consumer("far", subject)
	r.until(false)
}
