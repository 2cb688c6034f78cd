package streams

import (
	"encoding/json"
	"fmt"
	"image"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// asFake is the environment variable that makes this program the fake service: it has the
// number of streams, and how long the start takes. As a process of its own, its memory does
// not count as memory of the streams.
const asFake = "CVFEEDER_STREAMS_FAKE"

func TestMain(m *testing.M) {
	setting := os.Getenv(asFake)
	if setting == "" {
		os.Exit(m.Run())
	}
	if err := serveFake(setting); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// tiny is a scene of one picture.
type tiny struct{}

func (tiny) Key(string, time.Time) string { return "" }

func (tiny) Picture(string, time.Time) (image.Image, error) {
	return image.NewGray(image.Rect(0, 0, 16, 16)), nil
}

// A tally counts requests by operation.
type tally struct {
	mu sync.Mutex
	// By operation: all requests, those that were throttled, and the most in a second.
	Total, Throttled, Most map[string]int
	// Burst is the most GetImages requests in a tenth of a second, counted like Settled.
	Burst   int
	Settled int // GetImages requests since the start was over

	second, tenth map[string]window
}

type window struct {
	number int64
	n      int
}

func newTally() *tally {
	return &tally{
		Total: map[string]int{}, Throttled: map[string]int{}, Most: map[string]int{},
		second: map[string]window{}, tenth: map[string]window{},
	}
}

func count(in map[string]window, operation string, number int64) int {
	w := in[operation]
	if w.number != number {
		w = window{number: number}
	}
	w.n++
	in[operation] = w
	return w.n
}

func (t *tally) add(r kinesistest.Request, settled bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Total[r.Operation]++
	if r.Fault == "throttle" {
		t.Throttled[r.Operation]++
	}
	t.Most[r.Operation] = max(t.Most[r.Operation], count(t.second, r.Operation, r.Time.Unix()))
	if settled && r.Operation == "GetImages" {
		t.Settled++
		t.Burst = max(t.Burst, count(t.tenth, r.Operation, r.Time.UnixMilli()/100))
	}
}

// serveFake serves until standard input ends, and then prints the tally.
func serveFake(setting string) error {
	var count int
	var settle time.Duration
	if _, err := fmt.Sscan(setting, &count, &settle); err != nil {
		return err
	}
	requests, begin := newTally(), time.Now()
	srv, err := kinesistest.New(kinesistest.Options{
		Streams: kinesistest.Cameras(count), Scene: tiny{}, Fragment: fragment,
		Faults: kinesistest.Faults{Throttle: true}, Records: 1, Instants: 1,
		Observe: func(r kinesistest.Request) { requests.add(r, time.Since(begin) > settle) },
	})
	if err != nil {
		return err
	}
	endpoint, err := srv.Start("127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(endpoint.URL)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	requests.mu.Lock()
	defer requests.mu.Unlock()
	return json.NewEncoder(os.Stdout).Encode(requests)
}

// startFake starts the fake service and returns its URL. Call end to stop it.
func startFake(b *testing.B, l load) (url string, end func() *tally) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), fmt.Sprintf("%s=%d %d", asFake, l.count, l.settle)), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Fscanln(out, &url); err != nil {
		b.Fatal(err)
	}
	return url, func() *tally {
		_ = in.Close()
		requests := newTally()
		if err := json.NewDecoder(out).Decode(requests); err != nil {
			b.Fatal(err)
		}
		_ = cmd.Wait() // the tally is complete, so its exit code does not matter
		return requests
	}
}
