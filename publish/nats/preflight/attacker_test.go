package preflight_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
	"github.com/cvfeeder/cvfeeder/publish/nats/reply"
)

// usersOfTheManual are those of docs/security.md: what the rows of its table grant, and
// those of others who read tensors or ask for frames.
func usersOfTheManual() map[string]preflight.Needs {
	const stream, bucket = "cvfeeder", "cvf_cursor"
	ring := preflight.NeedsRing(stream, allTensors, allGaps)
	durable := preflight.NeedsDurable(stream, bucket, allTensors, allGaps)
	all := map[string]preflight.Needs{
		"live":      needsLive,
		"ring":      ring,
		"durable":   durable,
		"creator":   durable.With(preflight.NeedsCreate(stream, bucket)),
		"replica":   durable.With(preflight.NeedsLeases()).With(preflight.NeedsCreate(stream, bucket, lease.Bucket)),
		"service":   needsLive.With(preflight.NeedsService()),
		"forwarder": needsLive.With(preflight.NeedsService()).With(preflight.NeedsForward()),
		"ranges":    needsLive.With(preflight.NeedsService()).With(preflight.NeedsRanges()),
		"looker":    {Publish: []string{"cvf.svc.frames", "cvf.svc.credit.*"}, Subscribe: []string{"_INBOX.>"}},
		"reader":    {Subscribe: []string{"cvf.t.>", "cvf.gap.>"}},
		"asker":     {Publish: []string{"cvf.svc.frame", "cvf.svc.frame.*", "cvf.svc.streams", "$SRV.>"}, Subscribe: []string{"_INBOX.>"}},
		"alice":     {Publish: []string{"cvf.svc.frame"}, Subscribe: []string{"_INBOX.alice.>"}},
	}
	for name, n := range all {
		if name != "reader" && name != "alice" {
			all[name] = n.With(conntest.NeedsCheck())
		}
	}
	return all
}

// targets are what somebody who may not could want to publish to, with what does harm
// there. A user may publish to some of them; the rest it must not reach.
var targets = map[string]string{
	"$JS.API.STREAM.PURGE.cvfeeder":         "",
	"$JS.API.STREAM.DELETE.cvfeeder":        "",
	"$JS.API.STREAM.MSG.DELETE.cvfeeder":    `{"seq":1}`,
	"$JS.API.STREAM.UPDATE.cvfeeder":        `{"name":"cvfeeder","subjects":["cvf.t.*.*"],"max_msgs":1}`,
	"$JS.API.STREAM.CREATE.evil":            `{"name":"evil","subjects":["orders"]}`,
	"$JS.API.STREAM.PURGE.KV_cvf_cursor":    "",
	"$JS.API.STREAM.DELETE.KV_cvf_cursor":   "",
	"$JS.API.STREAM.DELETE.KV_cvf_lease":    "",
	"$JS.API.CONSUMER.CREATE.cvfeeder.evil": `{"stream_name":"cvfeeder","config":{"name":"evil","ack_policy":"explicit"}}`,
	"$KV.cvf_cursor.cam-1":                  "9999",
	"$KV.cvf_lease.cam-1":                   "9999",
	"cvf.t.cam-2.small":                     "a picture",
	"cvf.gap.cam-1":                         "{}",
	"cvf.svc.frame":                         "",
	"cvf.svc.frame.cam-1":                   "",
	"cvf.svc.streams":                       "",
	"$SRV.STATS":                            "",
	"$SYS.REQ.SERVER.PING":                  "",
	"orders":                                "1",
	"_INBOX.victim.1":                       "a picture",
}

