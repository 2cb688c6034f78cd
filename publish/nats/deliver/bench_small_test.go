package deliver_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// BenchmarkPublishSmall sends messages of and below the size from which they are written
// past the client, one or many at a time. It measures the time and the CPU time that a
// message takes until it has arrived, in microseconds.
func BenchmarkPublishSmall(b *testing.B) {
	srv := natstest.Serve(b, embedded.Options{})
	for way, o := range map[string]dial.Options{"tcp": {URL: srv.ClientURL()}, "in-process": {Server: srv}} {
		for _, burst := range []int{1, 100} {
			for _, size := range []int{0, 4_000, 40_000, 100_000} {
				b.Run(fmt.Sprintf("%s/at-once=%d/%d-bytes", way, burst, size), func(b *testing.B) {
					benchSmall(b, srv.ClientURL(), o, burst, size)
				})
			}
		}
	}
}

func benchSmall(b *testing.B, url string, o dial.Options, burst, size int) {
	conn := conntest.Dial(b, o)
	conntest.WaitConnected(b, conn)
	live := deliver.NewLive(conn, publish.NoGaps)
	reader, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	defer reader.Close()
	got := make(chan struct{}, burst)
	sub, err := reader.Subscribe(subject, func(*nats.Msg) { got <- struct{}{} })
	if err != nil {
		b.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		b.Fatal(err)
	}
	if err := reader.Flush(); err != nil {
		b.Fatal(err)
	}
	m := conntest.TensorMessage(subject, conntest.Slot(1), max(size, 100))
	m.Data = m.Data[:size]
	n := 0
	begin, used := time.Now(), cpuTime(b)
	for b.Loop() {
		for range burst {
			if err := live.Publish(b.Context(), m); err != nil {
				b.Fatal(err)
			}
		}
		for range burst {
			<-got
		}
		n += burst
	}
	b.ReportMetric(float64(time.Since(begin).Microseconds())/float64(n), "µs/message")
	b.ReportMetric(float64((cpuTime(b)-used).Microseconds())/float64(n), "cpu-µs/message")
}
