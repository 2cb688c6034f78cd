// Package publishtest has the suite that every [publish.Delivery] passes, and a delivery
// in memory, for tests of packages that deliver.
//
//	func TestDelivery(t *testing.T) {
//		publishtest.TestDelivery(t, func(t *testing.T) publishtest.Harness {
//			return … // a delivery, and how to see what it has delivered
//		})
//	}
package publishtest

import (
	"testing"

	"github.com/cvfeeder/cvfeeder/publish"
)

// A Harness is a delivery that is ready to publish, and what its consumers see.
type Harness struct {
	Delivery publish.Delivery
	// Gaps is how the delivery tells of gaps.
	Gaps publish.GapMode
	// Received returns the messages that a consumer of a subject has got so far, or
	// would get now, the first one first. The consumer was there before the first
	// message; its subjects are "cvf.t.cam-1.*" and "cvf.t.cam-2.*", each with up to a
	// hundred messages, and, where the delivery tells of gaps by events,
	// "cvf.gap.cam-1". Headers that the broker has added do not matter.
	Received func(subject string) []publish.Message
	// Close ends what the delivery publishes over.
	Close func()
}

// TestDelivery runs the suite. open returns a new delivery with nothing delivered yet,
// which lasts as long as the test.
func TestDelivery(t *testing.T, open func(t *testing.T) Harness) {
	for _, tc := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"order", testOrder},
		{"concurrent", testConcurrent},
		{"data is not kept", testData},
		{"gap", testGap},
		{"watched", testWatched},
		{"ended context", testEndedContext},
		{"closed", testClosed},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(t, open(t)) })
	}
}
