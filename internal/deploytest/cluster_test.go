//go:build linux

package deploytest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/monitoring/promtest"
)

// patience is how long anything in the cluster may take.
const patience = 2 * time.Minute

// A cluster is a real Kubernetes on loopback: etcd, the API server, the controllers and the
// scheduler. It has no containers: see [kubelet].
type cluster struct {
	bin, dir   string
	kubeconfig string
	url        string
	http       *http.Client
}

// startCluster starts a cluster, which ends with the test.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{bin: os.Getenv("CVFEEDER_KUBERNETES"), dir: t.TempDir()}
	if c.bin == "" {
		t.Skip("CVFEEDER_KUBERNETES does not name a directory with Kubernetes' programs: `make k8s-test` builds them")
	}
	ca := newAuthority(t, c.dir)
	etcd, peers, api := freePort(t), freePort(t), freePort(t)
	c.url = "https://127.0.0.1:" + api
	for _, name := range []string{"etcd", "apiserver", "service-accounts"} {
		ca.issue(t, name, "")
	}
	c.run(t, "etcd", "--data-dir="+c.file("data"), "--unsafe-no-fsync",
		"--listen-client-urls=https://127.0.0.1:"+etcd, "--advertise-client-urls=https://127.0.0.1:"+etcd,
		"--listen-peer-urls=http://127.0.0.1:"+peers, "--initial-advertise-peer-urls=http://127.0.0.1:"+peers, "--initial-cluster=default=http://127.0.0.1:"+peers,
		"--cert-file="+c.file("etcd.crt"), "--key-file="+c.file("etcd.key"), "--client-cert-auth", "--trusted-ca-file="+c.file("ca.crt"))
	c.run(t, "kube-apiserver", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+api, "--endpoint-reconciler-type=none",
		"--etcd-servers=https://127.0.0.1:"+etcd, "--etcd-cafile="+c.file("ca.crt"), "--etcd-certfile="+c.file("apiserver.crt"), "--etcd-keyfile="+c.file("apiserver.key"),
		"--tls-cert-file="+c.file("apiserver.crt"), "--tls-private-key-file="+c.file("apiserver.key"), "--client-ca-file="+c.file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+c.file("service-accounts.key"), "--service-account-signing-key-file="+c.file("service-accounts.key"),
		"--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC")
	c.kubeconfig = c.user(t, ca, "admin", "system:masters")
	c.http = ca.client(t, c.file("admin"))
	promtest.Until(t, patience, "the API server is ready", func() bool {
		status, _, err := c.ask(t.Context(), http.MethodGet, "/readyz", nil)
		return err == nil && status == http.StatusOK
	})
	// Without the node controller, the nodes need no kubelet that renews a lease.
	c.run(t, "kube-controller-manager", "--kubeconfig="+c.user(t, ca, "controllers", "system:masters"), "--controllers=*,-node-lifecycle-controller",
		"--service-account-private-key-file="+c.file("service-accounts.key"), "--root-ca-file="+c.file("ca.crt"), "--leader-elect=false",
		"--bind-address=127.0.0.1", "--secure-port="+freePort(t))
	c.run(t, "kube-scheduler", "--kubeconfig="+c.user(t, ca, "scheduler", "system:masters"), "--leader-elect=false",
		"--bind-address=127.0.0.1", "--secure-port="+freePort(t))
	return c
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }

// run runs a program until the test ends. If that fails, the end of what it has logged is
// shown.
func (c *cluster) run(t *testing.T, name string, args ...string) {
	t.Helper()
	log, err := os.Create(c.file(name + ".log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, kill := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when the test is killed
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: `make k8s-test` builds it", err)
	}
	t.Cleanup(func() {
		kill()
		_ = cmd.Wait() // it was killed
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("%s: …%s", name, text[max(0, len(text)-4000):])
		}
	})
}

// ask sends a request to the API server, and returns the answer's status and body.
func (c *cluster) ask(ctx context.Context, method, path string, body any) (int, []byte, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/strategic-merge-patch+json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, answer, err
}

// must sends a request that the API server has to accept, and reads the answer into v.
func (c *cluster) must(t *testing.T, method, path string, body, v any) {
	t.Helper()
	status, answer, err := c.ask(t.Context(), method, path, body)
	if err != nil || status >= 300 {
		t.Fatalf("%s %s: %v, %d: %s", method, path, err, status, answer)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(answer, v); err != nil {
		t.Fatal(err)
	}
}

// try runs kubectl, for which a warning is an error, and returns what it prints.
func (c *cluster) try(t *testing.T, stdin []byte, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(c.bin, "kubectl"), append([]string{"--kubeconfig=" + c.kubeconfig, "--warnings-as-errors"}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) kubectl(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	out, err := c.try(t, stdin, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// helm runs helm, and returns what it prints.
func (c *cluster) helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t, "CVFEEDER_HELM"), append([]string{"--kubeconfig=" + c.kubeconfig}, args...)...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+c.file("helm"), "HELM_CONFIG_HOME="+c.file("helm"), "HELM_DATA_HOME="+c.file("helm"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// user makes a kubeconfig for a user with a certificate of its own.
func (c *cluster) user(t *testing.T, ca *authority, name, group string) string {
	t.Helper()
	ca.issue(t, name, group)
	path := c.file(name + ".kubeconfig")
	write(t, path, 0o600, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "it",
"clusters": [{"name": "it", "cluster": {"server": %q, "certificate-authority": %q}}],
"users": [{"name": "it", "user": {"client-certificate": %q, "client-key": %q}}],
"contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}]}`, c.url, c.file("ca.crt"), c.file(name+".crt"), c.file(name+".key")))
	return path
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// An authority issues the certificates of a cluster.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{dir: dir}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	a.cert, a.key = a.sign(t, "ca", "", template)
	return a
}

// issue writes a certificate and a key for a server on loopback, or for a user of a group.
func (a *authority) issue(t *testing.T, name, group string) {
	t.Helper()
	a.sign(t, name, group, &x509.Certificate{
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	})
}

func (a *authority) sign(t *testing.T, name, group string, cert *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	cert.Subject = pkix.Name{CommonName: name}
	if group != "" {
		cert.Subject.Organization = []string{group}
	}
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(a.dir, name+".crt"), 0o600, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(a.dir, name+".key"), 0o600, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})))
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed, key
}

// client returns a client with the certificate in path.crt and path.key.
func (a *authority) client(t *testing.T, path string) *http.Client {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(path+".crt", path+".key")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
