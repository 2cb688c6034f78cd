package kinesis_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// operations are all requests that are sent to AWS, by their paths.
var operations = map[string]struct {
	path string
	most int64 // bytes of an answer
	call func(ctx context.Context, c *kinesis.Client) error
}{
	"DescribeStream": {"/describeStream", 1 << 20, func(ctx context.Context, c *kinesis.Client) error {
		return cam(c).Check(ctx)
	}},
	"GetDataEndpoint": {"/getDataEndpoint", 1 << 20, func(ctx context.Context, c *kinesis.Client) error {
		_, err := cam(c).DataEndpoint(ctx)
		return err
	}},
	"ListStreams": {"/listStreams", 16 << 20, func(ctx context.Context, c *kinesis.Client) error {
		_, err := c.List(ctx, "cam")
		return err
	}},
	"ListFragments": {"/listFragments", 1 << 20, func(ctx context.Context, c *kinesis.Client) error {
		w := past(11)
		_, err := cam(c).Fragments(ctx, w.Start, w.End)
		return err
	}},
	"GetImages": {"/getImages", 1 << 20, func(ctx context.Context, c *kinesis.Client) error {
		for _, err := range cam(c).Images(ctx, past(11)) {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	"one page": {"/getImages", 1 << 20, func(ctx context.Context, c *kinesis.Client) error {
		_, err := cam(c).Page(ctx, kinesis.PageRequest{Window: past(11), MaxResults: 11})
		return err
	}},
	"credentials": {"/credentials", 1 << 20, func(ctx context.Context, c *kinesis.Client) error {
		_, err := c.Credentials(ctx)
		return err
	}},
}

func cam(c *kinesis.Client) *kinesis.Stream { return c.Stream(kinesis.StreamOptions{Name: "cam-1"}) }

// sent is how much of an answer without end is sent before the test gives up.
const sent = 48 << 20

// hostile are answers that no service sends.
var hostile = map[string]struct {
	status     int
	head, body string // body comes again and again
	gzip       bool
}{
	"an error without end":          {500, `{"message":"`, "x", false},
	"an error of white space":       {400, ``, " \n", false},
	"an error of unknown keys":      {503, `{"a":1`, `,"b":[{}]`, false},
	"an inflated error":             {500, `{"message":"`, "x", true},
	"an answer without end":         {200, `{"NextToken":"`, "x", false},
	"an answer of white space":      {200, ``, " \n", false},
	"an answer of unknown keys":     {200, `{"a":1`, `,"b":[{}]`, false},
	"an answer of values":           {200, `{"a":[1`, `,[]`, false},
	"an answer of keys in one name": {200, `{"`, `k`, false},
	"an inflated answer":            {200, `{"NextToken":"`, "x", true},
	"an inflated page":              {200, `{"Images":[`, " ", true},
}

// hostileService answers one path with an answer that does not end, and gives itself as
// the data endpoint.
func hostileService(path, answer string) http.Handler {
	h := hostile[answer]
	block := []byte(strings.Repeat(h.body, 64<<10/len(h.body)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path != path {
			_, _ = io.WriteString(w, `{"DataEndpoint":"http://`+r.Host+`"}`)
			return
		}
		out := io.Writer(w)
		if h.gzip {
			w.Header().Set("Content-Encoding", "gzip")
			z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
			defer z.Close()
			out = z
		}
		w.WriteHeader(h.status)
		_, err := io.WriteString(out, h.head)
		for n := 0; n < sent && err == nil; n += len(block) {
			_, err = out.Write(block)
		}
	})
}

// TestAnswersWithoutEnd: whatever is answered to any request, it is read up to its limit,
// takes little memory, and ends with an error.
func TestAnswersWithoutEnd(t *testing.T) {
	for name, op := range operations {
		for answer, h := range hostile {
			t.Run(name+"/"+answer, func(t *testing.T) {
				cleanChain(t)
				srv := httptest.NewServer(hostileService(op.path, answer))
				defer srv.Close()
				client, read := counting(t)
				opts := kinesis.Options{Region: "eu-west-1", Endpoint: srv.URL, AccessKey: "key", Secret: "secret", HTTPClient: client, Attempts: 1}
				if name == "credentials" {
					opts.AccessKey, opts.HTTPClient = "", nil
					t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", srv.URL+op.path)
				}
				c, err := kinesis.New(t.Context(), opts)
				if err != nil {
					t.Fatal(err)
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err = op.call(t.Context(), c)
				runtime.ReadMemStats(&after)
				most := op.most
				if h.status != http.StatusOK {
					most = 1 << 20
				}
				if err == nil || errors.Is(err, source.ErrRefused) {
					t.Errorf("error %v", err)
				}
				// The connection has buffers of its own.
				if got := read.Load(); got > most+most/4+1<<20 {
					t.Errorf("%d KiB were read, want %d at most", got>>10, most>>10)
				}
				// The service in this process allocates nothing of the size of its answer.
				if got := int64(after.TotalAlloc - before.TotalAlloc); got > 12*most+8<<20 {
					t.Errorf("%d MiB were allocated", got>>20)
				}
				t.Logf("%d KiB read, %d KiB allocated: %.200v", read.Load()>>10, (after.TotalAlloc-before.TotalAlloc)>>10, err)
			})
		}
	}
}

// TestDrippingAnswers: an answer that comes byte by byte, however steadily, is given up.
func TestDrippingAnswers(t *testing.T) {
	for name, op := range operations {
		if name == "credentials" {
			continue // from another process, in TestABadProvider
		}
		for _, status := range []int{http.StatusOK, http.StatusInternalServerError} {
			t.Run(name+"/"+strconv.Itoa(status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					pipe := kinesistest.NewPipe()
					ctx, end := context.WithCancel(t.Context())
					srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: dripping(ctx, op.path, status)}
					var wg sync.WaitGroup
					wg.Go(func() { _ = srv.Serve(pipe) })
					client := pipe.Client()
					c, err := kinesis.New(t.Context(), kinesis.Options{
						Region: "eu-west-1", Endpoint: "http://fake", AccessKey: "key", Secret: "secret", HTTPClient: client, Attempts: 1,
					})
					if err != nil {
						t.Fatal(err)
					}
					begin := time.Now()
					patient, cancel := context.WithTimeout(t.Context(), time.Hour)
					err = op.call(patient, c)
					cancel()
					if took := time.Since(begin); err == nil || took > 70*time.Second {
						t.Errorf("after %v: %v", took, err)
					}
					end()
					client.CloseIdleConnections()
					_ = srv.Close()
					wg.Wait()
					synctest.Wait() // for the handlers
				})
			})
		}
	}
}

// dripping answers one path with a byte every three seconds.
func dripping(ctx context.Context, path string, status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path != path {
			_, _ = io.WriteString(w, `{"DataEndpoint":"http://`+r.Host+`"}`)
			return
		}
		w.WriteHeader(status)
		_, err := io.WriteString(w, `{"message":"`)
		for err == nil && ctx.Err() == nil && r.Context().Err() == nil {
			if _, err = io.WriteString(w, "x"); err == nil {
				err = http.NewResponseController(w).Flush()
			}
			select {
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
			case <-r.Context().Done():
			}
		}
	})
}

