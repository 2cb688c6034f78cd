package natspub_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// An operator signs accounts, which sign users: a server in its strictest mode.
type operator struct {
	account nkeys.KeyPair
	url     string
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	key, text := must[nkeys.KeyPair](t), must[string](t)
	op, sys, account := key(nkeys.CreateOperator()), key(nkeys.CreateAccount()), key(nkeys.CreateAccount())
	claims := jwt.NewOperatorClaims(text(op.PublicKey()))
	claims.SystemAccount = text(sys.PublicKey())
	resolver := &server.MemAccResolver{}
	for name, pair := range map[string]nkeys.KeyPair{"SYS": sys, "CAMS": account} {
		public := text(pair.PublicKey())
		ac := jwt.NewAccountClaims(public)
		ac.Name = name
		if err := resolver.Store(public, text(ac.Encode(op))); err != nil {
			t.Fatal(err)
		}
	}
	return &operator{account: account, url: natstest.Start(t, &server.Options{
		TrustedOperators: []*jwt.OperatorClaims{claims}, AccountResolver: resolver, SystemAccount: claims.SystemAccount,
	}).ClientURL()}
}

// creds returns the contents of a new user's .creds file.
func (o *operator) creds(t *testing.T, name string, limit func(*jwt.UserClaims)) []byte {
	t.Helper()
	text := must[string](t)
	user := must[nkeys.KeyPair](t)(nkeys.CreateUser())
	claims := jwt.NewUserClaims(text(user.PublicKey()))
	claims.Name = name
	limit(claims)
	token := text(claims.Encode(o.account))
	return must[[]byte](t)(jwt.FormatUserConfig(token, must[[]byte](t)(user.Seed())))
}

// An authority signs certificates, into files.
type authority struct {
	dir, file string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key))
	a.cert = must[*x509.Certificate](t)(x509.ParseCertificate(der))
	a.file = a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	return write(t, filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// sign makes a certificate for 127.0.0.1, which clients may show as well, and
// returns its file and its key's.
func (a *authority) sign(t *testing.T, name string) (cert, key string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	pair := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, a.cert, pair.Public(), a.key))
	secret := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(pair))
	return a.write(t, name+".pem", "CERTIFICATE", der), a.write(t, name+".key", "PRIVATE KEY", secret)
}
