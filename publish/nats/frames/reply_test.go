package frames_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// TestAnswersGoToInboxesOnly: whoever may ask chooses the subject of the answer, which is
// published with the permissions of the feeder. So an answer of any kind, to any question,
// goes to an inbox or nowhere.
func TestAnswersGoToInboxesOnly(t *testing.T) {
	url := serveReplies(t, frames.Options{Names: func() []string { return []string{"cam-1"} }})
	stored := deliver.NewStored(conntest.Dial(t, dial.Options{URL: url}), deliver.StoredOptions{
		Stream: deliver.StreamOptions{Kind: deliver.Durable, Subjects: []string{"cvf.t.*.*"}},
	})
	if err := stored.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	conntest.Send(t, stored, conntest.TensorMessage(subject, conntest.Slot(1), 100))

	attacker := client(t, url)
	natstest.Eventually(t, "the stream's own subject is served", func() bool {
		_, err := attacker.Request(frames.FrameSubject+".cam-1", []byte(goodRequest), time.Second)
		return err == nil
	})
	watched := map[string]int{}
	all, err := client(t, url).SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	id := infoOf(t, attacker).ID
	asked := map[string]bool{}
	for _, ask := range [][2]string{
		{frames.FrameSubject, goodRequest},
		{frames.FrameSubject, "{"},
		{frames.FrameSubject + ".cam-1", goodRequest},
		{frames.FrameSubject + ".cam-1", ""},
		{frames.FrameSubject + ".cam-1", "{"},
		{frames.RangeSubject, goodRange},
		{frames.RangeSubject, "{"},
		{frames.StreamsSubject, ""},
		{frames.StreamsSubject, "{"},
		{"$SRV.PING", ""},
		{"$SRV.INFO", ""},
		{"$SRV.STATS", ""},
		{"$SRV.PING.cvfeeder", ""},
		{"$SRV.INFO.cvfeeder", ""},
		{"$SRV.STATS.cvfeeder", ""},
		{"$SRV.STATS.cvfeeder." + id, ""},
	} {
		asked[ask[0]] = true
		for _, reply := range []string{
			"$JS.API.STREAM.PURGE.cvfeeder", "$JS.API.STREAM.DELETE.cvfeeder", "$KV.cvf_cursor.cam-1",
			"$SYS.REQ.SERVER.PING", "$SRV.PING", subject, "cvf.t.cam-2.small", "cvf.gap.cam-1",
			frames.FrameSubject, frames.RangeSubject, frames.StreamsSubject, "cvf.svc.credit.x", "orders", "_INBOX", "_INBOX.>", "_INBOX.*", "_INBOX..a",
			"_INBOXES.a", "*", ">",
		} {
			err := attacker.PublishMsg(&nats.Msg{Subject: ask[0], Reply: reply, Data: []byte(ask[1])})
			if err != nil {
				t.Fatal(err)
			}
			watched[reply]++
		}
	}
	if err := attacker.Flush(); err != nil {
		t.Fatal(err)
	}
	request(t, attacker, frames.FrameSubject+".cam-1", goodRequest) // comes after the others
	request(t, attacker, frames.FrameSubject, goodRequest)
	request(t, attacker, "$SRV.STATS", "")
	for {
		m, err := all.NextMsg(200 * time.Millisecond)
		if err != nil {
			break
		}
		if _, hostile := watched[m.Subject]; hostile && !asked[m.Subject] {
			t.Errorf("an answer went to %s: %.80q %v", m.Subject, m.Data, m.Header)
		}
	}
	stream, err := conntest.JetStream(t, url).Stream(t.Context(), dial.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.GetLastMsgForSubject(t.Context(), subject); err != nil {
		t.Errorf("the tensor is gone: %v", err)
	}
}

// TestReplyPrefix: answers go below the prefix of the options, and only there.
func TestReplyPrefix(t *testing.T) {
	url := serveReplies(t, frames.Options{ReplyPrefix: "_MINE"})
	nc, err := nats.Connect(url, nats.CustomInboxPrefix("_MINE.me"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	natstest.Eventually(t, "the service answers", func() bool {
		_, err := nc.Request(frames.FrameSubject, []byte(goodRequest), time.Second)
		return err == nil
	})
	if _, err := client(t, url).Request(frames.FrameSubject, []byte(goodRequest), 200*time.Millisecond); err == nil {
		t.Error("an answer went to another prefix")
	}
}

// serveReplies starts the service on a server with JetStream.
func serveReplies(t *testing.T, o frames.Options) (url string) {
	t.Helper()
	srv := natstest.Serve(t, embedded.Options{StoreDir: t.TempDir()})
	conn := conntest.Dial(t, dial.Options{URL: srv.ClientURL()})
	o.Frame, o.Streams = frameOf, func(string) (any, error) { return "state", nil }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- frames.Serve(ctx, conn, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return srv.ClientURL()
}

// infoOf returns what the service says of itself, once it is there.
func infoOf(t *testing.T, nc *nats.Conn) (info micro.Info) {
	t.Helper()
	natstest.Eventually(t, "the service answers", func() bool {
		m, err := nc.Request("$SRV.INFO.cvfeeder", nil, time.Second)
		return err == nil && json.Unmarshal(m.Data, &info) == nil
	})
	return info
}
