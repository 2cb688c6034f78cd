package dial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish"
)

// These tests hold what the writer past the client rests on: they are to fail when a
// newer nats.go writes other bytes, refuses other messages, or begins a command in one
// write and ends it in the next.

// A recorder is a NATS server in this process as far as the client needs one. It keeps
// what each write of the client brought.
type recorder struct {
	mu     sync.Mutex
	writes [][]byte
	ends   sync.WaitGroup
}

const maxPayload = 1 << 20

// InProcessConn implements nats.InProcessConnProvider.
func (r *recorder) InProcessConn() (net.Conn, error) {
	client, server := net.Pipe()
	// The client may be writing and not reading.
	answers := make(chan struct{}, 1<<16)
	r.ends.Go(func() {
		for range answers {
			if _, err := server.Write([]byte("PONG\r\n")); err != nil {
				return
			}
		}
	})
	r.ends.Go(func() {
		defer func() { close(answers); _ = server.Close() }()
		if _, err := fmt.Fprintf(server, "INFO {\"server_id\":\"x\",\"headers\":true,\"max_payload\":%d,\"proto\":1}\r\n", maxPayload); err != nil {
			return
		}
		buf := make([]byte, 2*maxPayload) // a read ends where a write does
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			r.mu.Lock()
			r.writes = append(r.writes, bytes.Clone(buf[:n]))
			r.mu.Unlock()
			if bytes.HasSuffix(buf[:n], []byte("PING\r\n")) {
				answers <- struct{}{}
			}
		}
	})
	return client, nil
}

// take returns what has come since the last call.
func (r *recorder) take() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	writes := r.writes
	r.writes = nil
	return writes
}

// connect returns a connection to a recorder.
func connect(t *testing.T, direct bool) (*Connection, *recorder) {
	t.Helper()
	r := &recorder{}
	c, err := Connect(Options{Server: r, NoDirectWrites: !direct}, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); r.ends.Wait() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	r.take()
	return c, r
}

// sizes are those of data around what the client buffers, and what goes past it.
var sizes = []int{0, 1, 100, 16_000, 32<<10 - 100, 32 << 10, 32<<10 + 1, largeMessage - 100, largeMessage, largeMessage + 1, 200_000}

// messages are such that the client takes.
func messages() []publish.Message {
	headers := []map[string][]string{
		nil,
		{},
		{"Cvf-Stream": {"cam-1"}},
		{"Cvf-Stream": nil},
		{"a": {"", " trimmed \t", "two\r\nlines", "\r\nbreaks\r\n", "ümläut"}},
		{"!#$%&'*+-.^_`|~09azAZ": {"x"}},
		{"Cvf-A": {"1"}, "Cvf-B": {"2", "3"}, "Nats-Msg-Id": {"cam-1 2026"}},
	}
	var all []publish.Message
	for i, h := range headers {
		for k, size := range sizes {
			all = append(all, publish.Message{
				Subject: []string{"cvf.t.cam-1.detector", "x", "a..b", "ü", "wild.*.>", "\x01"}[(i+k)%6], Header: h,
				Data: bytes.Repeat([]byte{byte(i), '\r', '\n', byte(k)}, size/4+1)[:size],
			})
		}
	}
	return all
}

// TestTheClientWritesTheSame publishes past the client and through it, with and without
// a reply, and compares the bytes.
func TestTheClientWritesTheSame(t *testing.T) {
	for _, reply := range []string{"", "_INBOX.x.1"} {
		c, r := connect(t, true)
		for _, m := range messages() {
			if err := c.Client().PublishMsg(&nats.Msg{Subject: m.Subject, Reply: reply, Header: m.Header, Data: m.Data}); err != nil {
				t.Fatalf("%q: %v", m.Subject, err)
			}
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			client := bytes.TrimSuffix(bytes.Join(r.take(), nil), []byte("PING\r\n"))
			if err := c.plain.Load().writeMessage(m, reply); err != nil {
				t.Fatalf("%q: %v", m.Subject, err)
			}
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			direct := bytes.TrimSuffix(bytes.Join(r.take(), nil), []byte("PING\r\n"))
			if len(m.Header) > 1 { // which the client does not keep in order
				client, direct = []byte(commands(t, client)[0]), []byte(commands(t, direct)[0])
			}
			if !bytes.Equal(client, direct) {
				t.Errorf("%q, %q, reply %q, %d bytes: the client writes %.200q, and past it: %.200q",
					m.Subject, m.Header, reply, len(m.Data), client, direct)
			}
		}
	}
}

