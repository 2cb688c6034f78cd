package frames_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// A replica is a service with streams of its own, whose names tell it in its answers.
type replica struct {
	name string
	mu   sync.Mutex
	has  []string
}

func (r *replica) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.has)
}

func (r *replica) set(names ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.has = names
}

func (r *replica) frame(_ context.Context, q frames.Request, answer func(publish.Message) error) error {
	if !slices.Contains(r.names(), q.Stream) {
		return &frames.Error{Code: frames.CodeNotFound, Text: "unknown stream: there is " + strings.Join(r.names(), ", ")}
	}
	if q.Output == "none" {
		return &frames.Error{Code: frames.CodeUndecodable, Text: "broken at " + r.name}
	}
	return answer(publish.Message{Header: map[string][]string{"Cvf-Stream": {q.Stream}}, Data: []byte(r.name + " " + q.Time.String())})
}

// start serves until the test ends.
func (r *replica) start(t *testing.T, url string) {
	t.Helper()
	conn := conntest.Dial(t, dial.Options{URL: url})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- frames.Serve(ctx, conn, frames.Options{
			Rates: frames.NewRates(1000, 1000), Frame: r.frame, Burst: r.burst, Names: r.names, Streams: func(string) (any, error) { return r.names(), nil },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// answerOf asks for a frame, and returns the answer in a word or two.
func answerOf(t *testing.T, nc *nats.Conn, subject, stream, output string) string {
	t.Helper()
	m, err := nc.Request(subject, fmt.Appendf(nil, `{"stream": %q, "time": "2026-01-02T03:04:05.2Z", "output": %q}`, stream, output), 10*time.Second)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return "nobody"
	case err != nil:
		t.Fatal(err)
	}
	if code := m.Header.Get("Nats-Service-Error-Code"); code != "" {
		return code + " " + m.Header.Get("Nats-Service-Error")
	}
	if m.Header.Get("Cvf-Stream") != stream {
		t.Errorf("the headers are %v", m.Header)
	}
	name, at, _ := strings.Cut(string(m.Data), " ")
	if at != "2026-01-02 03:04:05.2 +0000 UTC" {
		t.Errorf("the frame of %s is of %s", name, at)
	}
	return name
}

// TestFramesOfOtherReplicas: whichever of three replicas gets a request, the one that
// has the stream answers, also after streams have moved.
func TestFramesOfOtherReplicas(t *testing.T) {
	url := natstest.Serve(t, embedded.Options{}).ClientURL()
	a, b, c := &replica{name: "a"}, &replica{name: "b"}, &replica{name: "c"}
	a.set("cam-1", "cam.2")
	b.set("cam-3")
	for _, r := range []*replica{a, b, c} {
		r.start(t, url)
	}
	nc := client(t, url)
	all := func(want map[string]string) {
		t.Helper()
		for stream, owner := range want {
			natstest.Eventually(t, stream+" is served", func() bool {
				return answerOf(t, nc, "cvf.svc.frame."+publish.SubjectToken(stream), stream, "x") == owner
			})
			for range 20 { // to each of the replicas, as likely as not
				if got := answerOf(t, nc, frames.FrameSubject, stream, "x"); got != owner {
					t.Errorf("%s is answered by %s, not %s", stream, got, owner)
				}
			}
		}
	}
	natstest.Eventually(t, "all serve", func() bool {
		seen := map[string]bool{}
		for range 30 {
			seen[answerOf(t, nc, frames.FrameSubject, "cam-9", "x")] = true
		}
		return len(seen) == 3 // each lists its own streams
	})
	all(map[string]string{"cam-1": "a", "cam.2": "a", "cam-3": "b"})
	for range 20 {
		if got := answerOf(t, nc, frames.FrameSubject, "cam-3", "none"); got != "422 broken at b" {
			t.Errorf("an error is %q", got)
		}
		if got := answerOf(t, nc, frames.FrameSubject, "cam-9", "x"); !strings.HasPrefix(got, "404 unknown stream: there is") {
			t.Errorf("a stream that nobody has: %q", got)
		}
	}
	if got := answerOf(t, nc, "cvf.svc.frame.cam-9", "cam-9", "x"); got != "nobody" {
		t.Errorf("the subject of a stream that nobody has: %q", got)
	}
	everything, err := nc.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if got := answerOf(t, nc, frames.FrameSubject, "cam-9", "x"); !strings.HasPrefix(got, "404 unknown stream: there is") {
		t.Errorf("where somebody listens to everything: %q", got)
	}
	if err := everything.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	a.set("cam-1")
	c.set("cam.2")
	all(map[string]string{"cam-1": "a", "cam.2": "c"})
	c.set()
	natstest.Eventually(t, "nobody has it any more", func() bool { return answerOf(t, nc, "cvf.svc.frame.cam_2", "cam.2", "x") == "nobody" })
}

// TestHandingOnNeedsPermission: without, a replica answers for itself, at once.
func TestHandingOnNeedsPermission(t *testing.T) {
	service := needsLive.With(conntest.NeedsCheck()).With(preflight.NeedsService())
	url := natstest.StartUsers(t, &server.Options{}, map[string]*server.Permissions{
		"may": conntest.Grant(service.With(preflight.NeedsForward())), "mute": conntest.Grant(service),
	})
	a, b := &replica{name: "a"}, &replica{name: "b"}
	a.set("cam-1")
	b.set("cam-2")
	a.start(t, url("may"))
	nc := client(t, url("admin"))
	natstest.Eventually(t, "a serves", func() bool { return answerOf(t, nc, "cvf.svc.frame.cam-1", "cam-1", "x") == "a" })
	b.start(t, url("mute"))
	natstest.Eventually(t, "b serves", func() bool { return answerOf(t, nc, "cvf.svc.frame.cam-2", "cam-2", "x") == "b" })
	seen := map[string]bool{}
	natstest.Eventually(t, "both get requests", func() bool {
		seen[answerOf(t, nc, frames.FrameSubject, "cam-1", "x")] = true
		return len(seen) == 2
	})
	if !seen["a"] || !seen["404 unknown stream: there is cam-2"] {
		t.Errorf("answers %v", seen)
	}
	for range 20 {
		if got := answerOf(t, nc, frames.FrameSubject, "cam-2", "x"); got != "b" {
			t.Errorf("got %q", got)
		}
	}
}
