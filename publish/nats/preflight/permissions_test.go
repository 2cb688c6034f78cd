package preflight_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

func TestMain(m *testing.M) { natstest.VerifyNoLeaks(m) }

const subject = conntest.Subject

var (
	allTensors = []string{"cvf.t.*.*"}
	allGaps    = []string{"cvf.gap.*"}
	needsLive  = preflight.NeedsLive(allTensors, allGaps)
)

// each calls f with needs that lack one of those of n.
func each(n preflight.Needs, f func(verb, lacks string, rest preflight.Needs)) {
	without := func(all []string, i int) []string { return slices.Delete(slices.Clone(all), i, i+1) }
	for i, s := range n.Publish {
		rest := n
		rest.Publish = without(n.Publish, i)
		f("publish", s, rest)
	}
	for i, s := range n.Subscribe {
		rest := n
		rest.Subscribe = without(n.Subscribe, i)
		f("subscribe", s, rest)
	}
	if n.Respond {
		rest := n
		rest.Respond = false
		f("respond", "", rest)
	}
}

// TestEachMissingPermissionIsNamed takes each permission of each mode away, one at a
// time, but those of asking: without these the others cannot be known.
func TestEachMissingPermissionIsNamed(t *testing.T) {
	modes := map[string]preflight.Needs{
		"live":    needsLive,
		"ring":    preflight.NeedsRing("cvfeeder", allTensors, allGaps),
		"durable": preflight.NeedsDurable("cvfeeder", "cvf_cursor", allTensors, allGaps),
		"service": preflight.NeedsService(),
		"create":  preflight.NeedsCreate("cvfeeder", "cvf_cursor"),
	}
	type lack struct {
		mode, verb, subject string
	}
	users, lacks := map[string]*server.Permissions{}, map[string]lack{}
	for mode, n := range modes {
		users[mode] = conntest.Grant(n.With(conntest.NeedsCheck()))
		each(n, func(verb, subject string, rest preflight.Needs) {
			if subject != "_INBOX.>" {
				rest = rest.With(conntest.NeedsCheck())
			} else {
				rest.Publish = append(slices.Clone(rest.Publish), conntest.NeedsCheck().Publish...)
			}
			name := fmt.Sprintf("u%d", len(users))
			users[name], lacks[name] = conntest.Grant(rest), lack{mode, verb, subject}
		})
	}
	url := natstest.StartUsers(t, &server.Options{}, users)
	for mode, n := range modes {
		conn := conntest.Dial(t, dial.Options{URL: url(mode)})
		conntest.WaitConnected(t, conn)
		if err := preflight.CheckPermissions(t.Context(), conn, n); err != nil {
			t.Errorf("%s: with all that it needs: %v", mode, err)
		}
	}
	for user, lack := range lacks {
		conn := conntest.Dial(t, dial.Options{URL: url(user)})
		conntest.WaitConnected(t, conn)
		err := preflight.CheckPermissions(t.Context(), conn, modes[lack.mode])
		var denied *dial.PermissionError
		if !errors.As(err, &denied) || !errors.Is(err, dial.ErrRefused) {
			t.Errorf("%+v: got %v", lack, err)
			continue
		}
		want := []dial.Permission{{Verb: lack.verb, Subject: lack.subject}}
		if diff := cmp.Diff(want, denied.Missing); diff != "" {
			t.Errorf("%+v: missing (-want +got):\n%s", lack, diff)
		}
		if lack.subject != "_INBOX.>" && denied.User != user+" of account CAMS" {
			t.Errorf("%+v: user %q", lack, denied.User)
		}
	}
}

