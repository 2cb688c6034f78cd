package clients

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"image"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cvfeeder/cvfeeder/internal/conformance"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the clients' columns in clients/conformance/README.md")

const conformanceDir = "../../clients/conformance"

// checkConformance compares the cases that a client has written to a file, one a line, with
// the table of the cases.
func checkConformance(t *testing.T, client, passed string) {
	t.Helper()
	names, err := os.ReadFile(passed)
	if err != nil {
		t.Fatal(err)
	}
	conformance.Check(t, conformanceDir, client, strings.Fields(string(names)), *update)
}

// serve starts a NATS server and a feeder, builds the program nats-server, and returns the
// feeder and the environment in which a client's tests find all of them.
func serve(ctx context.Context, t *testing.T) (*feeder, []string) {
	t.Helper()
	f := newFeeder(t)
	control := httptest.NewServer(f.handler())
	t.Cleanup(control.Close)
	return f, append(os.Environ(), "CVFEEDER_NATS="+f.url, "CVFEEDER_FEEDER="+control.URL, "CVFEEDER_NATS_SERVER="+natsServer(ctx, t))
}

// natsServer builds the NATS server, for the tests that kill and stop its process, and
// returns the path of the program.
func natsServer(ctx context.Context, t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats-server")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		t.Fatalf("building nats-server: %v\n%s", err, out)
	}
	return path
}

