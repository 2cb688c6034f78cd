package feeder_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
)

// TestHTTPWhileCredentialsHang: metrics are served, and the log says what is awaited, while
// the provider of the AWS credentials does not answer.
func TestHTTPWhileCredentialsHang(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 seconds")
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	provider := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer provider.CloseClientConnections()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", provider.URL)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	o, log := options(t, `
aws: {region: us-east-1, endpoint: "http://127.0.0.1:1"}
nats: {url: embedded}
http: {listen: "%s"}
streams: [{name: cam-1, outputs: [a]}]
outputs: {a: {}}`, address)
	o.AccessKey, o.Secret, o.Listen = "", "", "127.0.0.1:0"
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- feeder.New(o).Run(ctx) }()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	begin, up := time.Now(), time.Duration(0)
	for time.Since(begin) < 30*time.Second && (up == 0 || !strings.Contains(log.String(), "AWS credentials")) {
		if resp, err := http.Get("http://" + address + "/metrics"); err == nil {
			_ = resp.Body.Close()
			if up == 0 {
				up = time.Since(begin)
			}
		}
		<-again.C
	}
	if up == 0 || up > 5*time.Second {
		t.Errorf("metrics were served after %v", up)
	}
	if !strings.Contains(log.String(), "has not answered within 10s") {
		t.Errorf("nothing was said of it:\n%s", log.String())
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
