package frames_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// burst is the Burst of a replica, which names itself in its answers.
func (r *replica) burst(q frames.BurstRequest) (frames.BurstAnswer, error) {
	if !slices.Contains(r.names(), q.Stream) {
		return frames.BurstAnswer{}, &frames.Error{Code: frames.CodeNotFound, Text: "unknown stream: there is " + strings.Join(r.names(), ", ")}
	}
	if q.Reason == "too long" {
		return frames.BurstAnswer{}, &frames.Error{Code: frames.CodeBadRequest, Text: "refused by " + r.name}
	}
	return frames.BurstAnswer{Burst: r.name, Stream: q.Stream, From: q.Time.Add(-*q.Before).Format(time.RFC3339), Interval: q.Interval.String(), To: q.Reason}, nil
}

// burstOf asks for a burst, and returns the answer, or the error in a word or two.
func burstOf(t *testing.T, nc *nats.Conn, request string) (a frames.BurstAnswer, refused string) {
	t.Helper()
	m, err := nc.Request(frames.BurstSubject, []byte(request), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if code := m.Header.Get("Nats-Service-Error-Code"); code != "" {
		return a, code + " " + m.Header.Get("Nats-Service-Error")
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		t.Fatalf("%s: %v", m.Data, err)
	}
	return a, ""
}

// TestBurstsOfOtherReplicas: whichever of two replicas gets a request, the one that has the
// stream begins the burst, with all that was asked for.
func TestBurstsOfOtherReplicas(t *testing.T) {
	url := natstest.Serve(t, embedded.Options{}).ClientURL()
	a, b := &replica{name: "a"}, &replica{name: "b"}
	a.set("cam-1")
	b.set("cam-2")
	a.start(t, url)
	b.start(t, url)
	nc := client(t, url)
	for _, stream := range []string{"cam-1", "cam-2"} {
		natstest.Eventually(t, stream+" is served", func() bool { return answerOf(t, nc, "cvf.svc.frame."+stream, stream, "x") != "nobody" })
	}
	ask := func(stream, reason string) (frames.BurstAnswer, string) {
		return burstOf(t, nc, `{"stream": "`+stream+`", "time": "2026-01-02T03:04:05Z", "before": "5s", "after": "1m", "interval": "200ms", "reason": "`+reason+`"}`)
	}
	for range 20 { // to each of the replicas, as likely as not
		for stream, owner := range map[string]string{"cam-1": "a", "cam-2": "b"} {
			got, refused := ask(stream, "a person")
			want := frames.BurstAnswer{Burst: owner, Stream: stream, From: "2026-01-02T03:04:00Z", Interval: "200ms", To: "a person"}
			if diff := cmp.Diff(want, got); diff != "" || refused != "" {
				t.Errorf("%s %s", refused, diff)
			}
		}
		if _, refused := ask("cam-2", "too long"); refused != "400 refused by b" {
			t.Errorf("a refusal is %q", refused)
		}
		if _, refused := ask("cam-9", ""); !strings.HasPrefix(refused, "404 unknown stream: there is") {
			t.Errorf("a stream that nobody has: %q", refused)
		}
	}
}

// TestBurstsAreLimited: requests for bursts have the limits of all, counted apart, and a service
// that takes none says so.
func TestBurstsAreLimited(t *testing.T) {
	a := &replica{name: "a"}
	a.set("cam-1")
	const request = `{"stream": "cam-1", "before": "1s", "interval": "1s"}`
	nc, _ := serve(t, embedded.Options{}, frames.Options{Frame: frameOf, Burst: a.burst, Rates: frames.NewRates(2, 2)})
	refusals := 0
	for range 20 {
		if _, refused := burstOf(t, nc, request); strings.HasPrefix(refused, "429 too many requests: at most 2 a second") {
			refusals++
		}
	}
	if refusals < 10 {
		t.Errorf("%d of 20 requests were refused", refusals)
	}
	if m := request1(t, nc); m != "" {
		t.Errorf("a frame was refused: %s", m)
	}
	none, _ := serve(t, embedded.Options{}, frames.Options{Frame: frameOf})
	if _, refused := burstOf(t, none, request); refused != "404 this cvfeeder takes no bursts" {
		t.Errorf("%q", refused)
	}
}

func request1(t *testing.T, nc *nats.Conn) string {
	t.Helper()
	return request(t, nc, frames.FrameSubject, goodRequest).Header.Get("Nats-Service-Error")
}
