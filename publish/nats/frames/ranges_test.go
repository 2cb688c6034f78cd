package frames_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
	"github.com/cvfeeder/cvfeeder/publish/nats/reply"
)

const goodRange = `{"stream": "cam-1", "output": "detector", "from": "2026-01-02T03:04:05.000Z", "to": "2026-01-02T03:04:07Z", "interval": "200ms", "credit": 3}`

// A camera has a tensor for each slot of a range, and counts what it has sent of each.
type camera struct {
	mu       sync.Mutex
	outcomes map[frames.Outcome]int
	asked    []frames.RangeRequest
}

func (c *camera) observe(o frames.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outcomes == nil {
		c.outcomes = map[frames.Outcome]int{}
	}
	c.outcomes[o]++
}

func (c *camera) count(o frames.Outcome) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outcomes[o]
}

func (c *camera) read(_ context.Context, r frames.RangeRequest, begin func(reply.Summary) (context.Context, *reply.Reply, error)) (int, error) {
	c.mu.Lock()
	c.asked = append(c.asked, r)
	c.mu.Unlock()
	switch r.Output {
	case "dear":
		return 0, fmt.Errorf("%w: %w", frames.ErrImages, &frames.Error{Code: frames.CodeBusy, Text: "too dear", Wait: 90*time.Second + time.Millisecond})
	case "none":
		return 0, &frames.Error{Code: frames.CodeNotFound, Text: "unknown output"}
	}
	slots := int(r.To.Sub(r.From) / r.Interval)
	ctx, d, err := begin(reply.Summary{Slots: slots, Images: slots + 5})
	if err != nil {
		return 0, err
	}
	for i := range slots {
		s := r.From.Add(time.Duration(i) * r.Interval)
		if err := d.Publish(ctx, conntest.TensorMessage("cvf.t."+r.Stream+"."+r.Output, s, 100)); err != nil {
			return i, fmt.Errorf("publishing: %w", err)
		}
		if r.Output == "broken" && i == 2 {
			return i, &frames.Error{Code: frames.CodeUpstream, Text: "no\r\nmore"}
		}
	}
	return slots + 1, nil
}