// TestLeastPrivilegeDelivers publishes with exactly what docs/security.md grants for
// "live".
func TestLeastPrivilegeDelivers(t *testing.T) {
	url := natstest.StartUsers(t, &server.Options{}, map[string]*server.Permissions{
		"feeder": conntest.Grant(needsLive.With(conntest.NeedsCheck())), "blind": conntest.Grant(needsLive),
	})
	sub := conntest.Subscribe(t, url("admin"), "cvf.>")
	conntest.WaitConnected(t, sub)
	for _, user := range []string{"feeder", "blind"} {
		var log natstest.Log
		conn := conntest.Dial(t, dial.Options{
			URL: url(user), OnDenied: func(err error) { t.Errorf("%s: %v", user, err) },
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		conntest.WaitConnected(t, conn)
		if err := preflight.CheckPermissions(t.Context(), conn, needsLive); err != nil {
			t.Errorf("%s: %v", user, err)
		}
		live := deliver.NewLive(conn, publish.GapEvents)
		conntest.Send(t, live, conntest.Numbered(1, 100))
		if err := live.Gap(t.Context(), publish.Gap{Stream: "cam-1", Reason: "no_media", Slots: 1}, nil); err != nil {
			t.Error(err)
		}
		if err := conn.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		got := []string{conntest.Next(t, sub).Subject, conntest.Next(t, sub).Subject}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"cvf.gap.cam-1", subject}, got); diff != "" {
			t.Errorf("%s: subjects (-want +got):\n%s", user, diff)
		}
		_ = conn.Close(t.Context()) // and with it the log
		if told := strings.Contains(log.String(), "allow to publish $SYS.REQ.USER.INFO"); told != (user == "blind") {
			t.Errorf("%s: log: %s", user, log.String())
		}
	}
}

func TestDenyEntryIsNamed(t *testing.T) {
	op := natstest.NewOperator(t)
	file := natstest.WriteFile(t, t.TempDir()+"/feeder.creds", op.Creds(t, "feeder", func(c *jwt.UserClaims) { c.Pub.Deny.Add("cvf.t.cam-1.>") }))
	conn := conntest.Dial(t, dial.Options{URL: op.URL, Credentials: file})
	conntest.WaitConnected(t, conn)
	err := preflight.CheckPermissions(t.Context(), conn, needsLive)
	want := `NATS user feeder of account CAMS may not publish to cvf.t.*.*: take "cvf.t.cam-1.>" out of what is denied in the user's publish permissions`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestVerdictsAreTheServers compares what CheckPermissions says with what a server
// does, for users with random permissions. A subject without wildcards must get the
// same verdict. One with wildcards may be found missing where the server only
// filters or lets it through piece by piece, never the other way round.
func TestVerdictsAreTheServers(t *testing.T) {
	const users, subjectsEach = 150, 12
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	subject := func(wild bool) string {
		tokens := make([]string, 1+random.IntN(3))
		for i := range tokens {
			tokens[i] = []string{"a", "b", "c"}[random.IntN(3)]
			// The first is not, which would deny asking.
			if wild && i > 0 && random.IntN(3) == 0 {
				tokens[i] = "*"
			}
		}
		if wild && random.IntN(3) == 0 {
			tokens = append(tokens, ">")
		}
		return strings.Join(tokens, ".")
	}
	list := func(most int) []string {
		all := make([]string, random.IntN(most+1))
		for i := range all {
			all[i] = subject(true)
		}
		return all
	}
	rules := func() *server.SubjectPermission {
		p := &server.SubjectPermission{Deny: list(2)}
		if allow := list(4); len(allow) > 0 {
			p.Allow = append(allow, "$SYS.REQ.USER.INFO", "_INBOX.>")
		}
		return p
	}
	all := map[string]*server.Permissions{}
	for n := range users {
		all[fmt.Sprintf("u%d", n)] = &server.Permissions{Publish: rules(), Subscribe: rules()}
	}
	url := natstest.StartUsers(t, &server.Options{}, all)
	allowed, missing := 0, 0
	for name, p := range all {
		conn := conntest.Dial(t, dial.Options{URL: url(name)})
		conntest.WaitConnected(t, conn)
		raw := natstest.Must[*nats.Conn](t)(nats.Connect(url(name), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})))
		t.Cleanup(raw.Close)
		for n := range subjectsEach {
			verb, s, needs := "publish", subject(false), preflight.Needs{}
			if n%2 == 0 {
				needs.Publish = []string{s}
			} else {
				verb, s = "subscribe", subject(n%3 != 0)
				needs.Subscribe = []string{s}
			}
			want := refuses(t, raw, verb, s)
			err := preflight.CheckPermissions(t.Context(), conn, needs)
			got := errors.Is(err, dial.ErrRefused)
			if err != nil && !got {
				t.Fatal(err)
			}
			exact := !strings.ContainsAny(s, "*>")
			if want && !got || exact && got != want {
				t.Errorf("%s %s: refused by the server %v, said to be %v (allow %v deny %v, %v %v)", verb, s, want, got,
					p.Publish.Allow, p.Publish.Deny, p.Subscribe.Allow, p.Subscribe.Deny)
			}
			if got {
				missing++
			} else {
				allowed++
			}
		}
		raw.Close()
		_ = conn.Close(t.Context())
	}
	t.Logf("%d allowed, %d missing", allowed, missing)
	if allowed < users || missing < users {
		t.Errorf("one-sided: %d allowed, %d missing", allowed, missing)
	}
}

