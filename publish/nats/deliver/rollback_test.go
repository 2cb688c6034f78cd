package deliver_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
)

// TestALostAcknowledgementIsTold: when the server comes back with an earlier state of its
// store, it is told from which slot on each subject has to be published again, once, and
// then the stream holds each slot once, in order.
func TestALostAcknowledgementIsTold(t *testing.T) {
	for name, limits := range map[string]bool{"workqueue": false, "limits": true} {
		for state, consumed := range map[string]bool{"held": false, "consumed": true} {
			t.Run(name+"/"+state, func(t *testing.T) {
				t.Parallel()
				srv := natstest.StartBroker(t)
				conn := conntest.Dial(t, dial.Options{URL: srv.URL(), WriteTimeout: time.Second})
				o := options()
				o.Stream.Limits = limits
				pub := opened(t, conn, deliver.Durable, o)
				subjects := []string{"cvf.t.cam-1.a", "cvf.t.cam-1.b", "cvf.t.cam-2.a"}
				publishAll := func(from, to int) {
					for i := from; i < to; i++ {
						for _, subject := range subjects {
							conntest.Send(t, pub, conntest.TensorMessage(subject, conntest.Slot(i), 1000))
						}
					}
				}
				publishAll(0, 5)
				srv.Save()
				publishAll(5, 9)
				srv.Rollback()
				first := 0
				if consumed {
					first = 5
					purge(t, srv.URL())
				}
				for _, subject := range subjects {
					var lost *publish.LostError
					err := pub.Publish(t.Context(), conntest.TensorMessage(subject, conntest.Slot(9), 1000))
					if !errors.As(err, &lost) || lost.From != conntest.Slot(5) || lost.Subject != subject {
						t.Errorf("%s: what was lost is told as %v", subject, err)
					}
				}
				publishAll(5, 12)
				want := []source.Slot{}
				for i := first; i < 12; i++ {
					want = append(want, conntest.Slot(i))
				}
				got := held(t, srv.URL(), dial.DefaultStream)
				for _, subject := range subjects {
					if !slices.Equal(got[subject], want) {
						t.Errorf("%s: the stream holds %v, not %v", subject, got[subject], want)
					}
				}
				if n := conn.Rollbacks(); n != 1 {
					t.Errorf("the loss was counted %d times", n)
				}
				srv.Restart() // loses nothing
				publishAll(12, 14)
				if n := conn.Rollbacks() + conn.Remakes(); n != 1 {
					t.Errorf("%d losses are counted after a restart that lost nothing", n)
				}
			})
		}
	}
}

// purge removes all messages of the stream, as consumers do with those of a work queue.
func purge(t *testing.T, url string) {
	t.Helper()
	stream, err := conntest.JetStream(t, url).Stream(t.Context(), dial.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
}
