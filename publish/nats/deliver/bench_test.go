package deliver_test

import (
	"fmt"
	"image"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/transform"
)

// BenchmarkPublish sends tensors of the two most usual sizes to a subscriber, in
// turn by Live, with all their headers, and by a bare client, without. What counts
// is messages per second until the last has arrived, which is what the caller
// sees: to be slower by waiting, where CPU time would not tell, is slower too. The
// rounds are short and in pairs, so that whatever else the machine does hits both,
// and the median of the pairs' ratios is taken, for the size with the worse one.
func BenchmarkPublish(b *testing.B) {
	r := newPublishRig(b)
	var ratios []float64
	for _, d := range []transform.DType{transform.Float32, transform.Uint8} {
		t := benchTensor(b, d)
		b.Run(string(d), func(b *testing.B) {
			speed, cpu := r.compare(b, t)
			b.ReportMetric(speed, "speed-ratio")
			b.ReportMetric(cpu, "cpu-ratio")
			ratios = append(ratios, speed)
		})
	}
	b.Run("worse", func(b *testing.B) {
		for b.Loop() {
			continue
		}
		b.ReportMetric(slices.Min(ratios), "publish-vs-nats")
	})
}

// publishRig is a server with both publishers and a subscriber, over TCP.
type publishRig struct {
	live *deliver.Live
	bare *nats.Conn
	got  chan int // bytes of each message that arrives
}

func newPublishRig(b *testing.B) *publishRig {
	b.Helper()
	srv, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(srv.Shutdown)
	r := &publishRig{got: make(chan int, 1024)}
	conn, err := dial.Dial(dial.Options{URL: srv.ClientURL()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(b.Context()) })
	if err := conn.WaitConnected(b.Context()); err != nil {
		b.Fatal(err)
	}
	r.live = deliver.NewLive(conn, publish.GapEvents)
	connect := func() *nats.Conn {
		closed := make(chan struct{})
		nc, err := nats.Connect(srv.ClientURL(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { nc.Close(); <-closed })
		return nc
	}
	r.bare = connect()
	reader := connect()
	sub, err := reader.Subscribe(subject, func(m *nats.Msg) { r.got <- len(m.Data) })
	if err != nil {
		b.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		b.Fatal(err)
	}
	if err := reader.Flush(); err != nil {
		b.Fatal(err)
	}
	return r
}

// compare returns the medians of the ratios of messages per second, and of
// messages per second of the whole process's CPU time, of Live to the bare client.
func (r *publishRig) compare(b *testing.B, t *transform.Tensor) (speed, cpu float64) {
	b.Helper()
	const pairs, roundBytes = 60, 24 << 20
	n := roundBytes / len(t.Data)
	live := func() error { return r.live.Publish(b.Context(), publish.NewMessage(subject, t)) }
	bare := func() error { return r.bare.Publish(subject, t.Data) }
	var speeds, cpus []float64
	for b.Loop() {
		for i := range pairs {
			first, second := live, bare
			if i%2 == 1 { // none is always the one after
				first, second = bare, live
			}
			wall1, cpu1 := r.round(b, first, n, len(t.Data))
			wall2, cpu2 := r.round(b, second, n, len(t.Data))
			if i%2 == 1 {
				wall1, wall2, cpu1, cpu2 = wall2, wall1, cpu2, cpu1
			}
			speeds = append(speeds, wall2.Seconds()/wall1.Seconds())
			cpus = append(cpus, cpu2.Seconds()/cpu1.Seconds())
		}
	}
	slices.Sort(speeds)
	slices.Sort(cpus)
	return speeds[len(speeds)/2], cpus[len(cpus)/2]
}

// round publishes n messages and waits until they have arrived.
func (r *publishRig) round(b *testing.B, send func() error, n, size int) (wall, cpu time.Duration) {
	b.Helper()
	begin, used := time.Now(), cpuTime(b)
	for range n {
		if err := send(); err != nil {
			b.Fatal(err)
		}
	}
	timeout := time.After(10 * time.Second)
	for i := range n {
		select {
		case got := <-r.got:
			if got != size {
				b.Fatalf("a message of %d bytes arrived, want %d", got, size)
			}
		case <-timeout:
			b.Fatalf("%d of %d messages arrived", i, n)
		}
	}
	return time.Since(begin), cpuTime(b) - used
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchTensor returns a tensor of 3x640x640: 4.9 MB as float32, 1.2 MB as uint8.
func benchTensor(b *testing.B, d transform.DType) *transform.Tensor {
	b.Helper()
	spec, err := transform.Preset("yolo")
	if err != nil {
		b.Fatal(err)
	}
	spec.DType = d
	size, _ := spec.Bytes()
	return &transform.Tensor{
		Stream: "cam-1", Slot: 1767322985200, Capture: time.UnixMilli(1767322985180),
		Output: &transform.Output{Name: "detector", Spec: spec, Fingerprint: fmt.Sprintf("%064x", 7)},
		Shape:  []int{1, 3, 640, 640}, Source: image.Pt(1920, 1080),
		Affines: []transform.Affine{{3, 0, 0, 0, 3, -420}}, Data: make([]byte, size),
	}
}
