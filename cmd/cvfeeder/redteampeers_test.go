package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const durableDelivery = "delivery: {mode: durable, stream: {retention: limits, max_bytes: 256MiB}}"

func peerAttacks() []attack {
	const memory = 256
	return []attack{
		{name: "requests that want their answer in JetStream, in buckets, among tensors", memory: memory, quick: true, run: besetByReplies},
		{name: "64 loops that ask for one slot, and 8 that use an inbox for each request", memory: memory, run: besetByAskers},
		{name: "messages of the year 9999 among durable tensors, before and while it runs", memory: memory, run: besetByForeignMessages},
		{name: "cursors and leases of the years 9999 and 1, and of a megabyte", memory: memory, run: besetByValues},
		{name: "flood of messages with 150,000 headers each, at a reader that stands still (`tap`)", memory: 384, run: besetTap},
	}
}

func httpAttacks() []attack {
	return []attack{{name: "3,000 HTTP clients that send one byte of a body, or half a header", memory: 256, run: besetByClients}}
}

// hostileReplies are subjects on which an answer of the feeder would do harm.
var hostileReplies = []string{
	"$JS.API.STREAM.PURGE.cvfeeder", "$JS.API.STREAM.DELETE.cvfeeder", "$JS.API.STREAM.DELETE.KV_cvf_cursor",
	"$KV.cvf_cursor.cam-1", "$KV.cvf_lease.cam-1", "cvf.t.cam-2.small", "cvf.t.cam-1.small", "cvf.gap.cam-1",
	"cvf.svc.frame", "cvf.svc.frame.cam-1", "cvf.svc.streams", "$SRV.STATS", "_INBOX.>", "_INBOX.*", ">", "orders",
}