// answersOf sends a request for a range, gives credit for each message, and returns all.
func answersOf(t *testing.T, nc *nats.Conn, request string) []*nats.Msg {
	t.Helper()
	inbox := nats.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(frames.RangeSubject, inbox, []byte(request)); err != nil {
		t.Fatal(err)
	}
	var all []*nats.Msg
	for {
		m, err := sub.NextMsg(20 * time.Second)
		if err != nil {
			t.Fatalf("after %d messages: %v", len(all), err)
		}
		state := m.Header.Get(publish.HeaderRangeState)
		if state == publish.RangeAlive {
			continue
		}
		all = append(all, m)
		if state == publish.RangeEnd || m.Header.Get(publish.HeaderRange) == "" {
			return all
		}
		grant := &nats.Msg{Subject: m.Reply, Reply: inbox, Data: fmt.Appendf(nil, `{"read": %s}`, m.Header.Get(publish.HeaderRangeSequence))}
		if err := nc.PublishMsg(grant); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRange(t *testing.T) {
	c := &camera{}
	nc, _ := serve(t, embedded.Options{}, frames.Options{Ranges: &frames.Ranges{Read: c.read, Observe: c.observe}})
	all := answersOf(t, nc, goodRange)
	if len(all) != 12 {
		t.Fatalf("%d messages came", len(all))
	}
	for i, m := range all[1:11] {
		at := fmt.Sprintf("2026-01-02T03:04:0%d.%d00Z", 5+i/5, i%5*2)
		if m.Header.Get(publish.HeaderTime) != at || m.Header.Get(publish.HeaderRangeSequence) != strconv.Itoa(i+1) || len(m.Data) != 100 {
			t.Errorf("message %d: %v", i+1, m.Header)
		}
		plain := conntest.TensorMessage("cvf.t.cam-1.detector", conntest.Slot(i), 100)
		for name, values := range plain.Header {
			if diff := cmp.Diff(values, m.Header[name]); diff != "" {
				t.Errorf("message %d, %s (-published +sent):\n%s", i+1, name, diff)
			}
		}
	}
	h := all[11].Header
	if h.Get(publish.HeaderRangeSlots) != "10" || h.Get(publish.HeaderRangeTensors) != "10" || h.Get(publish.HeaderRangeImages) != "11" || h.Get(micro.ErrorCodeHeader) != "" {
		t.Errorf("the last message: %v", h)
	}
	natstest.Eventually(t, "it is counted", func() bool { return c.count(frames.Done) == 1 })
	if asked := c.asked[0]; asked.Credit != 3 || asked.Asker == "" || asked.Interval != 200*time.Millisecond {
		t.Errorf("asked: %+v", asked)
	}
}

// TestRangeIsRefused with one message, which says why, and when to ask again.
func TestRangeIsRefused(t *testing.T) {
	c := &camera{}
	nc, _ := serve(t, embedded.Options{}, frames.Options{Rates: frames.NewRates(1000, 1000), Ranges: &frames.Ranges{Read: c.read, Observe: c.observe}})
	with := func(old, changed string) string { return strings.Replace(goodRange, old, changed, 1) }
	for _, tt := range []struct{ request, code, text string }{
		{"", "400", "the request is empty"},
		{"[]", "400", "not understood"},
		{goodRange + "{}", "400", "more behind"},
		{strings.Repeat(" ", 5000), "400", "5000 bytes"},
		{with(`"stream": "cam-1", `, ""), "400", "stream is missing"},
		{with(`"output": "detector", `, ""), "400", "output is missing"},
		{with(`"output"`, `"outputs"`), "400", `unknown field "outputs"`},
		{with("2026-01-02T03:04:05.000Z", "noon"), "400", `from "noon" is not in RFC 3339`},
		{with("2026-01-02T03:04:07Z", "2299-01-02T03:04:05Z"), "400", `to "2299-01-02T03:04:05Z" is not in`},
		{with("2026-01-02T03:04:07Z", "2026-01-02T03:04:05.000Z"), "400", "is not after from"},
		{with("200ms", "100ms"), "400", "too short"},
		{with("200ms", "-1s"), "400", "too short"},
		{with("200ms", "often"), "400", `interval "often"`},
		{with(`"credit": 3`, `"credit": 65`), "400", "credit 65 is not within 1 to 64"},
		{with(`"credit": 3`, `"credit": -1`), "400", "credit -1"},
		{with(`"credit": 3`, `"credit": 1e99`), "400", "not understood"},
		{with("detector", "none"), "404", "unknown output"},
		{with("detector", "dear"), "429", "too dear"},
	} {
		all := answersOf(t, nc, tt.request)
		h := all[0].Header
		if len(all) != 1 || h.Get(micro.ErrorCodeHeader) != tt.code || !strings.Contains(h.Get(micro.ErrorHeader), tt.text) || len(all[0].Data) > 0 {
			t.Errorf("%.60q: %d messages, %v, want %s %q", tt.request, len(all), h, tt.code, tt.text)
		}
		if wait := h.Get(publish.HeaderRetryAfter); (wait == "91") != (tt.code == "429") {
			t.Errorf("%.60q: it is to be asked again after %q", tt.request, wait)
		}
	}
	if c.count(frames.RefusedImages) != 1 || c.count(frames.BadRequest) != 16 || c.count(frames.Failed) != 1 {
		t.Errorf("counted: %v", c.outcomes)
	}
	all := answersOf(t, nc, with("detector", "broken"))
	if h := all[len(all)-1].Header; len(all) != 5 || h.Get(micro.ErrorCodeHeader) != "502" || h.Get(micro.ErrorHeader) != "no more" || h.Get(publish.HeaderRangeTensors) != "3" {
		t.Errorf("one that breaks: %d messages, the last %v", len(all), h)
	}
}

// TestRangesAreBounded: for all and for each asker, and they end when the service does.
func TestRangesAreBounded(t *testing.T) {
	begun := make(chan struct{}, 10)
	nc, end := serve(t, embedded.Options{}, frames.Options{Rates: frames.NewRates(1000, 1000), Ranges: &frames.Ranges{
		Most: 3, MostPerAsker: 2,
		Read: func(_ context.Context, _ frames.RangeRequest, begin func(reply.Summary) (context.Context, *reply.Reply, error)) (int, error) {
			ctx, _, err := begin(reply.Summary{})
			if err != nil {
				return 0, err
			}
			begun <- struct{}{}
			<-ctx.Done()
			return 0, ctx.Err()
		},
	}})
	ask := func(nc *nats.Conn) *nats.Subscription {
		inbox := nc.NewInbox()
		sub, err := nc.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.PublishRequest(frames.RangeSubject, inbox, []byte(goodRange)); err != nil {
			t.Fatal(err)
		}
		return sub
	}
	next := func(sub *nats.Subscription) nats.Header {
		for {
			m, err := sub.NextMsg(10 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if m.Header.Get(publish.HeaderRangeState) != publish.RangeAlive {
				return m.Header
			}
		}
	}
	mine, err := nats.Connect(nc.ConnectedUrl(), nats.CustomInboxPrefix("_INBOX.me"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mine.Close)
	first, second := ask(mine), ask(mine)
	<-begun
	<-begun
	if h := next(ask(mine)); h.Get(micro.ErrorCodeHeader) != "429" || !strings.Contains(h.Get(micro.ErrorHeader), "2 ranges are being read for you") {
		t.Errorf("a third one of one asker: %v", h)
	}
	third := ask(nc)
	<-begun
	if h := next(ask(nc)); h.Get(micro.ErrorCodeHeader) != "429" || !strings.Contains(h.Get(micro.ErrorHeader), "3 ranges are being read") {
		t.Errorf("a fourth one of all: %v", h)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	for _, sub := range []*nats.Subscription{first, second, third} {
		next(sub)
		if h := next(sub); h.Get(publish.HeaderRangeState) != publish.RangeEnd || h.Get(micro.ErrorCodeHeader) != "503" {
			t.Errorf("at the end: %v", h)
		}
	}
}

// TestRangeOfAnotherReplica: whichever of two gets the request, the one that has the stream
// answers the requester itself.
func TestRangeOfAnotherReplica(t *testing.T) {
	url := natstest.Serve(t, embedded.Options{}).ClientURL()
	cameras := map[string]*camera{"a": {}, "b": {}}
	for name, c := range cameras {
		conn := conntest.Dial(t, dial.Options{URL: url})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- frames.Serve(ctx, conn, frames.Options{
				Rates: frames.NewRates(1000, 1000), Names: func() []string { return []string{"cam-" + name} },
				Streams: func(string) (any, error) { return name, nil },
				Ranges: &frames.Ranges{Observe: c.observe, Read: func(ctx context.Context, r frames.RangeRequest, begin func(reply.Summary) (context.Context, *reply.Reply, error)) (int, error) {
					if r.Stream != "cam-"+name {
						return 0, &frames.Error{Code: frames.CodeNotFound, Text: "unknown stream"}
					}
					return c.read(ctx, r, begin)
				}},
			})
		}()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	nc := client(t, url)
	natstest.Eventually(t, "both serve", func() bool {
		_, a := nc.Request("cvf.svc.frame.cam-a", nil, time.Second)
		_, b := nc.Request("cvf.svc.frame.cam-b", nil, time.Second)
		return a == nil && b == nil
	})
	for range 10 {
		for _, name := range []string{"a", "b"} {
			all := answersOf(t, nc, strings.Replace(goodRange, "cam-1", "cam-"+name, 1))
			if len(all) != 12 || all[5].Header.Get(publish.HeaderStream) != "cam-"+name {
				t.Fatalf("%s: %d messages, the first %v", name, len(all), all[0].Header)
			}
		}
	}
	natstest.Eventually(t, "all are counted", func() bool { return cameras["a"].count(frames.Done) == 10 && cameras["b"].count(frames.Done) == 10 })
	if cameras["a"].count(frames.Forwarded)+cameras["b"].count(frames.Forwarded) == 0 {
		t.Error("none was forwarded")
	}
	for name, c := range cameras {
		for _, r := range c.asked {
			if !strings.HasPrefix(r.Asker, "_INBOX.") || r.Interval != 200*time.Millisecond || r.Credit != 3 {
				t.Errorf("%s was asked %+v", name, r)
			}
		}
	}
	if all := answersOf(t, nc, strings.Replace(goodRange, "cam-1", "cam-c", 1)); len(all) != 1 || all[0].Header.Get(micro.ErrorCodeHeader) != "404" {
		t.Errorf("a stream that nobody has: %v", all[0].Header)
	}
}

// TestRangePermissions: with the documented permissions of the feeder a range comes, with those
// for single answers it is refused.
func TestRangePermissions(t *testing.T) {
	all := needsLive.With(conntest.NeedsCheck())
	url := natstest.StartUsers(t, &server.Options{}, map[string]*server.Permissions{
		"ranges": conntest.Grant(all.With(preflight.NeedsService()).With(preflight.NeedsRanges())), "single": conntest.Grant(all.With(preflight.NeedsService())),
		"asker": {
			Publish:   &server.SubjectPermission{Allow: []string{"cvf.svc.frames", "cvf.svc.credit.*"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		},
	})
	nc := client(t, url("asker"))
	for user, refused := range map[string]bool{"ranges": false, "single": true} {
		c := &camera{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- frames.Serve(ctx, conntest.Dial(t, dial.Options{URL: url(user)}), frames.Options{
				Streams: func(string) (any, error) { return nil, nil }, Ranges: &frames.Ranges{Read: c.read},
			})
		}()
		admin := client(t, url("admin"))
		natstest.Eventually(t, "it serves", func() bool {
			_, err := admin.Request(frames.StreamsSubject, nil, time.Second)
			return err == nil
		})
		long := strings.Replace(strings.Replace(goodRange, "03:04:07Z", "03:05:05Z", 1), `"credit": 3`, `"credit": 64`, 1)
		got := answersOf(t, nc, long)
		if refused && (len(got) != 1 || got[0].Header.Get(micro.ErrorCodeHeader) != "403" || !strings.Contains(got[0].Header.Get(micro.ErrorHeader), `allow "_INBOX.>"`)) {
			t.Errorf("%s: %d messages, %v", user, len(got), got[0].Header)
		}
		if !refused && len(got) != 302 {
			t.Errorf("%s: %d messages, the last %v", user, len(got), got[len(got)-1].Header)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// rangeAccounts has an account that exports ranges, and one that imports them.
const rangeAccounts = `
listen: "127.0.0.1:-1"
accounts {
  CAMERAS {
    users: [{user: feeder, password: p}]
    exports: [{service: "cvf.svc.frames", response_type: stream}, {service: "cvf.svc.credit.*"}]
  }
  MODELS {
    users: [{user: model, password: p}]
    imports: [{service: {account: CAMERAS, subject: "cvf.svc.frames"}}, {service: {account: CAMERAS, subject: "cvf.svc.credit.*"}}]
  }
}`

// TestRangeOfAnotherAccount: a range goes to another account, as docs/consumers.md says.
func TestRangeOfAnotherAccount(t *testing.T) {
	o, err := server.ProcessConfigFile(natstest.WriteFile(t, t.TempDir()+"/nats.conf", []byte(rangeAccounts)))
	if err != nil {
		t.Fatal(err)
	}
	url := natstest.Start(t, o).ClientURL()
	as := func(user string) string { return strings.Replace(url, "nats://", "nats://"+user+":p@", 1) }
	c := &camera{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- frames.Serve(ctx, conntest.Dial(t, dial.Options{URL: as("feeder")}), frames.Options{
			Streams: func(string) (any, error) { return nil, nil }, Ranges: &frames.Ranges{Read: c.read, Observe: c.observe},
		})
	}()
	own := client(t, as("feeder"))
	natstest.Eventually(t, "it serves", func() bool {
		_, err := own.Request(frames.StreamsSubject, nil, time.Second)
		return err == nil
	})
	nc := client(t, as("model"))
	if got := answersOf(t, nc, strings.Replace(goodRange, "03:04:07Z", "03:05:05Z", 1)); len(got) != 302 {
		t.Errorf("%d messages, the last %v", len(got), got[len(got)-1].Header)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := c.count(frames.Done); n != 1 {
		t.Errorf("%d ranges were sent whole", n)
	}
}

func FuzzRangeRequest(f *testing.F) {
	f.Add(goodRange)
	f.Add(`{"stream": "a", "output": "b", "from": "1970-01-01T00:00:00Z", "to": "2199-01-01T00:00:00Z", "interval": "200000us"}`)
	f.Add(`{"interval": "9999999h", "credit": 9223372036854775808}`)
	f.Fuzz(func(t *testing.T, request string) {
		r, err := frames.ParseRangeRequest([]byte(request))
		if err != nil {
			var own *frames.Error
			if !errors.As(err, &own) || own.Code != frames.CodeBadRequest {
				t.Fatalf("%v", err)
			}
			return
		}
		if r.Stream == "" || r.Output == "" || r.To <= r.From || r.Credit < 0 || r.Credit > reply.MaxCredit || r.Interval < 0 {
			t.Fatalf("%+v", r)
		}
		if again, err := frames.ParseRangeRequest(frames.WireOf(r)); err != nil || again != r {
			t.Fatalf("%+v is sent as %s and read as %+v, %v", r, frames.WireOf(r), again, err)
		}
	})
}
