package kinesis_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// A raw service answers GetImages with what it is told, without looking at the request.
type raw struct {
	answer func(w http.ResponseWriter, attempt int) // attempt counts from 1

	asked atomic.Int32
}

func (s *raw) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	switch r.URL.Path {
	case "/getDataEndpoint":
		_, _ = fmt.Fprintf(w, `{"DataEndpoint":"http://%s"}`, r.Host)
	case "/getImages":
		s.answer(w, int(s.asked.Add(1)))
	default:
		http.NotFound(w, r)
	}
}

// connect returns a stream of the service at url.
func connect(t testing.TB, url string, client *http.Client, observe func(string, source.Bill, source.Bill)) *kinesis.Stream {
	t.Helper()
	c, err := kinesis.New(t.Context(), kinesis.Options{
		Region: "eu-west-1", Endpoint: url, AccessKey: "key", Secret: "secret", HTTPClient: client, Attempts: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c.Stream(kinesis.StreamOptions{Name: "cam-1", Observe: observe})
}

// loopback serves s on the loopback.
func loopback(t testing.TB, s *raw) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return srv
}

// pageOf returns an answer with n images of the given size.
func pageOf(n, size int) []byte {
	var b bytes.Buffer
	picture := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff, 0xd8, 'x'}, size/3))
	b.WriteString(`{"Images":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"TimeStamp":%d.2,"ImageContent":"%s"}`, 1772366400+i, picture)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func TestImagesArriveBeforeThePageDoes(t *testing.T) {
	whole := pageOf(3, 30)
	half := bytes.IndexByte(whole, '}') + 1
	seen := make(chan struct{})
	srv := loopback(t, &raw{answer: func(w http.ResponseWriter, _ int) {
		_, _ = w.Write(whole[:half])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-seen: // the first image, before the rest is sent
			_, _ = w.Write(whole[half:])
		case <-time.After(10 * time.Second):
		}
	}})
	n := 0
	for img, err := range connect(t, srv.URL, srv.Client(), nil).Images(t.Context(), past(3)) {
		if err != nil || len(img.Data) != 30 {
			t.Fatalf("image %d: %d bytes, %v, %v", n, len(img.Data), img.Err, err)
		}
		if n++; n == 1 {
			close(seen)
		}
	}
	if n != 3 {
		t.Errorf("%d images", n)
	}
}

// TestCutPage has answers that end too early: images that arrived whole are kept, and once
// there is one, the SDK does not retry.
func TestCutPage(t *testing.T) {
	whole := pageOf(5, 3000)
	for _, tc := range []struct {
		name          string
		sent          int
		reset         bool // the connection, rather than closing it
		images, asked int
	}{
		{name: "within the third image", sent: len(whole) / 2, images: 2, asked: 1},
		{name: "reset within the third image", sent: len(whole) / 2, reset: true, images: 2, asked: 1},
		{name: "within the first image", sent: 1000, images: 0, asked: 1}, // as the SDK does
		{name: "reset within the first image", sent: 1000, reset: true, images: 5, asked: 2},
		{name: "after the last image", sent: len(whole) - 1, images: 5, asked: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var mu sync.Mutex
			observed := []bool{} // whether OK
			s := &raw{answer: func(w http.ResponseWriter, attempt int) {
				if attempt > 1 {
					_, _ = w.Write(whole)
					return
				}
				breakOff(w, whole[:tc.sent], len(whole), tc.reset)
			}}
			srv := loopback(t, s)
			stream := connect(t, srv.URL, srv.Client(), func(code string, _, _ source.Bill) {
				mu.Lock()
				defer mu.Unlock()
				observed = append(observed, code == "OK")
			})
			n, failed := 0, error(nil)
			for _, err := range stream.Images(t.Context(), past(5)) {
				if err != nil {
					failed = err
				} else {
					n++
				}
			}
			if n != tc.images || int(s.asked.Load()) != tc.asked {
				t.Errorf("%d images of %d requests, want %d of %d", n, s.asked.Load(), tc.images, tc.asked)
			}
			var decoding *smithy.DeserializationError
			if tc.asked == 1 && (!errors.As(failed, &decoding) || !strings.HasPrefix(failed.Error(), "the answer cannot be read")) {
				t.Errorf("error %v", failed)
			}
			if want := []bool{false, true}[:tc.asked]; !slices.Equal(observed, want) {
				t.Errorf("observed %v, want %v", observed, want)
			}
		})
	}
}

