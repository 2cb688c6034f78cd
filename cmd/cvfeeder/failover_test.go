package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const failoverConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
cluster: {group: yard, lease: %v}
streams:
%soutputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

const (
	failoverStreams = 12 // so many that each replica has some: of 6 one had none in 3% of the cases
	failoverLease   = 3 * time.Second
)

// A watchpost sees who asks for which stream, and what arrives.
type watchpost struct {
	mu    sync.Mutex
	last  map[string]string              // who asked for a stream last
	since map[string]time.Time           // when that one began to
	slots map[string]map[source.Slot]int // how often each slot arrived
	order map[string][]source.Slot       // as they arrived
}

func (w *watchpost) asked(r kinesistest.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Operation == "GetImages" && w.last[r.Stream] != r.Client {
		w.last[r.Stream], w.since[r.Stream] = r.Client, r.Time
	}
}

func (w *watchpost) arrived(m publish.Message) {
	pos, err := publish.ParsePosition(m.Header)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	stream := m.Header[publish.HeaderStream][0]
	if w.slots[stream] == nil {
		w.slots[stream] = map[source.Slot]int{}
	}
	w.slots[stream][pos.First]++
	w.order[stream] = append(w.order[stream], pos.First)
}

// of returns the streams that a client asks for.
func (w *watchpost) of(client string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var streams []string
	for stream, c := range w.last {
		if c == client {
			streams = append(streams, stream)
		}
	}
	return streams
}

// moved waits until all streams are another's, and returns how long after begin the
// last one was.
func (w *watchpost) moved(t *testing.T, streams []string, from string, begin time.Time) time.Duration {
	t.Helper()
	inTime(t, func() error {
		for _, s := range w.of(from) {
			if slices.Contains(streams, s) {
				return fmt.Errorf("%s is still %s's", s, from)
			}
		}
		return nil
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := time.Duration(0)
	for _, s := range streams {
		longest = max(longest, w.since[s].Sub(begin))
	}
	return longest
}

func inTime(t *testing.T, check func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestFailover: in the mode live, the streams of a replica that is stopped are another's
// at once, and those of one that was killed or has hung after a lease. No slot is
// missing in the end, and one that wakes up too late publishes nothing.
func TestFailover(t *testing.T) {
	feedertest.Long(t, "takes half a minute")
	t.Parallel()
	w := &watchpost{
		last: map[string]string{}, since: map[string]time.Time{},
		slots: map[string]map[source.Slot]int{}, order: map[string][]source.Slot{},
	}
	a, b := startFailover(t, w)
	both := func() (ofA []string) {
		inTime(t, func() error {
			if ofA = w.of("a"); len(ofA) == 0 || len(w.of("b")) == 0 {
				return fmt.Errorf("a has %d streams, b %d", len(ofA), len(w.of("b")))
			}
			return nil
		})
		<-time.After(failoverLease) // until nothing moves any more, and cursors are saved
		return w.of("a")
	}
	streams := both()
	begin := time.Now()
	a.signal(syscall.SIGTERM)
	stopped := w.moved(t, streams, "a", begin)
	<-a.done
	if a.err != nil {
		t.Errorf("a replica that was stopped: %v\n%s", a.err, a.out)
	}
	a.start()
	streams = both()
	begin = time.Now()
	a.kill()
	killed := w.moved(t, streams, "a", begin)
	a.start()
	streams = both()
	begin = time.Now()
	a.signal(syscall.SIGSTOP)
	paused := w.moved(t, streams, "a", begin)
	<-time.After(failoverLease)
	w.mu.Lock()
	seen := map[string]int{}
	for _, s := range streams {
		seen[s] = len(w.order[s])
	}
	w.mu.Unlock()
	a.signal(syscall.SIGCONT)
	both()
	t.Logf("%d streams: handed over in %v, taken over in %v after a kill and %v after a pause, with a lease of %v",
		failoverStreams, stopped, killed, paused, failoverLease)
	// Room for a busy machine.
	if stopped > failoverLease || killed > 3*failoverLease || paused > 3*failoverLease {
		t.Error("that is too long")
	}
	b.signal(syscall.SIGTERM)
	<-b.done
	w.check(t, seen)
}

// check checks that no slot is missing, and that from the number of messages in seen on
// each stream goes only forwards.
func (w *watchpost) check(t *testing.T, seen map[string]int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for stream, slots := range w.slots {
		first, last, repeats := slices.Min(w.order[stream]), slices.Max(w.order[stream]), 0
		for s := first; s <= last; s = s.Add(source.MinInterval) {
			switch n := slots[s]; n {
			case 0:
				t.Errorf("%s: %v is missing", stream, s)
			default:
				repeats += n - 1
			}
		}
		t.Logf("%s: %d slots, %d came again", stream, len(slots), repeats)
		if from, paused := seen[stream]; paused && from > 0 {
			newest := slices.Max(w.order[stream][:from])
			after := slices.DeleteFunc(slices.Clone(w.order[stream][from:]), func(s source.Slot) bool { return s > newest })
			if len(after) > 0 && after[0] < newest.Add(-10*time.Second) {
				t.Errorf("%s: %v came after %v, from one that had slept", stream, after[0], newest)
			}
		}
	}
	if len(w.slots) != failoverStreams {
		t.Errorf("%d streams were seen", len(w.slots))
	}
}

// startFailover starts two replicas and all that is around them.
func startFailover(t *testing.T, w *watchpost) (a, b *process) {
	t.Helper()
	_, fakeURL := feedertest.ServeFake(t, kinesistest.Options{
		Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(failoverStreams), Fragment: time.Second, Observe: w.asked,
	})
	natsURL := feedertest.ServeNATS(t)
	w.subscribe(t, natsURL)
	var streams strings.Builder
	for i := range failoverStreams {
		fmt.Fprintf(&streams, "  - {name: cam-%d, outputs: [small]}\n", i+1)
	}
	file := filepath.Join(t.TempDir(), "cvfeeder.yaml")
	text := fmt.Sprintf(failoverConfig, fakeURL, natsURL, failoverLease, streams.String())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	both := make([]*process, 2)
	for i, name := range []string{"a", "b"} {
		both[i] = &process{t: t, args: []string{"cvfeeder", "run", "-c", file}, env: []string{"AWS_SDK_UA_APP_ID=" + name}}
		both[i].start()
		t.Cleanup(both[i].kill)
	}
	return both[0], both[1]
}

// subscribe has the watchpost see what arrives, until the test ends.
func (w *watchpost) subscribe(t *testing.T, url string) {
	t.Helper()
	sub, err := consume.Subscribe(dial.Options{URL: url}, "cvf.t.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := sub.Next(t.Context())
			if err != nil {
				return
			}
			w.arrived(m)
		}
	}()
	t.Cleanup(func() { sub.Close(); <-done })
}
