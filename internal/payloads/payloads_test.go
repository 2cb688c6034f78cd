package payloads

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

const info = "INFO {\"max_payload\":2000000,\"headers\":true,\"proto\":1}\r\n"

// seen is what a client has made of a stream, by subscription.
type seen struct {
	mu       sync.Mutex
	messages map[string][]string
	direct   int // past nats.go
	named    int // by a header
	ends     sync.WaitGroup
}

func (s *seen) add(sub *nats.Subscription, subject string, h map[string][]string, data []byte) {
	if subject == "cvf.end" {
		s.ends.Done()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages[sub.Subject] = append(s.messages[sub.Subject], fmt.Sprintf("%s %q %d %x", subject, h, len(data), crc32.ChecksumIEEE(data)))
}

// conn is a connection as publish/nats/dial makes it.
type conn struct {
	net.Conn
	*Reader
}

func (c conn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func (c conn) Write(p []byte) (int, error) {
	c.Wrote(p)
	return c.Conn.Write(p)
}

type dialer struct{ store *Store }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if err != nil || d.store == nil {
		return c, err
	}
	return conn{c, NewReader(c, d.store)}, nil
}

// read returns what a client with two subscriptions makes of what a server sends.
func read(t *testing.T, pieces [][]byte, store *Store) *seen {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go serve(t, l, pieces)
	s := &seen{messages: make(map[string][]string)}
	nc, err := nats.Connect("nats://"+l.Addr().String(), nats.SetCustomDialer(dialer{store}), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s.ends.Add(2)
	for _, subject := range []string{"cvf.t.a", "cvf.>"} {
		sub, err := nc.Subscribe(subject, func(m *nats.Msg) { s.handle(m, store) })
		if err != nil {
			t.Fatal(err)
		}
		_ = sub.SetPendingLimits(-1, -1)
	}
	s.ends.Wait()
	return s
}

func (s *seen) handle(m *nats.Msg, store *Store) {
	if store == nil {
		s.add(m.Sub, m.Subject, m.Header, m.Data)
		return
	}
	before := len(m.Header[header])
	data := store.Data(m.Header, m.Data, func(subject string, block, data []byte) bool {
		if n, _, err := m.Sub.Pending(); err != nil || n > 0 {
			return false
		}
		h, err := nats.DecodeHeadersMsg(block)
		if err != nil {
			return false
		}
		s.add(m.Sub, subject, h, data)
		s.mu.Lock()
		s.direct++
		s.mu.Unlock()
		return true
	})
	if len(m.Header[header]) < before {
		s.mu.Lock()
		s.named++
		s.mu.Unlock()
	}
	s.add(m.Sub, m.Subject, m.Header, data)
}

// serve sends pieces once there are two subscriptions.
func serve(t *testing.T, l net.Listener, pieces [][]byte) {
	c, err := l.Accept()
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, info)
	lines := bufio.NewReader(c)
	for subscribed := 0; subscribed < 2; {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Error(err)
			return
		}
		switch {
		case line == "PING\r\n":
			_, _ = io.WriteString(c, "PONG\r\n")
		case strings.HasPrefix(line, "SUB "):
			subscribed++
		}
	}
	for _, p := range pieces {
		if _, err := c.Write(p); err != nil {
			return // what was sent before was no NATS
		}
	}
	_, _ = io.Copy(io.Discard, lines) // until the client ends the connection
}

func tensorHeader(extra string) string {
	return "NATS/1.0\r\nCvf-Version: 1\r\nCvf-Dtype: FP32\r\n" + extra + "\r\n"
}

func hmsg(subject string, sid int, reply, block string, data []byte) []byte {
	b := fmt.Appendf(nil, "HMSG %s %d %s%d %d\r\n%s", subject, sid, reply, len(block), len(block)+len(data), block)
	return append(append(b, data...), "\r\n"...)
}

// random returns something that a server sends.
func random(rng *rand.Rand) []byte {
	if rng.IntN(8) == 0 {
		return []byte([]string{"PING\r\n", "+OK\r\n", info}[rng.IntN(3)])
	}
	data := make([]byte, []int{0, 1, 100, large, rng.IntN(300_000), rng.IntN(1_000_000)}[rng.IntN(6)])
	_, _ = rand.NewChaCha8([32]byte{byte(rng.Uint32())}).Read(data)
	if rng.IntN(4) == 0 {
		copy(data, bytes.Repeat([]byte("HMSG a 1 5 9\r\n"), len(data)/14))
	}
	subject, sid := fmt.Sprintf("cvf.t.%d", rng.IntN(3)), []int{1, 2, 2, 9}[rng.IntN(4)]
	reply := []string{"", "_INBOX.x "}[rng.IntN(2)]
	if rng.IntN(8) == 0 {
		return append(append(fmt.Appendf(nil, "MSG %s %d %s%d\r\n", subject, sid, reply, len(data)), data...), "\r\n"...)
	}
	extra := []string{"", "A: b\r\n", "A: " + strings.Repeat("n", rng.IntN(100_000)) + "\r\n", header + ": forged 2 1\r\n"}[rng.IntN(4)]
	block := tensorHeader(extra)
	switch rng.IntN(6) {
	case 0:
		block = "NATS/1.0 100 Idle\r\n\r\n"
	case 1:
		block = "NATS/1.0\r\nA: b\r\n\r\n"
	}
	return hmsg(subject, sid, reply, block, data)
}

// cut returns a stream in pieces of random sizes.
func cut(stream []byte, rng *rand.Rand) [][]byte {
	var pieces [][]byte
	for len(stream) > 0 {
		n := min(len(stream), 1+rng.IntN([]int{50, 5000, 400_000, 1_000_000}[rng.IntN(4)]))
		pieces = append(pieces, stream[:n])
		stream = stream[n:]
	}
	return pieces
}

