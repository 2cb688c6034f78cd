package natspub_test

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

	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/natspub"
)

// checkDelivers sends a message over connections of its own.
func checkDelivers(t *testing.T, o natspub.Options) {
	t.Helper()
	conn := dial(t, o)
	sub, err := natspub.Subscribe(o, subject)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	waitConnected(t, conn, sub)
	send(t, conn, numbered(7, 1<<10))
	if got := number(next(t, sub)); got != "7" {
		t.Errorf("message %s", got)
	}
}

// checkRefused expects all connections to be refused, at once, with these words.
func checkRefused(t *testing.T, o natspub.Options, want ...string) {
	t.Helper()
	sub, err := natspub.Subscribe(o, subject)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	for _, w := range []waiter{dial(t, o), sub} {
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		err := w.WaitConnected(ctx)
		cancel()
		if !errors.Is(err, natspub.ErrRefused) {
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
	op := newOperator(t)
	file := write(t, filepath.Join(t.TempDir(), "feeder.creds"), op.creds(t, "feeder", func(*jwt.UserClaims) {}))
	checkDelivers(t, natspub.Options{URL: op.url, Credentials: file})
	checkRefused(t, natspub.Options{URL: op.url}, "check the credentials")

	stranger := write(t, filepath.Join(t.TempDir(), "other.creds"), newOperator(t).creds(t, "other", func(*jwt.UserClaims) {}))
	checkRefused(t, natspub.Options{URL: op.url, Credentials: stranger}, "check the credentials")
}

// TestCredentialsRotate replaces the file by that of another user, while the first
// one's credentials expire.
func TestCredentialsRotate(t *testing.T) {
	op := newOperator(t)
	first := op.creds(t, "first", func(c *jwt.UserClaims) { c.Expires = time.Now().Add(2 * time.Second).Unix() })
	file := write(t, filepath.Join(t.TempDir(), "feeder.creds"), first)
	conn := dial(t, natspub.Options{URL: op.url, Credentials: file})
	waitConnected(t, conn)
	write(t, file, op.creds(t, "second", func(c *jwt.UserClaims) { c.Pub.Allow.Add("nothing", "$SYS.REQ.USER.INFO") }))
	eventually(t, "both connections are made again", func() bool {
		for _, s := range conn.States() {
			if !s.Connected || s.Reconnects == 0 {
				return false
			}
		}
		return true
	})
	err := conn.CheckPermissions(t.Context(), natspub.NeedsLive([]string{subject}, nil))
	if err == nil || !strings.Contains(err.Error(), "NATS user second of account CAMS may not publish to "+subject) {
		t.Errorf("got %v", err)
	}
}

func TestNkey(t *testing.T) {
	user := must[nkeys.KeyPair](t)(nkeys.CreateUser())
	other := must[nkeys.KeyPair](t)(nkeys.CreateUser())
	url := natstest.Start(t, &server.Options{Nkeys: []*server.NkeyUser{{Nkey: must[string](t)(user.PublicKey())}}}).ClientURL()
	seed := func(pair nkeys.KeyPair) string {
		return write(t, filepath.Join(t.TempDir(), "feeder.nk"), must[[]byte](t)(pair.Seed()))
	}
	checkDelivers(t, natspub.Options{URL: url, Credentials: seed(user)})
	checkRefused(t, natspub.Options{URL: url, Credentials: seed(other)}, "unknown user")
	open := startServer(t, natspub.ServerOptions{}).ClientURL()
	checkRefused(t, natspub.Options{URL: open, Credentials: seed(user)}, "knows no nkeys")
}

func TestTLS(t *testing.T) {
	ca, otherCA := newAuthority(t), newAuthority(t)
	serverCert, serverKey := ca.sign(t, "server")
	clientCert, clientKey := ca.sign(t, "client")
	strangeCert, strangeKey := otherCA.sign(t, "stranger")
	config := &tls.Config{
		Certificates: []tls.Certificate{must[tls.Certificate](t)(tls.LoadX509KeyPair(serverCert, serverKey))},
		ClientCAs:    x509.NewCertPool(), MinVersion: tls.VersionTLS12,
	}
	config.ClientCAs.AddCert(ca.cert)
	mutual := config.Clone()
	mutual.ClientAuth = tls.RequireAndVerifyClientCert
	oneWay := natstest.Start(t, &server.Options{TLS: true, TLSConfig: config}).ClientURL()
	bothWays := natstest.Start(t, &server.Options{TLS: true, TLSVerify: true, TLSConfig: mutual}).ClientURL()
	plain := startServer(t, natspub.ServerOptions{}).ClientURL()

	for name, o := range map[string]natspub.Options{
		"one way":   {URL: oneWay, TLS: natspub.TLS{CA: ca.file}},
		"both ways": {URL: bothWays, TLS: natspub.TLS{CA: ca.file, Cert: clientCert, Key: clientKey}},
	} {
		t.Run(name, func(t *testing.T) { checkDelivers(t, o) })
	}
	for name, tt := range map[string]struct {
		o    natspub.Options
		want string
	}{
		"wrong CA":             {natspub.Options{URL: oneWay, TLS: natspub.TLS{CA: otherCA.file}}, "tls.ca"},
		"unknown to system":    {natspub.Options{URL: oneWay}, "certificate is not trusted"},
		"other host":           {natspub.Options{URL: strings.Replace(oneWay, "127.0.0.1", "localhost", 1), TLS: natspub.TLS{CA: ca.file}}, "localhost"},
		"no client cert":       {natspub.Options{URL: bothWays, TLS: natspub.TLS{CA: ca.file}}, "wants a client certificate"},
		"strange client cert":  {natspub.Options{URL: bothWays, TLS: natspub.TLS{CA: ca.file, Cert: strangeCert, Key: strangeKey}}, "tls.cert"},
		"server without TLS":   {natspub.Options{URL: plain, TLS: natspub.TLS{CA: ca.file}}, "has no TLS"},
		"client cert to plain": {natspub.Options{URL: plain, TLS: natspub.TLS{Cert: clientCert, Key: clientKey}}, "has no TLS"},
	} {
		t.Run(name, func(t *testing.T) { checkRefused(t, tt.o, tt.want) })
	}
	t.Run("renewed in place", func(t *testing.T) {
		conn := dial(t, natspub.Options{URL: bothWays, TLS: natspub.TLS{CA: ca.file, Cert: strangeCert, Key: strangeKey}})
		if err := conn.WaitConnected(t.Context()); !errors.Is(err, natspub.ErrRefused) {
			t.Errorf("got %v", err)
		}
		for from, to := range map[string]string{clientCert: strangeCert, clientKey: strangeKey} {
			write(t, to, must[[]byte](t)(os.ReadFile(from)))
		}
		eventually(t, "both connections are made", func() bool {
			return !slices.ContainsFunc(conn.States(), func(s natspub.State) bool { return !s.Connected })
		})
	})
}

// TestBadFiles expects an error that names the file, from both ways in.
func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	ca := newAuthority(t)
	cert, key := ca.sign(t, "client")
	_, otherKey := ca.sign(t, "other")
	creds := newOperator(t).creds(t, "feeder", func(*jwt.UserClaims) {})
	text := write(t, path("text"), []byte("hello\n"))
	half := write(t, path("half.creds"), creds[:strings.Index(string(creds), "BEGIN USER NKEY")])
	account := write(t, path("account.nk"), must[[]byte](t)(must[nkeys.KeyPair](t)(nkeys.CreateAccount()).Seed()))
	good := write(t, path("good.creds"), creds)
	if err := os.Mkdir(path("dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		o    natspub.Options
		want []string
	}{
		{natspub.Options{Credentials: path("none")}, []string{path("none"), "no such file"}},
		{natspub.Options{Credentials: path("dir")}, []string{path("dir"), "is a directory"}},
		{natspub.Options{Credentials: text}, []string{text, "neither a .creds file", "nkey"}},
		{natspub.Options{Credentials: half}, []string{half, "no user's key"}},
		{natspub.Options{Credentials: account}, []string{account, "neither"}},
		{natspub.Options{Credentials: good, URL: "nats://me:secret@host"}, []string{"names a user", "one of them"}},
		{natspub.Options{TLS: natspub.TLS{CA: path("none")}}, []string{path("none"), "no such file"}},
		{natspub.Options{TLS: natspub.TLS{CA: text}}, []string{text, "PEM"}},
		{natspub.Options{TLS: natspub.TLS{Cert: cert}}, []string{cert, "key is missing"}},
		{natspub.Options{TLS: natspub.TLS{Key: key}}, []string{key, "certificate is missing"}},
		{natspub.Options{TLS: natspub.TLS{Cert: cert, Key: path("none")}}, []string{path("none"), "no such file"}},
		{natspub.Options{TLS: natspub.TLS{Cert: cert, Key: otherKey}}, []string{cert, otherKey, "does not match"}},
		{natspub.Options{Server: &natspub.Server{}, Credentials: good}, []string{"neither credentials nor TLS"}},
	} {
		_, dialErr := natspub.Dial(tt.o)
		_, subErr := natspub.Subscribe(tt.o, subject)
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
		if got := natspub.Redact(url); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
}