// questions are all that cvfeeder answers.
func questions(id string) [][2]string {
	const good = `{"stream": "cam-1", "time": "2026-01-02T03:04:05.200Z", "output": "detector"}`
	const goodRange = `{"stream": "cam-1", "output": "detector", "from": "2026-01-02T03:04:05.200Z", "to": "2026-01-02T03:04:06Z"}`
	var all [][2]string
	for _, subject := range []string{
		frames.FrameSubject, frames.FrameSubject + ".cam-1", frames.RangeSubject, frames.StreamsSubject, "$SRV.PING", "$SRV.INFO", "$SRV.STATS",
		"$SRV.PING.cvfeeder", "$SRV.INFO.cvfeeder", "$SRV.STATS.cvfeeder", "$SRV.STATS.cvfeeder." + id,
	} {
		for _, data := range []string{"", "{", good, goodRange} {
			all = append(all, [2]string{subject, data})
		}
	}
	return all
}

// TestAttackers has each user of the manual try to reach each subject that it may not
// publish to: directly, and by having it for the subject of an answer of each question that
// cvfeeder answers. Nothing arrives there, and what is stored stays as it was.
func TestAttackers(t *testing.T) {
	users := map[string]*server.Permissions{}
	for name, needs := range usersOfTheManual() {
		users[name] = conntest.Grant(needs)
	}
	all := usersOfTheManual()
	users["feeder"] = conntest.Grant(all["replica"].With(all["forwarder"]).With(all["ranges"]))
	url := natstest.StartUsers(t, &server.Options{JetStream: true}, users)
	h := newHouse(t, url)
	for name, needs := range all {
		nc := h.connect(url(name))
		var forbidden []string
		for target := range targets {
			if !grants(needs.Publish, target) {
				forbidden = append(forbidden, target)
			}
		}
		if len(forbidden) < len(targets)-6 {
			t.Errorf("%s may publish to all but %q", name, forbidden)
		}
		h.watch(forbidden)
		for _, target := range forbidden {
			h.publish(nc, target, "", targets[target])
			if strings.HasPrefix(target, "_INBOX.") {
				continue // whoever may ask may have the answer in any inbox
			}
			for _, q := range questions(h.id) {
				h.publish(nc, q[0], target, q[1])
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		h.settle()
		for _, seen := range h.reached() {
			t.Errorf("user %s reached %s", name, seen)
		}
		if now := h.state(); now != h.before {
			t.Fatalf("user %s changed what is stored:\nbefore %s\nafter  %s", name, h.before, now)
		}
	}
}

// grants tells whether one of the subjects of the permissions has a subject in it.
func grants(allowed []string, subject string) bool {
	for _, a := range allowed {
		if server.SubjectsCollide(a, subject) {
			return true
		}
	}
	return false
}

// A house is a feeder's service with what it stores, and somebody who sees everything.
type house struct {
	t      *testing.T
	admin  *nats.Conn
	js     jetstream.JetStream
	id     string // of the service
	own    string // the subject of the admin's answers
	before string // what is stored

	mu       sync.Mutex
	watching map[string]bool
	seen     []string
}

func newHouse(t *testing.T, url func(string) string) *house {
	t.Helper()
	h := &house{t: t, own: nats.NewInbox(), watching: map[string]bool{}}
	stored := deliver.NewStored(conntest.Dial(t, dial.Options{URL: url("feeder")}), deliver.StoredOptions{
		Stream: deliver.StreamOptions{Kind: deliver.Durable, Subjects: []string{"cvf.t.*.*"}},
	})
	if err := stored.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	conntest.Send(t, stored, conntest.TensorMessage(subject, conntest.Slot(1), 100))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	service := conntest.Dial(t, dial.Options{URL: url("feeder")})
	go func() {
		done <- frames.Serve(ctx, service, frames.Options{
			Rates: frames.NewRates(10_000, 10_000), Names: func() []string { return []string{"cam-1"} },
			Frame: func(_ context.Context, r frames.Request, answer func(publish.Message) error) error {
				return answer(publish.Message{Header: map[string][]string{"Cvf-Stream": {r.Stream}}, Data: []byte("a picture")})
			},
			Streams: func(string) (any, error) { return "state", nil },
			Ranges: &frames.Ranges{Most: 1000, MostPerAsker: 1000, Read: func(_ context.Context, _ frames.RangeRequest, begin func(reply.Summary) (context.Context, *reply.Reply, error)) (int, error) {
				ctx, to, err := begin(reply.Summary{})
				if err != nil {
					return 0, err
				}
				return 0, to.Publish(ctx, publish.Message{Data: []byte("a picture")})
			}},
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	h.admin = h.connect(url("admin"))
	var err error
	if h.js, err = jetstream.New(h.admin); err != nil {
		t.Fatal(err)
	}
	for bucket, value := range map[string]string{"cvf_cursor": "2026-01-02T03:04:05Z", "cvf_lease": "{}"} {
		kv, err := h.js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(t.Context(), "cam-1", []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Eventually(t, "the service answers", func() bool {
		m, err := h.admin.Request("$SRV.INFO.cvfeeder", nil, time.Second)
		var info micro.Info
		if err != nil || json.Unmarshal(m.Data, &info) != nil {
			return false
		}
		h.id = info.ID
		_, err = h.admin.Request(frames.FrameSubject+".cam-1", nil, time.Second)
		return err == nil
	})
	for target := range targets {
		if _, err := h.admin.Subscribe(target, h.receive); err != nil {
			t.Fatal(err)
		}
	}
	h.before = h.state()
	return h
}

func (h *house) connect(url string) *nats.Conn {
	h.t.Helper()
	nc, err := nats.Connect(url, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // refusals are expected
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(nc.Close)
	return nc
}

func (h *house) publish(nc *nats.Conn, subject, reply, data string) {
	h.t.Helper()
	if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: []byte(data)}); err != nil {
		h.t.Fatal(err)
	}
}

// receive takes note of what arrives at a target that is watched.
func (h *house) receive(m *nats.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watching[m.Subject] && m.Reply != h.own {
		h.seen = append(h.seen, fmt.Sprintf("%s: %.60q %v", m.Subject, m.Data, m.Header))
	}
}

// watch has arrivals at these targets noted, instead of those before.
func (h *house) watch(targets []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watching = map[string]bool{}
	for _, target := range targets {
		h.watching[target] = true
	}
	h.seen = nil
}

func (h *house) reached() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen
}

// settle waits until everything that was asked before has been answered.
func (h *house) settle() {
	h.t.Helper()
	sub, err := h.admin.SubscribeSync(h.own)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for _, q := range questions(h.id) {
		h.publish(h.admin, q[0], h.own, q[1])
		if _, err := sub.NextMsg(10 * time.Second); err != nil {
			h.t.Fatalf("%s %s: %v", q[0], q[1], err)
		}
	}
	if err := h.admin.Flush(); err != nil {
		h.t.Fatal(err)
	}
}

// state returns what is stored, in words.
func (h *house) state() string {
	h.t.Helper()
	var b strings.Builder
	streams := h.js.ListStreams(h.t.Context())
	names := map[string]string{}
	for info := range streams.Info() {
		names[info.Config.Name] = fmt.Sprintf("%d messages from %d to %d, %d consumers, %d at most, made %v",
			info.State.Msgs, info.State.FirstSeq, info.State.LastSeq, info.State.Consumers, info.Config.MaxMsgs, info.Created)
	}
	if err := streams.Err(); err != nil {
		h.t.Fatal(err)
	}
	for _, name := range []string{"cvfeeder", "KV_cvf_cursor", "KV_cvf_lease"} {
		fmt.Fprintf(&b, "%s: %s; ", name, names[name])
		delete(names, name)
	}
	return b.String() + fmt.Sprint(names)
}

// TestJetStreamAnswersAnywhere: the server's own answers go where a request says, whatever
// its user may publish to. A stream's description is stored as a tensor, and the answer that
// there is no such message, which is empty, is taken for a request to delete the stream. So
// whoever may use JetStream in an account can do everything in it, as docs/security.md says.
// If a server does not do that any more, that can be taken back.
func TestJetStreamAnswersAnywhere(t *testing.T) {
	url := natstest.StartUsers(t, &server.Options{JetStream: true}, map[string]*server.Permissions{
		"little": conntest.Grant(preflight.Needs{Publish: []string{"$JS.API.STREAM.INFO.cvfeeder", "$JS.API.DIRECT.GET.cvfeeder.>"}}),
	})
	js := conntest.JetStream(t, url("admin"))
	stream := makeStream(t, js)
	nc, err := nats.Connect(url("little"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if err := nc.PublishRequest("$JS.API.STREAM.INFO.cvfeeder", "cvf.t.cam-2.small", nil); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, "the description is stored", func() bool {
		m, err := stream.GetLastMsgForSubject(t.Context(), "cvf.t.cam-2.small")
		return err == nil && strings.Contains(string(m.Data), "stream_info_response")
	})
	if err := nc.PublishRequest("$JS.API.DIRECT.GET.cvfeeder.cvf.t.none.none", "$JS.API.STREAM.DELETE.cvfeeder", nil); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, "the stream is deleted", func() bool {
		_, err := js.Stream(t.Context(), "cvfeeder")
		return errors.Is(err, jetstream.ErrStreamNotFound)
	})
}

// apart is the server config of docs/security.md.
const apart = `
jetstream: {store_dir: %q}
accounts: {
  CAMS: {
    jetstream: enabled
    users: [{user: admin, password: pw}]
    exports: [
      {service: "$JS.API.CONSUMER.MSG.NEXT.cvfeeder.model", response_type: stream}
      {service: "$JS.ACK.cvfeeder.model.>"}
    ]
  }
  MODELS: {
    users: [{user: model, password: pw}]
    imports: [
      {service: {account: CAMS, subject: "$JS.API.CONSUMER.MSG.NEXT.cvfeeder.model"}}
      {service: {account: CAMS, subject: "$JS.ACK.cvfeeder.model.>"}}
    ]
  }
}
`

// TestReadersInAnAccountOfTheirOwn: they get and acknowledge tensors of a stream, and the
// server's answers stay in their account, whatever subject they ask for.
func TestReadersInAnAccountOfTheirOwn(t *testing.T) {
	conf := natstest.WriteFile(t, t.TempDir()+"/nats.conf", fmt.Appendf(nil, apart, t.TempDir()))
	o, err := server.ProcessConfigFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	srv := natstest.Start(t, o)
	user := func(name string) string { return strings.Replace(srv.ClientURL(), "//", "//"+name+":pw@", 1) }
	js := conntest.JetStream(t, user("admin"))
	stream := makeStream(t, js)
	consumer, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "model", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(user("model"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	const next = "$JS.API.CONSUMER.MSG.NEXT.cvfeeder.model"
	for _, reply := range []string{
		"$JS.API.STREAM.DELETE.cvfeeder", "$JS.API.STREAM.PURGE.cvfeeder", "cvf.t.cam-2.small", "cvf.svc.frame",
	} {
		if err := nc.PublishRequest(next, reply, []byte(`{"batch":1,"no_wait":true}`)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := nc.Request(next, []byte(`{"batch":1,"expires":5000000000}`), 5*time.Second)
	if err != nil || !strings.HasPrefix(string(m.Data), "tensor ") {
		t.Fatalf("the reader gets %+v, %v", m, err)
	}
	if err := m.Ack(); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, "the ack arrives", func() bool {
		info, err := consumer.Info(t.Context())
		return err == nil && info.NumAckPending == int(info.Delivered.Consumer)-1
	})
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	if err != nil || info.State.Msgs != 10 || len(info.State.Subjects) != 1 {
		t.Errorf("the stream is %+v, %v", info, err)
	}
}

// makeStream makes the stream of the tensors, with ten in it.
func makeStream(t *testing.T, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "cvfeeder", Subjects: []string{"cvf.t.*.*"}, AllowDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := js.Publish(t.Context(), "cvf.t.cam-1.small", fmt.Appendf(nil, "tensor %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	return stream
}
