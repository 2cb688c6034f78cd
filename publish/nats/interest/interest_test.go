package interest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/interest"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

const subject = conntest.Subject

func TestMain(m *testing.M) { natstest.VerifyNoLeaks(m) }

// accounts has an account that exports its tensors, and one that imports them.
const accounts = `
listen: "127.0.0.1:-1"
accounts {
  CAMERAS { users: [{user: feeder, password: p}], exports: [{stream: "cvf.t.>"}] }
  MODELS { users: [{user: model, password: p}], imports: [{stream: {account: CAMERAS, subject: "cvf.t.>"}}] }
}`

// TestListeners: nobody is there; somebody comes, wherever the servers' connections lead to, and
// is found without having got a message; and is gone.
func TestListeners(t *testing.T) {
	topologies := natstest.Topologies()
	topologies["another account"] = func(t *testing.T) (string, string) {
		o, err := server.ProcessConfigFile(natstest.WriteFile(t, t.TempDir()+"/nats.conf", []byte(accounts)))
		if err != nil {
			t.Fatal(err)
		}
		address := strings.TrimPrefix(natstest.Start(t, o).ClientURL(), "nats://")
		return "nats://feeder:p@" + address, "nats://model:p@" + address
	}
	for name, topology := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, there := topology(t)
			conn := conntest.Dial(t, dial.Options{URL: here})
			conntest.WaitConnected(t, conn)
			asker := interest.New(conn.Control())
			// While interest spreads among servers, one of them may not answer.
			listened := func() bool {
				var some bool
				var err error
				for range 3 {
					if some, err = asker.Listeners(t.Context(), subject, ""); !errors.Is(err, interest.ErrSilent) {
						break
					}
				}
				if err != nil {
					t.Error(err)
				}
				return some
			}
			for range 3 {
				if listened() {
					t.Error("there is nobody, and somebody listens")
				}
			}
			nc, err := nats.Connect(there)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			sub, err := nc.SubscribeSync("cvf.t.*.detector")
			if err != nil {
				t.Fatal(err)
			}
			natstest.Eventually(t, "the listener is found", listened)
			if some, err := asker.Listeners(t.Context(), "cvf.t.cam-1.classifier", ""); some || err != nil {
				t.Errorf("another subject: %v, %v", some, err)
			}
			if err := nc.Flush(); err != nil {
				t.Error(err)
			}
			if n, _, _ := sub.Pending(); n > 0 {
				t.Errorf("the listener got %d messages", n)
			}
			if err := sub.Unsubscribe(); err != nil {
				t.Error(err)
			}
			natstest.Eventually(t, "the listener is gone", func() bool { return !listened() })
		})
	}
}