// refuses tells whether the server refuses nc the subject.
func refuses(t *testing.T, nc *nats.Conn, verb, subject string) bool {
	t.Helper()
	before := nc.LastError()
	var sub *nats.Subscription
	var err error
	if verb == "publish" {
		err = nc.Publish(subject, nil)
	} else {
		sub, err = nc.SubscribeSync(subject)
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	if sub != nil {
		_ = sub.Unsubscribe()
	}
	return !errors.Is(nc.LastError(), before)
}

// TestStoredModesNeedNoMore does what the modes with JetStream ask of the server, as
// a user who is granted exactly their needs, and each time one of them less. There
// are two ways to read a message, of which the stream's allow_direct decides.
func TestStoredModesNeedNoMore(t *testing.T) {
	const stream, bucket = "cvfeeder", "cvf_cursor"
	needs := preflight.NeedsDurable(stream, bucket, allTensors, nil)
	users := map[string]*server.Permissions{
		"feeder": conntest.Grant(needs), "maker": conntest.Grant(needs.With(preflight.NeedsCreate(stream, bucket))),
	}
	lacks, works := map[string]string{}, map[string]int{}
	each(needs, func(_, lack string, rest preflight.Needs) {
		name := fmt.Sprintf("u%d", len(users))
		users[name], lacks[name] = conntest.Grant(rest), lack
	})
	for _, direct := range []bool{false, true} {
		url := natstest.StartUsers(t, &server.Options{JetStream: true}, users)
		// A session ends, like the work in it, with the first refusal.
		session := func(user string) (context.Context, jetstream.JetStream) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			nc := natstest.Must[*nats.Conn](t)(nats.Connect(url(user), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { cancel() })))
			t.Cleanup(func() { cancel(); nc.Close() })
			return ctx, natstest.Must[jetstream.JetStream](t)(jetstream.New(nc))
		}
		ctx, maker := session("maker")
		natstest.Must[jetstream.Stream](t)(maker.CreateStream(ctx, jetstream.StreamConfig{
			Name: stream, Subjects: allTensors, AllowDirect: direct,
		}))
		natstest.Must[jetstream.KeyValue](t)(maker.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket}))
		ctx, feeder := session("feeder")
		if err := storedWork(ctx, feeder, stream, bucket, "feeder"); err != nil {
			t.Fatalf("direct %v: with all that it needs: %v", direct, err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		for user := range lacks {
			ctx, js := session(user)
			wg.Go(func() {
				if storedWork(ctx, js, stream, bucket, user) == nil {
					mu.Lock()
					works[user]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
	}
	for user, lack := range lacks {
		want := 0
		if lack == "$JS.API.STREAM.MSG.GET."+stream || lack == "$JS.API.DIRECT.GET."+stream+".>" {
			want = 1
		}
		if works[user] != want {
			t.Errorf("without %s it worked %d times of 2, want %d", lack, works[user], want)
		}
	}
}

// storedWork is what a feeder does in mode durable.
func storedWork(ctx context.Context, js jetstream.JetStream, stream, bucket, key string) error {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	if _, err := js.Publish(ctx, subject, []byte("tensor"), jetstream.WithRetryAttempts(0)); err != nil {
		return err
	}
	if _, err := s.GetLastMsgForSubject(ctx, subject); err != nil {
		return err
	}
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return err
	}
	if _, err := kv.Put(ctx, key, []byte("cursor")); err != nil {
		return err
	}
	entry, err := kv.Get(ctx, key)
	if err != nil {
		return err
	}
	_, err = kv.Update(ctx, key, []byte("cursor"), entry.Revision())
	return err
}
