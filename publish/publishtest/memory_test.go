package publishtest_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/publishtest"
)

func TestMemory(t *testing.T) {
	for _, gaps := range []publish.GapMode{publish.NoGaps, publish.GapEvents, publish.InlineGaps} {
		t.Run(fmt.Sprint(gaps), func(t *testing.T) {
			publishtest.TestDelivery(t, func(*testing.T) publishtest.Harness {
				var closed, listens atomic.Bool
				d := &publishtest.Memory{Gaps: gaps, Fail: func(publish.Message) error {
					if closed.Load() {
						return &publish.DropError{Reason: publish.DropClosed, Err: errors.New("closed")}
					}
					return nil
				}}
				d.Unwatched = func(subject string) bool { return subject == "quiet" && !listens.Load() }
				return publishtest.Harness{
					Delivery: d, Gaps: gaps, Received: d.Received, Close: func() { closed.Store(true) },
					Quiet: "quiet", Listen: func() func() {
						listens.Store(true)
						return func() { listens.Store(false) }
					},
				}
			})
		})
	}
}
