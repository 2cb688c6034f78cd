package dial_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// checkDelivers sends a message over connections of its own.
func checkDelivers(t *testing.T, o dial.Options) {
	t.Helper()
	conn := conntest.Dial(t, o)
	live := deliver.NewLive(conn, publish.GapEvents)
	sub, err := consume.Subscribe(o, subject)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	conntest.WaitConnected(t, conn, sub)
	conntest.Send(t, live, conntest.Numbered(7, 1<<10))
	if got := conntest.Number(conntest.Next(t, sub)); got != "7" {
		t.Errorf("message %s", got)
	}
}

// checkRefused expects all connections to be refused, at once, with these words.
func checkRefused(t *testing.T, o dial.Options, want ...string) {
	t.Helper()
	sub, err := consume.Subscribe(o, subject)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	for _, w := range []conntest.Waiter{conntest.Dial(t, o), sub} {
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		err := w.WaitConnected(ctx)
		cancel()
		if !errors.Is(err, dial.ErrRefused) {
			t.Fatalf("%T: error %v is not ErrRefused", w, err)
		}
		for _, want := range want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%T: error %q does not tell %q", w, err, want)
			}
		}
	}
}

func TestCredentialsFile(t *testing.T) {
	op := natstest.NewOperator(t)
	file := natstest.WriteFile(t, filepath.Join(t.TempDir(), "feeder.creds"), op.Creds(t, "feeder", func(*jwt.UserClaims) {}))
	checkDelivers(t, dial.Options{URL: op.URL, Credentials: file})
	checkRefused(t, dial.Options{URL: op.URL}, "check the credentials")

	stranger := natstest.WriteFile(t, filepath.Join(t.TempDir(), "other.creds"), natstest.NewOperator(t).Creds(t, "other", func(*jwt.UserClaims) {}))
	checkRefused(t, dial.Options{URL: op.URL, Credentials: stranger}, "check the credentials")
}

// TestCredentialsRotate replaces the file by that of another user, while the first
// one's credentials expire.
func TestCredentialsRotate(t *testing.T) {
	op := natstest.NewOperator(t)
	first := op.Creds(t, "first", func(c *jwt.UserClaims) { c.Expires = time.Now().Add(2 * time.Second).Unix() })
	file := natstest.WriteFile(t, filepath.Join(t.TempDir(), "feeder.creds"), first)
	conn := conntest.Dial(t, dial.Options{URL: op.URL, Credentials: file})
	conntest.WaitConnected(t, conn)
	natstest.WriteFile(t, file, op.Creds(t, "second", func(c *jwt.UserClaims) { c.Pub.Allow.Add("nothing", "$SYS.REQ.USER.INFO") }))
	natstest.Eventually(t, "both connections are made again", func() bool {
		for _, s := range conn.States() {
			if !s.Connected || s.Reconnects == 0 {
				return false
			}
		}
		return true
	})
	err := preflight.CheckPermissions(t.Context(), conn, preflight.NeedsLive([]string{subject}, nil))
	if err == nil || !strings.Contains(err.Error(), "NATS user second of account CAMS may not publish to "+subject) {
		t.Errorf("got %v", err)
	}
}

func TestNkey(t *testing.T) {
	user := natstest.Must[nkeys.KeyPair](t)(nkeys.CreateUser())
	other := natstest.Must[nkeys.KeyPair](t)(nkeys.CreateUser())
	url := natstest.Start(t, &server.Options{Nkeys: []*server.NkeyUser{{Nkey: natstest.Must[string](t)(user.PublicKey())}}}).ClientURL()
	seed := func(pair nkeys.KeyPair) string {
		return natstest.WriteFile(t, filepath.Join(t.TempDir(), "feeder.nk"), natstest.Must[[]byte](t)(pair.Seed()))
	}
	checkDelivers(t, dial.Options{URL: url, Credentials: seed(user)})
	checkRefused(t, dial.Options{URL: url, Credentials: seed(other)}, "unknown user")
	open := natstest.Serve(t, embedded.Options{}).ClientURL()
	checkRefused(t, dial.Options{URL: open, Credentials: seed(user)}, "knows no nkeys")
}