// besetByReplies asks everything, with answers wanted on subjects where they do harm.
func besetByReplies(t *testing.T, _ attack) outcome {
	s := besiege(t, siegeOptions{more: durableDelivery})
	s.flows("cam-1", "cam-2")
	s.await("the service answers", siegeWithin, func() bool {
		_, err := s.reader.Request("cvf.svc.streams", nil, time.Second)
		return err == nil
	})
	stream := s.jetStream("cvfeeder")
	before, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	asked, answers := map[string]bool{"cvf.svc.frame": true, "cvf.svc.frame.cam-1": true, "cvf.svc.streams": true, "$SRV.STATS": true}, atomic.Int64{}
	for _, reply := range hostileReplies {
		if asked[reply] || strings.ContainsAny(reply, "*>") {
			continue
		}
		if _, err := s.reader.Subscribe(reply, func(m *nats.Msg) {
			if m.Header.Get("Cvf-Time") == "" && !strings.HasPrefix(m.Subject, "$KV.") || m.Header.Get("Nats-Service-Error") != "" {
				answers.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	sent := 0
	slot := time.Now().UTC().Add(-time.Minute).Truncate(time.Second)
	for range 20 {
		for _, reply := range hostileReplies {
			for _, subject := range []string{"cvf.svc.frame", "cvf.svc.frame.cam-1", "cvf.svc.streams", "$SRV.PING", "$SRV.INFO.cvfeeder", "$SRV.STATS"} {
				for _, data := range []string{"", "{", fmt.Sprintf(`{"stream":"cam-1","time":%q,"output":"small"}`, slot.Format(time.RFC3339))} {
					sent++
					if err := s.reader.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: []byte(data)}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	s.flows("cam-1", "cam-2")
	after, err := stream.Info(t.Context())
	if err != nil || after.State.FirstSeq != before.State.FirstSeq || after.State.Msgs <= before.State.Msgs || !after.Created.Equal(before.Created) {
		t.Errorf("the stream was %+v, and is %+v: %v", before.State, after, err)
	}
	if n := answers.Load(); n > 0 {
		t.Errorf("%d answers went where they were wanted", n)
	}
	return s.finish("%d requests, none answered; the stream is whole", sent)
}

// jetStream returns a stream of the server.
func (s *siege) jetStream(name string) jetstream.Stream {
	s.t.Helper()
	js, err := jetstream.New(s.reader)
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := js.Stream(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return stream
}

// besetByAskers asks for one slot in loops, and for many with an inbox for each request.
func besetByAskers(t *testing.T, _ attack) outcome {
	var billed atomic.Int64
	s := besiege(t, siegeOptions{
		more: "requests: {images_per_day: 100}",
		fake: kinesistest.Options{Observe: func(r kinesistest.Request) {
			if r.Operation == "GetImages" && time.Since(r.End) > 30*time.Minute {
				billed.Add(int64(r.Asked))
			}
		}},
	})
	s.flows("cam-1", "cam-2")
	past := time.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	const length = 10 * time.Second
	ask := func(nc *nats.Conn, at time.Time) {
		request := fmt.Appendf(nil, `{"stream":"cam-1","time":%q,"output":"small"}`, at.Format(time.RFC3339))
		if _, err := nc.Request("cvf.svc.frame", request, 20*time.Second); err != nil && !errors.Is(err, nats.ErrNoResponders) {
			t.Error(err)
		}
	}
	loops := func(n int, asks func(nc *nats.Conn, i int)) (sent int64) {
		var count atomic.Int64
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				nc, err := nats.Connect(s.natsURL, nats.UseOldRequestStyle())
				if err != nil {
					t.Error(err)
					return
				}
				defer nc.Close()
				for begin, i := time.Now(), 0; time.Since(begin) < length; i++ {
					asks(nc, i)
					count.Add(1)
				}
			})
		}
		wg.Wait()
		return count.Load()
	}
	one := loops(64, func(nc *nats.Conn, _ int) { ask(nc, past) })
	ofOne := billed.Load()
	many := loops(8, func(nc *nats.Conn, i int) { ask(nc, past.Add(-time.Duration(i)*time.Second)) })
	if all := billed.Load(); ofOne > 2 || all > 100 {
		t.Errorf("%d images were billed for one slot, and %d in all", ofOne, all)
	}
	back := s.flows("cam-1", "cam-2")
	return s.finish("%d requests for one slot had %d images billed, %d for others all of the 100 a day; flows within %.0f s",
		one, ofOne, many, back.Seconds())
}

// besetByForeignMessages puts messages that claim to be of the future on the subjects of
// the tensors, before the feeder starts and while it runs. All slots are stored.
func besetByForeignMessages(t *testing.T, _ attack) outcome {
	srv := natstest.Serve(t, embedded.Options{StoreDir: t.TempDir()})
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "cvfeeder", Subjects: []string{"cvf.t.*.*"}, Discard: jetstream.DiscardNew, MaxBytes: 256 << 20, AllowDirect: true,
		Duplicates: 10 * time.Minute,
	}); err != nil {
		t.Fatal(err)
	}
	foreign := 0
	lie := func(of nats.Header) {
		for _, at := range []string{"9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z", "2199-01-01T00:00:00Z", "now"} {
			h := nats.Header{"Cvf-Version": {"1"}, "Cvf-Stream": {"cam-1"}, "Cvf-Output": {"small"}, "Cvf-Time": {at}}
			for k, v := range of {
				if _, ours := h[k]; !ours {
					h[k] = v
				}
			}
			for k := range h {
				if strings.HasPrefix(k, "Nats-") {
					h.Del(k)
				}
			}
			foreign++
			if err := nc.PublishMsg(&nats.Msg{Subject: "cvf.t.cam-1.small", Header: h}); err != nil {
				t.Fatal(err)
			}
		}
	}
	lie(nil)
	s := besiege(t, siegeOptions{more: durableDelivery, nats: srv.ClientURL()})
	s.flows("cam-1", "cam-2")
	last, err := s.jetStream("cvfeeder").GetLastMsgForSubject(t.Context(), "cvf.t.cam-1.small")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		lie(last.Header)
		pause(50 * time.Millisecond)
	}
	s.restart(func() { lie(last.Header) })
	back := s.flows("cam-1", "cam-2")
	info, err := s.jetStream("cvfeeder").Info(t.Context(), jetstream.WithSubjectFilter("cvf.t.*.*"))
	if err != nil {
		t.Fatal(err)
	}
	mine, honest := info.State.Subjects["cvf.t.cam-1.small"]-uint64(foreign), info.State.Subjects["cvf.t.cam-2.small"]
	if mine+25 < honest {
		t.Errorf("%d tensors of cam-1 are stored, and %d of cam-2", mine, honest)
	}
	return s.finish("%d messages; %d tensors stored beside them, %d of the other camera; flows %.0f s after a restart", foreign, mine, honest, back.Seconds())
}

// besetByValues writes what cannot be into the buckets, before the feeder starts, while it
// runs, and before it is started again.
func besetByValues(t *testing.T, _ attack) outcome {
	srv := natstest.Serve(t, embedded.Options{StoreDir: t.TempDir(), MaxPayload: 2 << 20})
	s := besiege(t, siegeOptions{more: durableDelivery + "\ncluster: {group: siege, lease: 3s}", nats: srv.ClientURL()})
	s.flows("cam-1", "cam-2")
	values := 0
	write := func() {
		for _, bucket := range []string{"cvf_lease", "cvf_cursor"} {
			for _, key := range []string{"cam-1", "siege.stream.cam-1", "siege.member.evil", "evil"} {
				for _, value := range []string{
					"", "null", "[]", `"9999-12-31T23:59:59-12:00"`, "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z",
					`{"owner":"a","cursor":"9999-12-31T23:59:59-12:00"}`, `{"owner":"a","cursor":"0001-01-01T00:00:00Z"}`,
					`{"weight":1e300,"lease":1e300}`, strings.Repeat("[", 1<<20), `{"owner":"` + strings.Repeat("a", 1<<20) + `"}`,
				} {
					values++
					if err := s.reader.Publish("$KV."+bucket+"."+key, []byte(value)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if err := s.reader.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	keys := s.keysOf("cvf_lease")
	write()
	for _, key := range keys {
		for _, value := range []string{`{"owner":"a","cursor":"9999-12-31T23:59:59-12:00"}`, `{"owner":"a","cursor":"0001-01-01T00:00:00Z"}`, "9999"} {
			values++
			if err := s.reader.Publish("$KV.cvf_lease."+key, []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	pause(8 * time.Second)
	s.flows("cam-2")
	used := cpuOf(t, s.feeder.cmd.Process.Pid)
	pause(3 * time.Second)
	if used = cpuOf(t, s.feeder.cmd.Process.Pid) - used; used > 2*time.Second {
		t.Errorf("the feeder used %v of three seconds", used)
	}
	return s.finish("%d values, in keys of its own as well (%d); the streams flow, with %.0f%% of a core", values, len(keys), used.Seconds()/3*100)
}

// keysOf returns the keys of a bucket.
func (s *siege) keysOf(bucket string) (keys []string) {
	s.t.Helper()
	info, err := s.jetStream("KV_"+bucket).Info(s.t.Context(), jetstream.WithSubjectFilter("$KV."+bucket+".>"))
	if err != nil {
		s.t.Fatal(err)
	}
	for subject := range info.State.Subjects {
		keys = append(keys, strings.TrimPrefix(subject, "$KV."+bucket+"."))
	}
	return keys
}

// cpuOf returns how much processor time a process has used.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Error(err)
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var user, system int64
	if _, err := fmt.Sscanf(strings.Join(strings.Fields(rest)[11:13], " "), "%d %d", &user, &system); err != nil {
		t.Error(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// tinyTensor are the headers of a tensor of three bytes.
var tinyTensor = []string{
	"Cvf-Version: 1", "Cvf-Stream: cam-1", "Cvf-Output: small", "Cvf-Time: 2026-01-02T03:04:05.200Z", "Cvf-Capture: 2026-01-02T03:04:05.201Z",
	"Cvf-Dtype: UINT8", "Cvf-Shape: 1,3,1,1", "Cvf-Layout: NCHW", "Cvf-Color: RGB", "Cvf-Source: 1x1", "Cvf-Affine: 1,0,0,0,1,0",
	"Cvf-Scale: 1", "Cvf-Mean: 0,0,0", "Cvf-Std: 1,1,1", "Cvf-Normalized: false", "Cvf-Spec: 0123456789abcdef",
}

// besetTap floods a reader whose output nobody takes.
func besetTap(t *testing.T, _ attack) outcome {
	srv := natstest.Serve(t, embedded.Options{MaxPayload: 1 << 20})
	cmd := exec.Command("cvfeeder", "tap", "--nats", srv.ClientURL())
	out, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	const setPipeSize = 1031 // F_SETPIPE_SZ
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, to.Fd(), setPipeSize, 4096); errno != 0 {
		t.Fatal(errno)
	}
	cmd.Stdout = to
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = to.Close() // the process has its own
	defer func() {
		_ = out.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	natstest.Eventually(t, "tap reads", func() bool {
		_, err := nc.Request("cvf.t.cam-1.small", nil, 100*time.Millisecond)
		return !errors.Is(err, nats.ErrNoResponders)
	})
	tiny := "NATS/1.0\r\n" + strings.Join(tinyTensor, "\r\n") + "\r\n"
	var headers strings.Builder
	headers.WriteString(tiny)
	for i := 0; headers.Len() < 1<<20-20; i++ {
		fmt.Fprintf(&headers, "%x:\r\n", i)
	}
	headers.WriteString("\r\n")
	sent := 0
	raw, err := net.Dial("tcp", strings.TrimPrefix(srv.ClientURL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	write := func(text string) {
		if _, err := raw.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	publish := func(headers string) {
		write(fmt.Sprintf("HPUB cvf.t.cam-1.small %d %d\r\n%s123\r\n", len(headers), len(headers)+3, headers))
	}
	write("CONNECT {\"headers\":true,\"verbose\":false}\r\n")
	// The first are written to a pipe that nobody reads, until it is full.
	for range 100 {
		publish(tiny + "\r\n")
	}
	for range 300 {
		sent++
		publish(headers.String())
	}
	last := int64(-1)
	natstest.Eventually(t, "the reader has got what it takes", func() bool {
		now := int64(cpuOf(t, cmd.Process.Pid))
		if now != last {
			last = now
			<-time.After(2 * time.Second)
			return false
		}
		return true
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "cam-1") || strings.Contains(line, "broken") {
		t.Errorf("it says %q, %v", line, err)
	}
	return outcome{memory: peakMemory(t, cmd.Process.Pid), seen: fmt.Sprintf("%d messages of 1 MiB", sent)}
}

// besetByClients holds connections with requests that do not end.
func besetByClients(t *testing.T, _ attack) outcome {
	s := besiege(t, siegeOptions{})
	s.flows("cam-1", "cam-2")
	var held []net.Conn
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	const clients = 3000
	for i := range clients {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.page, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
		text := "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx"
		if i%2 == 0 {
			text = "GET / HTTP/1.1\r\nHost: loc"
		}
		_, _ = c.Write([]byte(text)) // it may have been closed
	}
	pause(5 * time.Second)
	if status, _ := s.get(t.Context(), "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d", status)
	}
	s.mu.Lock()
	sockets := s.sockets
	s.mu.Unlock()
	const most = 256 + 20 // those to Kinesis and NATS
	if sockets > most {
		t.Errorf("the feeder had %d sockets", sockets)
	}
	return s.finish("%d clients; at most %d sockets", clients, sockets)
}

func configAttacks() []attack {
	const memory = 256
	all := []attack{}
	for _, a := range []struct {
		name string
		text func() string
		says string
	}{
		{"config of 400 KB of `[`", func() string { return strings.Repeat("[", 400<<10) }, "1000 brackets are open"},
		{"config of 400 KB of `{a: `", func() string { return strings.Repeat("{a: ", 100<<10) }, "1000 brackets are open"},
		{"config of 60,000 aliases", aliases, "more than 50000 aliases"},
		{"config of aliases of aliases", laughs, "has 10 entries"},
		{"config with a NUL in it", func() string { return "aws: {region: us-east-1}\x00\nstreams: []\n" }, "NUL"},
		{"config of 100 MB", func() string { return strings.Repeat("# x\n", 25<<20) }, "larger than 4194304 bytes"},
		{"config of a million keys", func() string { return strings.Repeat("a:\n", 1<<20) }, "more than 500000 lines"},
	} {
		all = append(all, attack{name: a.name, memory: memory, run: func(t *testing.T, _ attack) outcome {
			file := natstest.WriteFile(t, filepath.Join(t.TempDir(), "cvfeeder.yaml"), []byte(a.text()))
			return refusedConfig(t, file, a.says)
		}})
	}
	return append(all, attack{name: "cursor file that is a pipe", memory: memory, quick: true, run: func(t *testing.T, _ attack) outcome {
		dir := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(dir, "cursors.json"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, fake := feedertest.ServeFake(t, kinesistest.Options{Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(2)})
		text := fmt.Sprintf(siegeConfig, fake, feedertest.ServeNATS(t), "", fmt.Sprintf("state: %q", dir))
		file := natstest.WriteFile(t, filepath.Join(dir, "cvfeeder.yaml"), []byte(text))
		return refused(t, "regular file", "run", "-c", file)
	}})
}

// aliases returns a config of a stream whose outputs are aliases.
func aliases() string {
	return "outputs: {small: {}}\nstreams: [{name: cam-1, outputs: [&a small" + strings.Repeat(", *a", 60_000) + "]}]\n"
}

// laughs returns a config in which a few lines stand for more values than there is memory.
func laughs() string {
	var b strings.Builder
	b.WriteString("streams: [{name: cam-1, outputs: [a]}]\noutputs:\n  a0: &a0 {mean: [x, x, x, x, x, x, x, x, x, x]}\n")
	for i := range 3000 {
		fmt.Fprintf(&b, "  a%d: &a%d {mean: [*a%d, *a%d, *a%d, *a%d]}\n", i+1, i+1, i, i, i, i)
	}
	return b.String()
}

// refusedConfig has a config checked, which is refused with an error that says so.
func refusedConfig(t *testing.T, file, says string) outcome {
	t.Helper()
	return refused(t, says, "check", "-c", file)
}

// refused runs a command that must end with an error, soon.
func refused(t *testing.T, says string, args ...string) outcome {
	t.Helper()
	p := &process{t: t, args: append([]string{"cvfeeder"}, args...)}
	begin := time.Now()
	p.start()
	peak := 0
	for running, deadline := true, time.After(siegeWithin); running; {
		select {
		case <-p.done:
			running = false
		case <-time.After(2 * time.Millisecond):
			peak = max(peak, memoryOf(p.cmd.Process.Pid))
		case <-deadline:
			p.kill()
			t.Errorf("%q does not end", args)
		}
	}
	took := time.Since(begin)
	out := strings.ReplaceAll(p.out.String(), filepath.Dir(args[len(args)-1]), "")
	if code := p.cmd.ProcessState.ExitCode(); code < 1 || code > 3 || !strings.Contains(out, says) || strings.Contains(out, "goroutine ") {
		t.Errorf("code %d: %.500s", code, out)
	}
	if most := 10 * time.Second * time.Duration(raceFactor()); took > most {
		t.Errorf("it took %v", took)
	}
	checkClean(t, "the error", out)
	line, _, _ := strings.Cut(strings.TrimPrefix(out, "cvfeeder: "), "\n")
	line = strings.TrimPrefix(line, "/cvfeeder.yaml:")
	if len(line) > 100 {
		line = line[:100] + "…"
	}
	return outcome{memory: peak, seen: fmt.Sprintf("refused in %d ms: `%s`", took.Milliseconds(), strings.TrimSpace(strings.ReplaceAll(line, "`", "'")))}
}