// watch makes "go test" run the test again when a client's file has changed. Otherwise it
// would keep the old result, because it knows only the files that the test itself opens.
func watch(t *testing.T, client string) {
	t.Helper()
	for _, dir := range []string{client, conformanceDir} {
		err := filepath.WalkDir(dir, func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A feeder publishes what the clients' tests request over HTTP.
type feeder struct {
	t   *testing.T
	url string

	mu     sync.Mutex
	store  string
	server *embedded.Server
	conn   *dial.Conn
	live   *deliver.Live
	room   *room // nil before it is asked for
}

func newFeeder(t *testing.T) *feeder {
	t.Helper()
	f := &feeder{t: t, store: t.TempDir()}
	if err := f.start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	f.url = f.server.ClientURL()
	t.Cleanup(f.stop)
	return f
}

func (f *feeder) start(listen string) error {
	server, err := embedded.Start(embedded.Options{Listen: listen, StoreDir: f.store})
	if err != nil {
		return err
	}
	conn, err := dial.Dial(dial.Options{URL: server.ClientURL()})
	if err != nil {
		server.Shutdown()
		return err
	}
	f.server, f.conn, f.live = server, conn, deliver.NewLive(conn, publish.GapEvents)
	return conn.WaitConnected(f.t.Context())
}

func (f *feeder) stop() {
	if err := f.conn.Close(context.Background()); err != nil {
		f.t.Log(err)
	}
	f.server.Shutdown()
}

// serveFrames answers requests for frames of the stream cam-1 for the length of the test.
func (f *feeder) serveFrames() {
	f.t.Helper()
	conn, err := dial.Dial(dial.Options{URL: f.url})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(f.t.Context()))
	served := make(chan error, 1)
	go func() {
		served <- frames.Serve(ctx, conn, frames.Options{
			Streams: func(string) (any, error) {
				return []any{map[string]any{"outputs": []any{map[string]string{"subject": "cvf.t.cam-1.detector"}}}}, nil
			},
			Frame: func(_ context.Context, r frames.Request, answer func(publish.Message) error) error {
				if r.Stream != "cam-1" {
					return &frames.Error{Code: frames.CodeNotFound, Text: "unknown stream " + r.Stream}
				}
				ask := tensors{
					Stream: r.Stream, Output: r.Output, Width: 4, Height: 2,
					DType: transform.Float32, Layout: transform.NCHW, Color: transform.RGB,
					Affine: transform.Affine{1, 0, 0, 0, 1, 0}, Std: [3]float64{1, 1, 1}, Fingerprint: "3f2a",
				}
				return answer(publish.NewMessage("cvf.t.cam-1."+r.Output, ask.tensor(source.Slot(r.Time.UnixMilli()))))
			},
		})
	}()
	f.t.Cleanup(func() {
		stop()
		if err := errors.Join(<-served, conn.Close(context.Background())); err != nil {
			f.t.Error(err)
		}
	})
}

func (f *feeder) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tensors", answer(f.tensors))
	mux.HandleFunc("POST /gap", answer(f.gap))
	mux.HandleFunc("POST /inline-gap", answer(f.inlineGap))
	mux.HandleFunc("POST /restart", answer(f.restart))
	mux.HandleFunc("POST /memory", answer(f.memory))
	return mux
}

// answer decodes the request and calls handle. The client's test gets its reply or error.
func answer[T any](handle func(context.Context, T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request T
		err := json.NewDecoder(r.Body).Decode(&request)
		var reply any
		if err == nil {
			reply, err = handle(r.Context(), request)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(reply)
	}
}

// tensors is a request for the tensors of Count slots in a row. Their bytes are 0, 1, 2…
// over and over.
type tensors struct {
	Stream, Output string
	Slot           source.Slot
	Count          int
	Width, Height  int
	DType          transform.DType
	Layout         transform.Layout
	Color          transform.Color
	Affine         transform.Affine
	Mean, Std      [3]float64
	Fingerprint    string
	// Late says that the slots had been announced as a gap before.
	Late bool
	// Limit is the size in bytes above which tensors are sent in parts; 0 for no limit.
	Limit int
}

func (r tensors) tensor(slot source.Slot) *transform.Tensor {
	spec := transform.Spec{
		Color: r.Color, DType: r.DType, Layout: r.Layout, Scale: 1. / 255, Mean: r.Mean, Std: r.Std,
	}
	channels := r.Color.Channels()
	shape := []int{1, channels, r.Height, r.Width}
	if r.Layout == transform.NHWC {
		shape = []int{1, r.Height, r.Width, channels}
	}
	data := make([]byte, channels*r.Height*r.Width*r.DType.Size())
	for i := range data {
		data[i] = byte(i)
	}
	return &transform.Tensor{
		Stream: r.Stream, Slot: slot, Capture: slot.Time().Add(7 * time.Millisecond),
		Output: &transform.Output{Name: r.Output, Fingerprint: r.Fingerprint, Spec: spec},
		Shape:  shape, Source: image.Pt(1920, 1080), Affines: []transform.Affine{r.Affine}, Data: data,
	}
}

// tensors publishes tensors, and replies with how long all of them took and how long the
// slowest took, in seconds.
func (f *feeder) tensors(ctx context.Context, r tensors) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	start, longest := time.Now(), time.Duration(0)
	subject := "cvf.t." + r.Stream + "." + r.Output
	for i := range r.Count {
		began := time.Now()
		parts := []publish.Message{publish.NewMessage(subject, r.tensor(r.Slot+source.Slot(200*i)))}
		if r.Late {
			parts[0].Header[publish.HeaderLate] = []string{"true"}
		}
		if r.Limit > 0 {
			var err error
			if parts, err = publish.Split(parts[0], r.Limit); err != nil {
				return nil, err
			}
		}
		for _, m := range parts {
			if err := f.send(ctx, m); err != nil {
				return nil, err
			}
		}
		longest = max(longest, time.Since(began))
	}
	err := f.conn.Flush(ctx)
	return map[string]float64{"seconds": time.Since(start).Seconds(), "longest": longest.Seconds()}, err
}

func (f *feeder) gap(ctx context.Context, g publish.Gap) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return nil, errors.Join(f.live.Gap(ctx, g, nil), f.conn.Flush(ctx))
}

// inlineGap publishes a gap on the subject of the output detector.
func (f *feeder) inlineGap(ctx context.Context, g publish.Gap) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	output := &transform.Output{Name: "detector", Fingerprint: "3f2a"}
	m := publish.NewInlineGap("cvf.t."+g.Stream+".detector", g, output)
	return nil, errors.Join(f.send(ctx, m), f.conn.Flush(ctx))
}

// send publishes a message, whether or not anybody listens yet.
func (f *feeder) send(ctx context.Context, m publish.Message) error {
	if err := f.live.Publish(ctx, m); !errors.Is(err, publish.ErrUnwatched) {
		return err
	}
	return nil
}

// restart stops the server and starts it again at the same address.
func (f *feeder) restart(context.Context, struct{}) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stop()
	u, err := url.Parse(f.url)
	if err != nil {
		return nil, err
	}
	return nil, f.start(u.Host)
}
