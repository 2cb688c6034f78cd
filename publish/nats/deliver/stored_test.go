package deliver_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
)

func options() deliver.StoredOptions {
	return deliver.StoredOptions{Stream: deliver.StreamOptions{Subjects: []string{"cvf.t.*.*"}}}
}

// opened returns a delivery that is ready.
func opened(t *testing.T, conn *dial.Conn, kind deliver.Kind, o deliver.StoredOptions) *deliver.Stored {
	t.Helper()
	o.Stream.Kind = kind
	stored := deliver.NewStored(conn, o)
	if err := stored.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return stored
}

func durable(t *testing.T, conn *dial.Conn, o deliver.StoredOptions) *deliver.Stored {
	t.Helper()
	return opened(t, conn, deliver.Durable, o)
}

// TestFullStreamHoldsBack: a durable stream without room makes Publish wait, and
// nothing is lost when there is room again.
func TestFullStreamHoldsBack(t *testing.T) {
	url, conn, js := conntest.Store(t)
	o := options()
	o.Stream.MaxBytes, o.Stream.Limits = 100_000, true
	full := make(chan struct{})
	var once sync.Once
	o.OnRetry = func(reason string, _ error) {
		if reason != publish.DropFull {
			t.Errorf("the reason is %s", reason)
		}
		once.Do(func() { close(full) })
	}
	pub := durable(t, conn, o)
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 20 && err == nil; i++ {
			err = pub.Publish(t.Context(), conntest.TensorMessage(subject, conntest.Slot(i), 10_000))
		}
		done <- err
	}()
	<-full
	before := held(t, url, dial.DefaultStream)[subject]
	stream, err := js.Stream(t.Context(), dial.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; len(before) < 20; i++ {
		if err := stream.Purge(t.Context(), jetstream.WithPurgeKeep(1)); err != nil {
			t.Fatal(err)
		}
		natstest.Within(t, func() error {
			select {
			case err := <-done:
				done <- err
				return nil
			default:
			}
			if len(held(t, url, dial.DefaultStream)[subject]) < 5 {
				return errors.New("nothing more comes")
			}
			return nil
		})
		for _, s := range held(t, url, dial.DefaultStream)[subject] {
			if s > before[len(before)-1] {
				before = append(before, s)
			}
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, s := range before {
		if s != conntest.Slot(i) {
			t.Fatalf("number %d is %v", i, s)
		}
	}
}

// TestTwoFeeders: two of them publish the same slots at different speeds, one of
// them in pieces with a new start each.
func TestTwoFeeders(t *testing.T) {
	for name, limits := range map[string]bool{"workqueue": false, "limits": true} {
		t.Run(name, func(t *testing.T) {
			url, conn, _ := conntest.Store(t)
			o := options()
			o.Stream.Limits = limits
			const n = 300
			var all sync.WaitGroup
			all.Go(func() {
				pub := durable(t, conn, o)
				for i := range n {
					if err := pub.Publish(t.Context(), conntest.TensorMessage(subject, conntest.Slot(i), 100)); err != nil {
						t.Error(err)
					}
				}
			})
			all.Go(func() {
				other := conntest.Dial(t, dial.Options{URL: url, WriteTimeout: time.Second})
				for from := 0; from < n; from += 20 {
					pub := durable(t, other, o)
					for i := max(from-30, 0); i < from+20; i++ {
						if err := pub.Publish(t.Context(), conntest.TensorMessage(subject, conntest.Slot(i), 100)); err != nil {
							t.Error(err)
						}
					}
				}
			})
			all.Wait()
			got := held(t, url, dial.DefaultStream)[subject]
			for i, s := range got {
				if s != conntest.Slot(i) {
					t.Fatalf("number %d is %v", i, s)
				}
			}
			if len(got) != n {
				t.Fatalf("%d slots", len(got))
			}
		})
	}
}

// TestConsumedIsNotRepeated: a work queue that was emptied does not take what was in
// it again.
func TestConsumedIsNotRepeated(t *testing.T) {
	url, conn, js := conntest.Store(t)
	pub := durable(t, conn, options())
	for i := range 10 {
		if err := pub.Publish(t.Context(), conntest.TensorMessage(subject, conntest.Slot(i), 100)); err != nil {
			t.Fatal(err)
		}
	}
	consumer, err := js.CreateOrUpdateConsumer(t.Context(), dial.DefaultStream, jetstream.ConsumerConfig{Durable: "model", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.Fetch(10)
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	again := durable(t, conn, options())
	for i := range 12 {
		if err := again.Publish(t.Context(), conntest.TensorMessage(subject, conntest.Slot(i), 100)); err != nil {
			t.Fatal(err)
		}
	}
	got := held(t, url, dial.DefaultStream)[subject]
	if !slices.Equal(got, []source.Slot{conntest.Slot(10), conntest.Slot(11)}) {
		t.Errorf("the queue holds %v", got)
	}
}

func TestStreamThatDoesNotFit(t *testing.T) {
	ctx := t.Context()
	mine := jetstream.StreamConfig{Name: dial.DefaultStream, Subjects: []string{"cvf.t.*.*"}, MaxBytes: 5000, Discard: jetstream.DiscardOld}
	for _, tt := range []struct {
		name   string
		change func(*jetstream.StreamConfig, *deliver.StreamOptions)
		want   []string
	}{
		{"limits can be edited", func(_ *jetstream.StreamConfig, o *deliver.StreamOptions) {
			o.Limits = true
		}, []string{"max_bytes is 5000, not 8589934592", "discard is old, not new", "nats stream edit cvfeeder --discard=new --max-bytes=8589934592"}},
		{"storage cannot", func(c *jetstream.StreamConfig, o *deliver.StreamOptions) {
			c.Storage, o.Limits = jetstream.MemoryStorage, true
		}, []string{"storage is Memory, not File", "nats stream rm cvfeeder"}},
		{"retention cannot", func(*jetstream.StreamConfig, *deliver.StreamOptions) {
		}, []string{"retention is Limits, not WorkQueue", "nats stream rm cvfeeder"}},
		{"the subjects are taken", func(c *jetstream.StreamConfig, _ *deliver.StreamOptions) {
			c.Name = "mine"
		}, []string{"stream mine has cvf.t.*.* already", "delivery.stream.name"}},
		{"replicas without a cluster", func(c *jetstream.StreamConfig, o *deliver.StreamOptions) {
			c.Name, c.Subjects, o.Replicas = "other", []string{"x"}, 3
		}, []string{"not in a cluster", "delivery.stream.replicas"}},
		{"too large", func(c *jetstream.StreamConfig, o *deliver.StreamOptions) {
			c.Name, c.Subjects, o.MaxBytes = "other", []string{"x"}, 1<<60
		}, []string{"less room", "delivery.stream.max_bytes"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Each with a server of its own, which may be busy with a deleted stream.
			_, conn, js := conntest.Store(t)
			c, o := mine, options()
			tt.change(&c, &o.Stream)
			if _, err := js.CreateStream(ctx, c); err != nil {
				t.Fatal(err)
			}
			o.Stream.Kind = deliver.Durable
			err := deliver.NewStored(conn, o).Open(ctx)
			if !errors.Is(err, dial.ErrStream) {
				t.Fatalf("the error is %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

func TestNoJetStream(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL(), WriteTimeout: time.Second})
	err := deliver.NewStored(conn, options()).Open(t.Context())
	if !errors.Is(err, dial.ErrStream) || !strings.Contains(err.Error(), "delivery.mode: live") {
		t.Errorf("the error is %v", err)
	}
}

// TestRingGivesUpWhatIsStale: without a server, a message is tried for until it
// expires.
func TestRingGivesUpWhatIsStale(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{StoreDir: t.TempDir()})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL(), WriteTimeout: 100 * time.Millisecond})
	pub := opened(t, conn, deliver.Ring, options())
	srv.Shutdown()
	m := conntest.TensorMessage(subject, conntest.Slot(0), 100)
	m.Expires = time.Now().Add(300 * time.Millisecond)
	if reason := conntest.DropReason(t, pub.Publish(t.Context(), m)); reason != publish.DropDisconnected {
		t.Errorf("the reason is %s", reason)
	}
	if time.Now().Before(m.Expires) {
		t.Error("it was given up too early")
	}
}

// TestPartsAreStoredOnce: tensors that the server takes only in parts, from two
// feeders of which one begins in the middle of a tensor, come out whole, once, in
// order, even where that one was cut or made otherwise.
func TestPartsAreStoredOnce(t *testing.T) {
	const limit = 64<<10 - deliver.StoredOverhead
	t.Run("the same parts", func(t *testing.T) { storePartsOnce(t, limit, "", 0) })
	t.Run("the limit was smaller", func(t *testing.T) { storePartsOnce(t, limit/2, "", 1) })
	t.Run("the spec was another", func(t *testing.T) { storePartsOnce(t, limit, "another", 1) })
}

// storePartsOnce publishes with a feeder that dies amid the fourth tensor, made with
// the given spec and cut for the given limit, and then with another.
func storePartsOnce(t *testing.T, limit int, spec string, incomplete int) {
	const size, n = 300_000, 6
	srv := natstest.Serve(t, embedded.Options{StoreDir: t.TempDir(), MaxPayload: 64 << 10})
	message := func(i int) publish.Message {
		m := conntest.TensorMessage(subject, conntest.Slot(i), size)
		for k := range m.Data {
			m.Data[k] = byte(i + k>>8)
		}
		return m
	}
	first := conntest.Dial(t, dial.Options{URL: srv.ClientURL(), Chunk: true})
	pub := durable(t, first, options())
	for i := range 3 {
		if err := pub.Publish(t.Context(), message(i)); err != nil {
			t.Fatal(err)
		}
	}
	// The first one dies after two parts of the fourth tensor.
	left := message(3)
	if spec != "" {
		left.Header[publish.HeaderSpec] = []string{spec}
		left.Header[publish.HeaderMsgID] = []string{"made with " + spec}
	}
	parts, err := publish.Split(left, limit)
	if err != nil || len(parts) < 5 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for _, part := range parts[:2] {
		if err := pub.Publish(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	other := durable(t, conntest.Dial(t, dial.Options{URL: srv.ClientURL(), Chunk: true}), options())
	for i := range n {
		if err := other.Publish(t.Context(), message(i)); err != nil {
			t.Fatal(err)
		}
	}
	consumer, err := consume.Consume(t.Context(), dial.Options{URL: srv.ClientURL()}, consume.ConsumerOptions{Name: "model", AckWait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = consumer.Close(context.Background()) }()
	i := 0
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for d, err := range consumer.Deliveries(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if want := message(i); !bytes.Equal(d.Data, want.Data) || source.SlotAt(d.Time) != conntest.Slot(i) {
			t.Errorf("number %d is of %v, its bytes are the same: %v", i, d.Time, bytes.Equal(d.Data, want.Data))
		}
		if err := d.Ack(); err != nil {
			t.Error(err)
		}
		if i++; i == n && incomplete == 0 {
			break
		}
		if i == n { // what was left is given up when it comes again
			go func() {
				defer cancel()
				for ctx.Err() == nil && consumer.Incomplete() < incomplete {
					<-time.After(10 * time.Millisecond)
				}
			}()
		}
	}
	if i != n || consumer.Incomplete() != incomplete {
		t.Errorf("%d came, %d are incomplete", i, consumer.Incomplete())
	}
}
