// Package feedertest has what tests of a whole feeder share: the fake service and NATS
// around it, what arrives from it, and what it has stored.
package feedertest

import (
	"image"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// Grey is a scene that costs nothing to draw.
type Grey struct{}

// Key returns the same for all pictures, as they are equal.
func (Grey) Key(string, time.Time) string { return "" }

// Picture returns a small grey picture.
func (Grey) Picture(string, time.Time) (image.Image, error) {
	return image.NewGray(image.Rect(0, 0, 32, 32)), nil
}

// NoVariables is an environment without variables, for config.Parse.
func NoVariables(string) (string, bool) { return "", false }

// ServeFake serves a fake service for the length of the test, and returns it with its
// URL.
func ServeFake(t *testing.T, o kinesistest.Options) (fake *kinesistest.Server, url string) {
	t.Helper()
	fake, err := kinesistest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := fake.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = endpoint.Close() })
	return fake, endpoint.URL
}

// ServeNATS serves NATS with JetStream for the length of the test, and returns its URL.
func ServeNATS(t *testing.T) (url string) {
	t.Helper()
	return natstest.Serve(t, embedded.Options{StoreDir: t.TempDir()}).ClientURL()
}

// A Rig is everything around a feeder: the fake service over HTTP with two cameras, cam-1
// and cam-2, a NATS server, and a subscriber that collects all messages.
type Rig struct {
	FakeURL, NATSURL string

	t    *testing.T
	sub  *consume.Subscription
	got  []publish.Message
	done chan struct{} // closed after the last message
}

// LastSubject is the subject of the message with which a [Rig] ends its collection.
const LastSubject = "cvf.end"

// NewRig starts a rig, which lasts as long as the test.
func NewRig(t *testing.T, o kinesistest.Options) *Rig {
	t.Helper()
	if o.Streams == nil {
		o.Streams = kinesistest.Cameras(2)
	}
	r := &Rig{NATSURL: natstest.Serve(t, embedded.Options{}).ClientURL(), t: t, done: make(chan struct{})}
	_, r.FakeURL = ServeFake(t, o)
	r.sub = Subscribe(t, r.NATSURL, "cvf.>")
	go func() {
		defer close(r.done)
		for {
			m, err := r.sub.Next(t.Context())
			if err != nil || m.Subject == LastSubject {
				return
			}
			r.got = append(r.got, m)
		}
	}()
	return r
}

// Messages ends the collection and returns all messages. It is called once, when the
// feeder has ended.
func (r *Rig) Messages() []publish.Message {
	r.t.Helper()
	conn, err := dial.Dial(dial.Options{URL: r.NATSURL})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := conn.WaitConnected(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if err := deliver.NewLive(conn, publish.GapEvents).Publish(r.t.Context(), publish.Message{Subject: LastSubject}); err != nil {
		r.t.Fatal(err)
	}
	<-r.done
	if err := conn.Close(r.t.Context()); err != nil {
		r.t.Error(err)
	}
	if n := r.sub.Missed(); n > 0 {
		r.t.Errorf("the test's own subscription missed %d messages", n)
	}
	return r.got
}

// Subscribe subscribes for the length of the test, and returns when the subscription
// works.
func Subscribe(t *testing.T, url string, subjects ...string) *consume.Subscription {
	t.Helper()
	sub, err := consume.Subscribe(dial.Options{URL: url}, subjects...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	if err := sub.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sub
}

// Get returns the body of the answer to a GET request.
func Get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}
