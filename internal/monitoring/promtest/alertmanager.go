package promtest

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Notification is what somebody was told of the alerts of one name.
type Notification struct {
	Receiver, Alert string
	// Count is the number of alerts, and Firing that of those which are not over.
	Count, Firing int
	At            time.Time
}

// An Alertmanager runs until the test ends, and keeps what it tells.
type Alertmanager struct {
	URL string

	mu  sync.Mutex
	all []Notification
}

// Told returns all notifications, as they came.
func (a *Alertmanager) Told() []Notification {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all)
}

func (a *Alertmanager) take(_ http.ResponseWriter, r *http.Request) {
	var body struct {
		Receiver  string
		Alerts    []struct{ Status string }
		Truncated int                        `json:"truncatedAlerts"`
		Labels    struct{ Alertname string } `json:"groupLabels"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		panic(err)
	}
	n := Notification{Receiver: body.Receiver, Alert: body.Labels.Alertname, Count: len(body.Alerts) + body.Truncated, At: time.Now()}
	for _, alert := range body.Alerts {
		if alert.Status == "firing" {
			n.Firing++
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, n)
}

// manager is the name of Alertmanager's program: its own, or that of Debian's package
// prometheus-alertmanager.
func manager(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"alertmanager", "prometheus-alertmanager"} {
		if _, err := exec.LookPath(name); err == nil {
			return name
		}
	}
	t.Fatal("Alertmanager comes with Debian's package prometheus-alertmanager, which .ci/deps.sh test installs")
	return ""
}

// StartAlertmanager starts an Alertmanager with a config whose receivers are on
// http://127.0.0.1:9099..
func StartAlertmanager(t *testing.T, config string) *Alertmanager {
	t.Helper()
	program := manager(t)
	a := &Alertmanager{}
	hook := httptest.NewServer(http.HandlerFunc(a.take))
	t.Cleanup(hook.Close)
	dir := t.TempDir()
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "http://127.0.0.1:9099", hook.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	ctx, kill := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, "--config.file="+file, "--storage.path="+dir,
		"--web.listen-address="+address, "--cluster.listen-address=")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
	a.URL = "http://" + address
	Until(t, time.Minute, "Alertmanager is ready", func() bool { return ready(t, a.URL) })
	return a
}