func TestTLS(t *testing.T) {
	ca, otherCA := natstest.NewAuthority(t), natstest.NewAuthority(t)
	serverCert, serverKey := ca.Sign(t, "server")
	clientCert, clientKey := ca.Sign(t, "client")
	strangeCert, strangeKey := otherCA.Sign(t, "stranger")
	config := &tls.Config{
		Certificates: []tls.Certificate{natstest.Must[tls.Certificate](t)(tls.LoadX509KeyPair(serverCert, serverKey))},
		ClientCAs:    x509.NewCertPool(), MinVersion: tls.VersionTLS12,
	}
	config.ClientCAs.AddCert(ca.Cert)
	mutual := config.Clone()
	mutual.ClientAuth = tls.RequireAndVerifyClientCert
	oneWay := natstest.Start(t, &server.Options{TLS: true, TLSConfig: config}).ClientURL()
	bothWays := natstest.Start(t, &server.Options{TLS: true, TLSVerify: true, TLSConfig: mutual}).ClientURL()
	plain := natstest.Serve(t, embedded.Options{}).ClientURL()

	for name, o := range map[string]dial.Options{
		"one way":   {URL: oneWay, TLS: dial.TLS{CA: ca.File}},
		"both ways": {URL: bothWays, TLS: dial.TLS{CA: ca.File, Cert: clientCert, Key: clientKey}},
	} {
		t.Run(name, func(t *testing.T) { checkDelivers(t, o) })
	}
	for name, tt := range map[string]struct {
		o    dial.Options
		want string
	}{
		"wrong CA":             {dial.Options{URL: oneWay, TLS: dial.TLS{CA: otherCA.File}}, "tls.ca"},
		"unknown to system":    {dial.Options{URL: oneWay}, "certificate is not trusted"},
		"other host":           {dial.Options{URL: strings.Replace(oneWay, "127.0.0.1", "localhost", 1), TLS: dial.TLS{CA: ca.File}}, "localhost"},
		"no client cert":       {dial.Options{URL: bothWays, TLS: dial.TLS{CA: ca.File}}, "wants a client certificate"},
		"strange client cert":  {dial.Options{URL: bothWays, TLS: dial.TLS{CA: ca.File, Cert: strangeCert, Key: strangeKey}}, "tls.cert"},
		"server without TLS":   {dial.Options{URL: plain, TLS: dial.TLS{CA: ca.File}}, "has no TLS"},
		"client cert to plain": {dial.Options{URL: plain, TLS: dial.TLS{Cert: clientCert, Key: clientKey}}, "has no TLS"},
	} {
		t.Run(name, func(t *testing.T) { checkRefused(t, tt.o, tt.want) })
	}
	t.Run("renewed in place", func(t *testing.T) {
		conn := conntest.Dial(t, dial.Options{URL: bothWays, TLS: dial.TLS{CA: ca.File, Cert: strangeCert, Key: strangeKey}})
		if err := conn.WaitConnected(t.Context()); !errors.Is(err, dial.ErrRefused) {
			t.Errorf("got %v", err)
		}
		for from, to := range map[string]string{clientCert: strangeCert, clientKey: strangeKey} {
			natstest.WriteFile(t, to, natstest.Must[[]byte](t)(os.ReadFile(from)))
		}
		natstest.Eventually(t, "both connections are made", func() bool {
			return !slices.ContainsFunc(conn.States(), func(s dial.State) bool { return !s.Connected })
		})
	})
}

// TestBadFiles expects an error that names the file, from both ways in.
func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	ca := natstest.NewAuthority(t)
	cert, key := ca.Sign(t, "client")
	_, otherKey := ca.Sign(t, "other")
	creds := natstest.NewOperator(t).Creds(t, "feeder", func(*jwt.UserClaims) {})
	text := natstest.WriteFile(t, path("text"), []byte("hello\n"))
	half := natstest.WriteFile(t, path("half.creds"), creds[:strings.Index(string(creds), "BEGIN USER NKEY")])
	account := natstest.WriteFile(t, path("account.nk"), natstest.Must[[]byte](t)(natstest.Must[nkeys.KeyPair](t)(nkeys.CreateAccount()).Seed()))
	good := natstest.WriteFile(t, path("good.creds"), creds)
	if err := os.Mkdir(path("dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		o    dial.Options
		want []string
	}{
		{dial.Options{Credentials: path("none")}, []string{path("none"), "no such file"}},
		{dial.Options{Credentials: path("dir")}, []string{path("dir"), "is a directory"}},
		{dial.Options{Credentials: text}, []string{text, "neither a .creds file", "nkey"}},
		{dial.Options{Credentials: half}, []string{half, "no user's key"}},
		{dial.Options{Credentials: account}, []string{account, "neither"}},
		{dial.Options{Credentials: good, URL: "nats://me:secret@host"}, []string{"names a user", "one of them"}},
		{dial.Options{TLS: dial.TLS{CA: path("none")}}, []string{path("none"), "no such file"}},
		{dial.Options{TLS: dial.TLS{CA: text}}, []string{text, "PEM"}},
		{dial.Options{TLS: dial.TLS{Cert: cert}}, []string{cert, "key is missing"}},
		{dial.Options{TLS: dial.TLS{Key: key}}, []string{key, "certificate is missing"}},
		{dial.Options{TLS: dial.TLS{Cert: cert, Key: path("none")}}, []string{path("none"), "no such file"}},
		{dial.Options{TLS: dial.TLS{Cert: cert, Key: otherKey}}, []string{cert, otherKey, "does not match"}},
		{dial.Options{Server: &embedded.Server{}, Credentials: good}, []string{"neither credentials nor TLS"}},
	} {
		_, dialErr := dial.Dial(tt.o)
		_, subErr := consume.Subscribe(tt.o, subject)
		for _, err := range []error{tt.o.Check(), dialErr, subErr} {
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
					t.Errorf("%+v: error %v does not tell %q", tt.o, err, want)
				}
			}
		}
	}
}

func TestRedact(t *testing.T) {
	for url, want := range map[string]string{
		"":                                  "nats://127.0.0.1:4222",
		"a:4222, tls://me:secret@b":         "nats://a:4222,tls://me:xxxxx@b",
		"nats://secret@a,wss://secret@b:80": "nats://xxxxx@a,wss://xxxxx@b:80",
		"http://secret@a":                   "invalid",
	} {
		if got := dial.Redact(url); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
}