// TestMessagesLeaveInOrder publishes messages of all sizes, and expects all bytes of each
// before the next.
func TestMessagesLeaveInOrder(t *testing.T) {
	for _, direct := range []bool{false, true} {
		c, r := connect(t, direct)
		if (c.plain.Load() != nil) != direct {
			t.Errorf("direct: %v", !direct)
		}
		var want []string
		for n := range 1000 {
			m := publish.Message{Subject: fmt.Sprint("x.", n), Data: make([]byte, sizes[rand.IntN(len(sizes))])}
			want = append(want, fmt.Sprintf("PUB %s %d", m.Subject, len(m.Data)))
			if err := c.Publish(m, ""); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, command := range commands(t, bytes.Join(r.take(), nil)) {
			if command, _, _ = strings.Cut(command, "\n"); command != "PING" {
				got = append(got, command)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("direct: %v (-published +written):\n%.2000s", direct, diff)
		}
	}
}

// TestTheClientCanBeFlushed: what the client has buffered is written at once. Otherwise
// messages stay in order, but more of them go through the client.
func TestTheClientCanBeFlushed(t *testing.T) {
	c, r := connect(t, true)
	const n = 500
	for i := range n {
		m := publish.Message{Subject: "x", Data: fmt.Append(nil, i)}
		if err := c.Publish(m, ""); err != nil {
			t.Fatal(err)
		}
		if !c.flushClient() {
			t.Fatal("something is buffered still")
		}
	}
	if err := c.Flush(t.Context()); err != nil { // whose answer comes after those of the other pings
		t.Fatal(err)
	}
	if got := len(commands(t, bytes.Join(r.take(), nil))); got < n || got > 2*n+1 {
		t.Errorf("%d commands for %d messages", got, n)
	}
}

// TestTheClientWritesWholeCommands has several goroutines subscribe, flush and publish
// messages of all sizes.
func TestTheClientWritesWholeCommands(t *testing.T) {
	c, r := connect(t, false)
	var busy sync.WaitGroup
	for i := range 4 {
		busy.Go(func() {
			for _, m := range messages() {
				if err := c.Publish(m, ""); err != nil {
					t.Error(err)
				}
				sub, err := c.Client().SubscribeSync(fmt.Sprint("inbox.", i))
				if err != nil {
					t.Error(err)
					continue
				}
				if err := errors.Join(sub.Unsubscribe(), c.Flush(t.Context())); err != nil {
					t.Error(err)
				}
			}
		})
	}
	busy.Wait()
	n := 0
	for _, w := range r.take() {
		n += len(commands(t, w))
	}
	if n < 4*4*len(messages()) {
		t.Errorf("%d commands", n)
	}
}

// commands splits what was written, which ends with a whole command. The headers of
// each message are sorted.
func commands(t *testing.T, b []byte) []string {
	t.Helper()
	var all []string
	for len(b) > 0 {
		line, rest, found := bytes.Cut(b, []byte("\r\n"))
		if !found {
			t.Fatalf("a write ends within a command: %.80q", b)
		}
		text := string(line)
		if verb, args, _ := strings.Cut(text, " "); verb == "PUB" || verb == "HPUB" {
			fields := strings.Split(args, " ")
			size, err := strconv.Atoi(fields[len(fields)-1])
			if err != nil || len(rest) < size+2 || string(rest[size:size+2]) != "\r\n" {
				t.Fatalf("a write ends within a message: %.80q", b)
			}
			data, header := rest[:size], 0
			if verb == "HPUB" {
				if header, err = strconv.Atoi(fields[len(fields)-2]); err != nil {
					t.Fatalf("%.80q: %v", b, err)
				}
			}
			lines := strings.Split(string(data[:header]), "\r\n")
			if header > 0 {
				slices.SortStableFunc(lines[1:len(lines)-2], func(a, b string) int {
					nameA, _, _ := strings.Cut(a, ":")
					nameB, _, _ := strings.Cut(b, ":")
					return strings.Compare(nameA, nameB)
				})
			}
			text += "\n" + strings.Join(lines, "\r\n") + string(data[header:])
			rest = rest[size+2:]
		}
		all, b = append(all, text), rest
	}
	return all
}

// TestTheClientRefusesTheSame compares the verdicts on messages, most of which are bad.
func TestTheClientRefusesTheSame(t *testing.T) {
	c, _ := connect(t, false)
	try := func(m publish.Message, reply string) {
		t.Helper()
		err := c.Client().PublishMsg(&nats.Msg{Subject: m.Subject, Reply: reply, Header: m.Header, Data: m.Data})
		if isValid(m, reply, maxPayload) != (err == nil) {
			t.Errorf("%.40q %.40q, reply %q: the client says: %v", m.Subject, m.Header, reply, err)
		}
	}
	for r := range rune(300) {
		for _, text := range []string{string(r), "a" + string(r), string(r) + "a long one, but for this"} {
			try(publish.Message{Subject: text}, "")
			try(publish.Message{Subject: "x"}, text)
			try(publish.Message{Subject: "x", Header: map[string][]string{text: {"v"}}}, "")
			try(publish.Message{Subject: "x", Header: map[string][]string{"k": {text}}}, "")
		}
	}
	try(publish.Message{}, "")
	try(publish.Message{Subject: "\xff", Header: map[string][]string{"\xff": {"\xff"}}}, "\xff")
	try(publish.Message{Subject: "x", Header: map[string][]string{"": {"v"}}}, "")
	h := map[string][]string{"k": {" v "}}
	for _, more := range []int{-1, 0, 1} {
		try(publish.Message{Subject: "x", Data: make([]byte, maxPayload+more)}, "")
		try(publish.Message{Subject: "x", Header: h, Data: make([]byte, maxPayload-publish.HeaderSize(h)+more)}, "")
	}
}
