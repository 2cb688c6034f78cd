package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// cam-1 is the hostile camera, where there is one, and cam-2 an honest one.
const siegeConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: %q}
%s
streams:
  - {name: cam-1, interval: 200ms, outputs: [small]}
  - {name: cam-2, interval: 200ms, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

const (
	siegeWithin = 2 * time.Minute // an answer may take one
	// healthWithin is how soon /healthz answers whatever is done.
	healthWithin = 2 * time.Second
	// longestLine is how many bytes a line of the log has at most.
	longestLine = 8 << 10
)

// A siege is a feeder under attack, between the fake service and NATS.
type siege struct {
	t       *testing.T
	natsURL string
	page    string // of the feeder
	feeder  *process
	fake    *kinesistest.Server
	reader  *nats.Conn
	// hostile answers requests in place of the fake service, where it returns true.
	hostile atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]

	ends    sync.WaitGroup
	stop    context.CancelFunc
	mu      sync.Mutex
	arrived map[string][]time.Time // by stream
	slowest time.Duration          // answer of /healthz
	unwell  string                 // what /healthz said that was not 200, twice in a row
	sockets int                    // most that the feeder had open
	starts  int                    // of the feeder, and ends
	up      bool                   // it has answered since it was started
	pid     int
}

type siegeOptions struct {
	more    string // of the config
	fake    kinesistest.Options
	env     []string
	nats    string // the URL of a server, if not a plain one
	tls     bool   // the service is https
	hostile func(http.ResponseWriter, *http.Request) bool
}

// besiege starts a feeder for the length of the test.
func besiege(t *testing.T, o siegeOptions) *siege {
	t.Helper()
	s := &siege{t: t, natsURL: o.nats, arrived: map[string][]time.Time{}}
	if o.fake.Scene == nil {
		o.fake.Scene = feedertest.Grey{}
	}
	o.fake.Streams, o.fake.Fragment = kinesistest.Cameras(2), time.Second
	var err error
	if s.fake, err = kinesistest.New(o.fake); err != nil {
		t.Fatal(err)
	}
	service := httptest.NewUnstartedServer(s)
	if o.tls {
		service.StartTLS()
		ca := natstest.WriteFile(t, filepath.Join(t.TempDir(), "ca.pem"), pemOf(service.Certificate()))
		o.env = append(o.env, "AWS_CA_BUNDLE="+ca)
	} else {
		service.Start()
	}
	t.Cleanup(service.Close)
	if s.natsURL == "" {
		s.natsURL = feedertest.ServeNATS(t)
	}
	if o.hostile != nil {
		s.hostile.Store(&o.hostile)
	}
	listen := lastingAddress(t)
	s.page = "http://" + listen
	file := filepath.Join(t.TempDir(), "cvfeeder.yaml")
	natstest.WriteFile(t, file, fmt.Appendf(nil, siegeConfig, service.URL, s.natsURL, listen, o.more))
	s.feeder = &process{t: t, args: []string{"cvfeeder", "run", "-c", file}, env: o.env}
	s.read()
	s.feeder.start()
	s.pid = s.feeder.cmd.Process.Pid
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.ends.Go(func() { s.watch(ctx) })
	t.Cleanup(s.end)
	return s
}

func (s *siege) end() {
	s.stop()
	s.ends.Wait()
	s.reader.Close()
	s.feeder.kill()
	http.DefaultClient.CloseIdleConnections()
	if s.t.Failed() {
		out := s.feeder.out.String()
		s.t.Logf("the feeder:\n%s", out[max(0, len(out)-8<<10):])
	}
}

// restart kills the feeder, and starts it again after something was done.
func (s *siege) restart(between func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts++
	s.up = false
	s.feeder.kill()
	s.mu.Unlock() // the reader needs it
	between()
	s.mu.Lock()
	s.feeder.start()
	s.pid = s.feeder.cmd.Process.Pid
}

// ServeHTTP is the service.
func (s *siege) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := s.hostile.Load(); h != nil && (*h)(w, r) {
		return
	}
	s.fake.ServeHTTP(w, r)
}