// breakOff answers with the first part of a body, and ends the connection.
func breakOff(w http.ResponseWriter, sent []byte, size int, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, sent)
	if reset {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
}

// A counted connection knows how much has been read from it.
type counted struct {
	net.Conn
	read *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// counting returns a client that counts what it reads.
func counting(t *testing.T) (*http.Client, *atomic.Int64) {
	var read atomic.Int64
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		return counted{conn, &read}, err
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, &read
}

func TestAbandonedPageIsNotRead(t *testing.T) {
	whole := pageOf(50, 600_000) // 40 MB
	s := &raw{answer: func(w http.ResponseWriter, _ int) { _, _ = w.Write(whole) }}
	srv := loopback(t, s)
	client, read := counting(t)
	stream := connect(t, srv.URL, client, nil)
	for _, err := range stream.Images(t.Context(), past(25)) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if got := read.Load(); got > 2<<20 {
		t.Errorf("%d KiB were read for one image", got>>10)
	}
	if got := s.asked.Load(); got != 1 {
		t.Errorf("%d requests", got)
	}
}

func TestHostilePageIsNotRead(t *testing.T) {
	s := &raw{answer: func(w http.ResponseWriter, _ int) {
		_, _ = io.WriteString(w, `{"Images":[{"ImageContent":"`)
		for block := bytes.Repeat([]byte("A"), 1<<20); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}}
	srv := loopback(t, s)
	client, read := counting(t)
	_, _, err := collect(t, connect(t, srv.URL, client, nil), past(25))
	if err == nil || !strings.Contains(err.Error(), "limit") || read.Load() > 12<<20 || s.asked.Load() != 1 {
		t.Errorf("%v, %d KiB read, %d requests", err, read.Load()>>10, s.asked.Load())
	}
}

// TestConnectionIsKept: connections are used again after pages that were read to their end,
// and if little follows the answer.
func TestConnectionIsKept(t *testing.T) {
	for _, tc := range []struct {
		name  string
		tail  string
		dials int32
	}{
		{"nothing follows", "", 1},
		{"a line follows", "\r\n", 1},
		{"more than a page follows", strings.Repeat(" ", 1<<20), 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			whole := append(pageOf(2, 300_000), tc.tail...)
			srv := httptest.NewUnstartedServer(&raw{answer: func(w http.ResponseWriter, _ int) { _, _ = w.Write(whole) }})
			var opened atomic.Int32
			srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					opened.Add(1)
				}
			}
			srv.Start()
			defer srv.Close()
			stream := connect(t, srv.URL, srv.Client(), nil)
			for range 3 {
				if found, _, err := collect(t, stream, past(2)); len(found) != 2 || err != nil {
					t.Fatal(found, err)
				}
			}
			if got := opened.Load(); got != tc.dials {
				t.Errorf("%d connections", got)
			}
		})
	}
}

// TestSlowReceiver first has the receiver of an image be slow, which does not count as the
// service's time, and then the service.
func TestSlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := pageOf(2, 300)
		stuck := make(chan struct{})
		pipe := kinesistest.NewPipe()
		srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: &raw{answer: func(w http.ResponseWriter, attempt int) {
			if attempt == 1 {
				_, _ = w.Write(whole)
				return
			}
			_, _ = w.Write(whole[:len(whole)/2+10])
			_ = http.NewResponseController(w).Flush()
			<-stuck
		}}}
		var wg sync.WaitGroup
		wg.Go(func() { _ = srv.Serve(pipe) })
		client := pipe.Client()
		stream := connect(t, "http://fake", client, nil)
		for range 2 {
			var errs []error
			begin, n := time.Now(), 0
			for _, err := range stream.Images(t.Context(), past(2)) {
				if err != nil {
					errs = append(errs, err)
					continue
				}
				n++
				time.Sleep(5 * time.Minute) // of the bubble: no time at all
			}
			switch took := time.Since(begin); {
			case n == 2:
				if len(errs) != 0 || took != 10*time.Minute {
					t.Errorf("%v after %v", errs, took)
				}
			case n != 1 || len(errs) != 1 || !errors.Is(errs[0], context.DeadlineExceeded) || took != 5*time.Minute+10*time.Second:
				t.Errorf("%d images, %v after %v", n, errs, took)
			}
		}
		close(stuck)
		client.CloseIdleConnections()
		_ = srv.Close()
		wg.Wait()
	})
}