func TestAStreamIsTheSameHoweverItIsCut(t *testing.T) {
	direct, named := 0, 0
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var stream []byte
		for range 80 {
			stream = append(stream, random(rng)...)
		}
		stream = append(stream, "MSG cvf.end 1 0\r\n\r\nMSG cvf.end 2 0\r\n\r\n"...)
		want := read(t, cut(stream, rng), nil)
		got := read(t, cut(stream, rng), NewStore())
		if !reflect.DeepEqual(got.messages, want.messages) {
			for subject, messages := range want.messages {
				for i, m := range messages {
					if i >= len(got.messages[subject]) || got.messages[subject][i] != m {
						t.Fatalf("seed %d: %d of %d messages on %s; message %d is not %.200s\n%.200q", seed, len(got.messages[subject]), len(messages), subject, i, m, got.messages[subject][min(i, len(got.messages[subject])):])
					}
				}
			}
			t.Fatalf("seed %d: there are more messages", seed)
		}
		direct, named = direct+got.direct, named+got.named
	}
	if direct == 0 || named == 0 {
		t.Errorf("%d messages went past the client, and %d through it without their payload", direct, named)
	}
}

// FuzzReader: whatever is sent without a large tensor is handed on as it is.
func FuzzReader(f *testing.F) {
	f.Add([]byte(info+"PING\r\nMSG a 1 3\r\nabc\r\n"), uint8(3))
	f.Add(hmsg("a", 1, "", "NATS/1.0\r\n\r\n", make([]byte, large)), uint8(200))
	f.Add([]byte("HMSG a 1 99 5\r\n"), uint8(1))
	f.Add([]byte("HMSG a 1 12 9999999999999999999\r\n"), uint8(1))
	f.Add([]byte(strings.Repeat("x", 70_000)), uint8(255))
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		if bytes.Contains(stream, []byte("Cvf-Dtype")) {
			t.Skip()
		}
		r := NewReader(&stepped{stream, int(step) + 1}, NewStore())
		got, err := io.ReadAll(r)
		// The beginning of a line or a header that never ends is kept back.
		if err != nil || !bytes.HasPrefix(stream, got) || len(stream)-len(got) > len(r.buf) {
			t.Errorf("%d bytes of %d, %v", len(got), len(stream), err)
		}
	})
}

// stepped returns a few bytes at a time.
type stepped struct {
	rest []byte
	step int
}

func (s *stepped) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func TestTLSAndWebSocketsAreLeftAlone(t *testing.T) {
	for _, first := range []string{"\x16\x03\x01", "GET / HTTP/1.1\r\n"} {
		sent := hmsg("a", 1, "", tensorHeader(""), make([]byte, large))
		r := NewReader(bytes.NewReader(sent), NewStore())
		r.Wrote([]byte(first))
		r.Wrote([]byte("CONNECT {}\r\n"))
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("after %q: %d bytes of %d, %v", first, len(got), len(sent), err)
		}
	}
}

func TestAnEndWithinAPayloadIsAnError(t *testing.T) {
	sent := hmsg("a", 1, "", tensorHeader(""), make([]byte, large))
	r := NewReader(bytes.NewReader(sent[:len(sent)-3]), NewStore())
	if got, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) || len(got) > 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestPayloadsThatNobodyAsksForAreBounded(t *testing.T) {
	store := NewStore()
	const size = 4 << 20
	one := hmsg("a", 1, "", tensorHeader(""), make([]byte, size))
	r := NewReader(bytes.NewReader(bytes.Repeat(one, 40)), store)
	n, err := io.Copy(io.Discard, r)
	if err != nil || store.bytes > unclaimed || store.bytes < unclaimed-2*size {
		t.Fatalf("%d bytes wait, %v", store.bytes, err)
	}
	if n < 24*size {
		t.Errorf("%d bytes were handed on, want those of the others", n)
	}
	// The message of the third comes out of the client, so those before were dropped.
	h := map[string][]string{header: {"b", store.secret + " 1 3"}}
	if data := store.Data(h, nil, nil); len(data) != size || !slices.Equal(h[header], []string{"b"}) {
		t.Errorf("%d bytes and %q", len(data), h)
	}
	if data := store.Data(map[string][]string{header: {store.secret + " 1 2"}}, nil, nil); data != nil {
		t.Error("a dropped payload was returned")
	}
}

func TestNobodyElseCanNameAPayload(t *testing.T) {
	store := NewStore()
	name := store.put("1", []byte("payload"))
	forged := map[string][]string{header: {strings.Replace(name, store.secret, strings.Repeat("A", len(store.secret)), 1)}}
	if data := store.Data(forged, []byte("x"), nil); string(data) != "x" || len(forged[header]) != 1 {
		t.Errorf("%q", data)
	}
}

func TestMemoryIsUsedAgain(t *testing.T) {
	store := NewStore()
	first := store.memory(5 << 20)
	store.Release(first)
	if again := store.memory(5<<20 - 100); &again[0] != &first[0] || len(again) != 5<<20-100 {
		t.Error("memory was not used again")
	}
	store.Release(first)
	if other := store.memory(1 << 20); &other[0] == &first[0] {
		t.Error("a small payload has the memory of a large one")
	}
	for range 100 {
		store.Release(make([]byte, 5<<20))
	}
	if store.idle > idle || len(store.free)*5<<20 > idle {
		t.Errorf("%d bytes are kept", store.idle)
	}
	store.Release(nil)
	store.Release([]byte("small"))
}
