package natstest

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
)

// WriteFile writes a file and returns its path.
func WriteFile(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Must returns a function that returns a value, and fails the test with an error.
func Must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// An Operator signs accounts, which sign users: a server in its strictest mode.
type Operator struct {
	// URL is that of the server.
	URL     string
	account nkeys.KeyPair
}

// NewOperator starts the server for the length of the test.
func NewOperator(t *testing.T) *Operator {
	t.Helper()
	key, text := Must[nkeys.KeyPair](t), Must[string](t)
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
	return &Operator{account: account, URL: Start(t, &server.Options{
		TrustedOperators: []*jwt.OperatorClaims{claims}, AccountResolver: resolver, SystemAccount: claims.SystemAccount,
	}).ClientURL()}
}

// Creds returns the contents of a new user's .creds file.
func (o *Operator) Creds(t *testing.T, name string, limit func(*jwt.UserClaims)) []byte {
	t.Helper()
	text := Must[string](t)
	user := Must[nkeys.KeyPair](t)(nkeys.CreateUser())
	claims := jwt.NewUserClaims(text(user.PublicKey()))
	claims.Name = name
	limit(claims)
	token := text(claims.Encode(o.account))
	return Must[[]byte](t)(jwt.FormatUserConfig(token, Must[[]byte](t)(user.Seed())))
}

// An Authority signs certificates, into files.
type Authority struct {
	// File holds Cert, the certificate of the authority itself.
	File string
	Cert *x509.Certificate

	dir string
	key *ecdsa.PrivateKey
}

// NewAuthority makes one, whose files last as long as the test.
func NewAuthority(t *testing.T) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir()}
	a.Cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = Must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := Must[[]byte](t)(x509.CreateCertificate(rand.Reader, a.Cert, a.Cert, a.key.Public(), a.key))
	a.Cert = Must[*x509.Certificate](t)(x509.ParseCertificate(der))
	a.File = a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func (a *Authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	return WriteFile(t, filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// Sign makes a certificate for 127.0.0.1 and these hosts, which clients may show as well,
// and returns its file and its key's.
func (a *Authority) Sign(t *testing.T, name string, hosts ...string) (cert, key string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	pair := Must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := Must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, a.Cert, pair.Public(), a.key))
	secret := Must[[]byte](t)(x509.MarshalPKCS8PrivateKey(pair))
	return a.write(t, name+".pem", "CERTIFICATE", der), a.write(t, name+".key", "PRIVATE KEY", secret)
}