// TestManyAsk at the same time, about subjects with and without listeners.
func TestManyAsk(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	conntest.WaitConnected(t, conn)
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for i := 0; i < 200; i += 2 {
		if _, err := nc.SubscribeSync(fmt.Sprintf("cvf.t.cam-%d.x", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	asker := interest.New(conn.Control())
	done := make(chan error)
	for i := range 200 {
		go func() {
			some, err := asker.Listeners(t.Context(), fmt.Sprintf("cvf.t.cam-%d.x", i), "")
			if err == nil && some != (i%2 == 0) {
				err = fmt.Errorf("camera %d: %v", i, some)
			}
			done <- err
		}()
	}
	for range 200 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestAskersAreApart: no asker gets the traces of another, of which there may be hundreds.
func TestAskersAreApart(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conns := make([]*dial.Conn, 2)
	for i := range conns {
		conns[i] = conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
		conntest.WaitConnected(t, conns[i])
		if _, err := interest.New(conns[i].Control()).Listeners(t.Context(), subject, ""); err != nil {
			t.Fatal(err)
		}
	}
	before := conns[0].Control().Client().Stats().InMsgs
	asker := interest.New(conns[1].Control())
	for range 10 {
		if _, err := asker.Listeners(t.Context(), subject, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := conns[0].Control().Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := conns[0].Control().Client().Stats().InMsgs - before; got != 0 {
		t.Errorf("an asker got %d messages for another", got)
	}
}

// TestStreams: a JetStream stream listens, unless it is the one that is excepted.
func TestStreams(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{StoreDir: t.TempDir()})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	conntest.WaitConnected(t, conn)
	js := conn.Control().JetStream()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ours", Subjects: []string{"cvf.t.>"}})
	if err != nil {
		t.Fatal(err)
	}
	asker := interest.New(conn.Control())
	for except, want := range map[string]bool{"": true, "theirs": true, "ours": false} {
		if some, err := asker.Listeners(t.Context(), subject, except); some != want || err != nil {
			t.Errorf("except %q: %v, %v", except, some, err)
		}
	}
	if info, err := stream.Info(t.Context()); err != nil || info.State.LastSeq != 0 {
		t.Errorf("the stream has stored a question: %+v, %v", info, err)
	}
}

// TestConsumers: those whose filters have the subject count, at the latest a second after they
// came or went.
func TestConsumers(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{StoreDir: t.TempDir()})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	conntest.WaitConnected(t, conn)
	consumers := interest.NewConsumers(conn.Control(), "ours")
	if _, err := consumers.Some(t.Context(), subject); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("without a stream: %v", err)
	}
	js := conn.Control().JetStream()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ours", Subjects: []string{"cvf.t.>"}})
	if err != nil {
		t.Fatal(err)
	}
	some := func(want bool) func() bool {
		return func() bool {
			got, err := consumers.Some(t.Context(), subject)
			return err == nil && got == want
		}
	}
	natstest.Eventually(t, "nobody is found", some(false))
	for _, c := range []struct {
		filters []string
		want    bool
	}{
		{[]string{"cvf.t.cam-2.detector"}, false},
		{[]string{"cvf.t.cam-2.*", "cvf.t.*.classifier"}, false},
		{[]string{"cvf.t.cam-1.detector.>"}, false},
		{[]string{"cvf.t.cam-1"}, false},
		{nil, true},
		{[]string{"cvf.t.cam-1.*"}, true},
		{[]string{"cvf.t.cam-2.*", "cvf.t.cam-1.>"}, true},
		{[]string{"*.t.cam-1.detector"}, true},
	} {
		made, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{FilterSubjects: c.filters})
		if err != nil {
			t.Error(c.filters, err)
			continue
		}
		fresh := interest.NewConsumers(conn.Control(), "ours")
		if got, err := fresh.Some(t.Context(), subject); got != c.want || err != nil {
			t.Errorf("%q: %v, %v", c.filters, got, err)
		}
		natstest.Eventually(t, "it is noticed", some(c.want))
		if err := stream.DeleteConsumer(t.Context(), made.CachedInfo().Name); err != nil {
			t.Error(err)
		}
	}
	natstest.Eventually(t, "the last one is gone", some(false))
}

// TestCannotTell: an error says that nobody knows, and why.
func TestCannotTell(t *testing.T) {
	t.Run("down", func(t *testing.T) {
		srv := natstest.Serve(t, embedded.Options{})
		conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
		conntest.WaitConnected(t, conn)
		srv.Shutdown()
		natstest.Eventually(t, "it is down", func() bool { return !conn.Control().Connected() })
		if _, err := interest.New(conn.Control()).Listeners(t.Context(), subject, ""); !errors.Is(err, interest.ErrDown) {
			t.Errorf("listeners: %v", err)
		}
		if _, err := interest.NewConsumers(conn.Control(), "ours").Some(t.Context(), subject); !errors.Is(err, interest.ErrDown) {
			t.Errorf("consumers: %v", err)
		}
	})
	t.Run("never reached", func(t *testing.T) {
		conn := conntest.Dial(t, dial.Options{URL: "nats://" + natstest.FreeAddress(t)})
		if _, err := interest.New(conn.Control()).Listeners(t.Context(), subject, ""); !errors.Is(err, interest.ErrDown) {
			t.Error(err)
		}
	})
	t.Run("too old", func(t *testing.T) {
		proxy := natstest.NewStallProxy(t, natstest.Serve(t, embedded.Options{}).ClientURL())
		proxy.Pretend("2.10.29")
		url := "nats://" + proxy.Addr().String()
		conn := conntest.Dial(t, dial.Options{URL: url})
		sub := conntest.Subscribe(t, url, subject)
		conntest.WaitConnected(t, conn, sub)
		if _, err := interest.New(conn.Control()).Listeners(t.Context(), subject, ""); !errors.Is(err, interest.ErrOld) {
			t.Error(err)
		}
		if err := conn.Control().Flush(t.Context()); err != nil {
			t.Error(err)
		}
		none, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if m, err := sub.Next(none); err == nil {
			t.Errorf("it was asked all the same, and delivered %v", m)
		}
	})
	t.Run("silent", func(t *testing.T) {
		url := natstest.StartUsers(t, &server.Options{}, map[string]*server.Permissions{"feeder": {
			Subscribe: &server.SubjectPermission{Deny: []string{interest.Subjects}},
		}})
		conn := conntest.Dial(t, dial.Options{URL: url("feeder")})
		conntest.WaitConnected(t, conn)
		began := time.Now()
		if _, err := interest.New(conn.Control()).Listeners(t.Context(), subject, ""); !errors.Is(err, interest.ErrSilent) {
			t.Error(err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