// read takes note of the tensors that arrive.
func (s *siege) read() {
	s.t.Helper()
	var err error
	if s.reader, err = nats.Connect(s.natsURL); err != nil {
		s.t.Fatal(err)
	}
	_, err = s.reader.Subscribe("cvf.t.>", func(m *nats.Msg) {
		if m.Header.Get("Cvf-Gap") == "" && len(m.Data) == 3*32*32 {
			s.mu.Lock()
			defer s.mu.Unlock()
			stream := m.Header.Get("Cvf-Stream")
			s.arrived[stream] = append(s.arrived[stream], time.Now())
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// watch asks the feeder for its health, and counts its sockets, until ctx ends.
func (s *siege) watch(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for failed := 0; ; {
		s.mu.Lock()
		starts := s.starts
		s.mu.Unlock()
		begin := time.Now()
		status, body := s.get(ctx, "/healthz")
		took := time.Since(begin)
		s.mu.Lock()
		if status == http.StatusOK && starts == s.starts {
			s.up = true
		}
		if s.up && starts == s.starts && ctx.Err() == nil {
			s.slowest = max(s.slowest, took)
			failed++
			if status == http.StatusOK {
				failed = 0
			}
			if failed > 1 {
				s.unwell = fmt.Sprintf("%d %.200s after %v", status, body, took)
			}
		}
		s.sockets = max(s.sockets, socketsOf(s.pid))
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *siege) get(ctx context.Context, path string) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, 2*healthWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.page+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	req.Close = true // each asks anew, as a kubelet does
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// socketsOf returns how many sockets a process has open.
func socketsOf(pid int) (n int) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0 // it has ended
	}
	for _, f := range files {
		if to, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// peakMemory returns how many MiB a process was resident with at most.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	n := memoryOf(pid)
	if n == 0 {
		t.Error("the process has ended")
	}
	return n
}

// memoryOf returns the same, and 0 for a process that has ended. What getrusage tells
// includes the process that started it.
func memoryOf(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			n, err := strconv.Atoi(fields[1])
			if err == nil {
				return n >> 10
			}
		}
	}
	return 0
}

// since returns how many tensors of a stream have arrived since then, and the longest time
// without one.
func (s *siege) since(stream string, begin time.Time) (n int, gap time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := begin
	for _, at := range s.arrived[stream] {
		if at.After(begin) {
			n++
			gap = max(gap, at.Sub(last))
			last = at
		}
	}
	return n, max(gap, time.Since(last))
}

// flows waits until some tensors of the streams have arrived since now, and returns how
// long that took.
func (s *siege) flows(streams ...string) time.Duration {
	s.t.Helper()
	begin := time.Now()
	s.await(strings.Join(streams, " and ")+" flow", siegeWithin, func() bool {
		for _, stream := range streams {
			if n, _ := s.since(stream, begin); n < 5 {
				return false
			}
		}
		return true
	})
	return time.Since(begin)
}

// await waits until something is so.
func (s *siege) await(what string, limit time.Duration, is func() bool) {
	s.t.Helper()
	deadline := time.After(limit)
	for !is() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-s.feeder.done:
			s.t.Fatalf("%s: the feeder has ended: %v", what, s.feeder.err)
		case <-deadline:
			s.t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// finish checks what no attack may do, and returns the outcome.
func (s *siege) finish(format string, args ...any) outcome {
	s.t.Helper()
	o := outcome{memory: peakMemory(s.t, s.feeder.cmd.Process.Pid)}
	_, ready := s.get(s.t.Context(), "/readyz")
	_, streams := s.get(s.t.Context(), "/api/streams")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unwell != "" || s.slowest > healthWithin {
		s.t.Errorf("/healthz took up to %v: %s", s.slowest, s.unwell)
	}
	log := s.feeder.out.String()
	if strings.Contains(log, "panic:") || strings.Contains(log, "goroutine ") {
		s.t.Error("the feeder panics")
	}
	for what, text := range map[string]string{"the log": log, "/readyz": ready, "/api/streams": streams} {
		checkClean(s.t, what, text)
	}
	o.seen = fmt.Sprintf(format, args...) + fmt.Sprintf("; health in %d ms at most", s.slowest.Milliseconds())
	s.feeder.signal(syscall.SIGTERM)
	return o
}

// checkClean checks that a text has no control characters and, unless it is JSON, no long
// lines.
func checkClean(t *testing.T, what, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			t.Errorf("%s has the control character %q", what, r)
			break
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > longestLine && !strings.HasPrefix(line, "{") {
			t.Errorf("%s has a line of %d bytes: %.200s", what, len(line), line)
			break
		}
	}
}
