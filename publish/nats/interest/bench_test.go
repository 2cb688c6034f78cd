package interest_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/interest"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
)

// BenchmarkListeners: one question, the server's part included. A stream asks one a second for
// each output.
func BenchmarkListeners(b *testing.B) {
	srv := natstest.Serve(b, embedded.Options{})
	conn := conntest.Dial(b, dial.Options{URL: srv.ClientURL()})
	conntest.WaitConnected(b, conn)
	asker := interest.New(conn.Control())
	var n atomic.Int64
	b.SetParallelism(100)
	b.RunParallel(func(pb *testing.PB) {
		subject := fmt.Sprintf("cvf.t.cam-%d.detector", n.Add(1))
		for pb.Next() {
			if some, err := asker.Listeners(b.Context(), subject, ""); some || err != nil {
				b.Errorf("%v, %v", some, err)
			}
		}
	})
}