// TestNumbersOutOfRange: numbers that cannot be true do no harm.
func TestNumbersOutOfRange(t *testing.T) {
	for _, hours := range []string{"2147483647", "2562048", "876001"} { // the second overflows a time.Duration
		client := &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			_, _ = io.WriteString(w, `{"StreamInfo":{"Status":"ACTIVE","DataRetentionInHours":`+hours+`}}`)
			return w.Result(), nil
		})}
		s := connect(t, "http://control.example", client, nil)
		if err := s.Check(t.Context()); err != nil || s.Retention() != 100*365*24*time.Hour {
			t.Errorf("%s hours: %v, %v", hours, s.Retention(), err)
		}
	}
	srv := loopback(t, &raw{answer: func(w http.ResponseWriter, _ int) {
		_, _ = io.WriteString(w, `{"Images":[{"TimeStamp":1e300,"ImageContent":"AAAA"},{"TimeStamp":-1e300,"ImageContent":"AAAA"},`+
			`{"TimeStamp":9223372036854775,"ImageContent":"AAAA"},{"TimeStamp":-62135596800,"ImageContent":"AAAA"}]}`)
	}})
	for img, err := range connect(t, srv.URL, srv.Client(), nil).Images(t.Context(), past(4)) {
		if err != nil || source.CheckTime(img.Time) != nil {
			t.Errorf("an image at %v, %v", img.Time, err)
		}
	}
}
