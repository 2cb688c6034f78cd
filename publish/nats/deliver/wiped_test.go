package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
)

// losses are the ways in which a server loses its JetStream streams.
func losses(streams ...string) map[string]func(*testing.T, *natstest.Broker) {
	return map[string]func(*testing.T, *natstest.Broker){
		"the store is wiped": func(_ *testing.T, b *natstest.Broker) { b.Wipe() },
		"they are deleted": func(t *testing.T, b *natstest.Broker) {
			js := conntest.JetStream(t, b.URL())
			for _, name := range streams {
				if err := js.DeleteStream(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
}

// TestAStreamIsMadeAgain: a stream that is lost while it is in use is made again, which is
// told once, and takes whatever is published from then on, once each.
func TestAStreamIsMadeAgain(t *testing.T) {
	for what, lose := range losses(dial.DefaultStream) {
		for kind, set := range map[string]func(*deliver.StreamOptions){
			"ring":      func(*deliver.StreamOptions) {},
			"workqueue": func(o *deliver.StreamOptions) { o.Kind = deliver.Durable },
			"limits":    func(o *deliver.StreamOptions) { o.Kind, o.Limits = deliver.Durable, true },
		} {
			t.Run(kind+"/"+what, func(t *testing.T) {
				t.Parallel()
				srv := natstest.StartBroker(t)
				conn := conntest.Dial(t, dial.Options{URL: srv.URL(), WriteTimeout: time.Second})
				o := options()
				set(&o.Stream)
				pub := opened(t, conn, o.Stream.Kind, o)
				subjects := []string{"cvf.t.cam-1.a", "cvf.t.cam-1.b", "cvf.t.cam-2.a"}
				send := func(i int) {
					for _, subject := range subjects {
						conntest.Send(t, pub, conntest.TensorMessage(subject, conntest.Slot(i), 1000))
					}
				}
				for i := range 5 {
					send(i)
				}
				lose(t, srv)
				send(4) // an attempt whose answer was lost is repeated
				for i := 5; i < 8; i++ {
					send(i)
				}
				got := held(t, srv.URL(), dial.DefaultStream)
				for _, subject := range subjects {
					newest := got[subject][max(0, len(got[subject])-3):]
					if !slices.Equal(newest, []source.Slot{conntest.Slot(5), conntest.Slot(6), conntest.Slot(7)}) {
						t.Errorf("the stream ends with %v on %s", newest, subject)
					}
				}
				if n := conn.Remakes(); n != 1 {
					t.Errorf("that the stream was made again was told %d times", n)
				}
			})
		}
	}
}

// TestCursorsAreMadeAgain: if the bucket is lost, it is made again with all cursors, those
// that have not moved since included.
func TestCursorsAreMadeAgain(t *testing.T) {
	for what, lose := range losses("KV_" + deliver.CursorBucket) {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			srv := natstest.StartBroker(t)
			conn := conntest.Dial(t, dial.Options{URL: srv.URL(), WriteTimeout: time.Second})
			cursors := deliver.NewCursors(conn, 1)
			if err := cursors.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			var keys []string
			for i := range 5 {
				keys = append(keys, fmt.Sprint("cam-", i))
				cursors.Set(keys[i], conntest.Slot(i))
			}
			if err := cursors.Flush(t.Context(), keys...); err != nil {
				t.Fatal(err)
			}
			lose(t, srv)
			cursors.Set("cam-0", conntest.Slot(100))
			natstest.Within(t, func() error { return cursors.Flush(t.Context(), "cam-0") })
			for i, want := range []source.Slot{conntest.Slot(100), conntest.Slot(1), conntest.Slot(2), conntest.Slot(3), conntest.Slot(4)} {
				if got := saved(t, srv.URL(), keys[i]); got != want {
					t.Errorf("the bucket has %v for %s, not %v", got, keys[i], want)
				}
			}
			if n := conn.Remakes(); n != 1 {
				t.Errorf("that the bucket was made again was told %d times", n)
			}
		})
	}
}

// TestCursorsAreWrittenAgain: keys that somebody has deleted are written again, and it is told
// once, however many there are.
func TestCursorsAreWrittenAgain(t *testing.T) {
	srv := natstest.StartBroker(t)
	conn := conntest.Dial(t, dial.Options{URL: srv.URL(), WriteTimeout: time.Second})
	cursors := deliver.NewCursors(conn, 1)
	if err := cursors.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys := []string{"cam-0", "cam-1", "cam-2"}
	flush := func(at int) {
		for i, key := range keys {
			cursors.Set(key, conntest.Slot(at+i))
		}
		if err := cursors.Flush(t.Context(), keys...); err != nil {
			t.Fatal(err)
		}
		for i, key := range keys {
			if got := saved(t, srv.URL(), key); got != conntest.Slot(at+i) {
				t.Errorf("the bucket has %v for %s, not %v", got, key, conntest.Slot(at+i))
			}
		}
	}
	flush(0)
	flush(10)
	if n := conn.Remakes(); n != 0 {
		t.Errorf("before anything was lost, that was told %d times", n)
	}
	stream, err := conntest.JetStream(t, srv.URL()).Stream(t.Context(), "KV_"+deliver.CursorBucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	flush(20)
	if n := conn.Remakes(); n != 1 {
		t.Errorf("that keys were lost was told %d times", n)
	}
}

// saved returns what the bucket holds for a key, 0 if it holds nothing.
func saved(t *testing.T, url, key string) source.Slot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	kv, err := conntest.JetStream(t, url).KeyValue(ctx, deliver.CursorBucket)
	if err != nil {
		t.Fatal(err)
	}
	v, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, string(v.Value()))
	if err != nil {
		t.Fatal(err)
	}
	return source.SlotAt(at)
}
