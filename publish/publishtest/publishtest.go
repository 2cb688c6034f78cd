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

// A Harness is a delivery that is ready to publish, with a view of what arrives.
type Harness struct {
	Delivery publish.Delivery
	// Gaps is how the delivery announces gaps.
	Gaps publish.GapMode
	// Received returns the messages on a subject that a consumer has received so far,
	// or would receive now, in order. The consumer has subscribed before the first
	// message, to "cvf.t.cam-1.*" and "cvf.t.cam-2.*", with up to thirty messages for
	// each subject, and to "cvf.gap.cam-1" if Gaps is [publish.GapEvents]. Headers that
	// the broker adds are ignored.
	Received func(subject string) []publish.Message
	// Quiet is a subject that nobody listens to, until Listen makes somebody do so as the
	// readers of the delivery do. It is "" for a delivery to a reader that is there from the
	// beginning to the end.
	Quiet  string
	Listen func() (leave func())
	// Close closes the delivery, or the connection that it uses.
	Close func()
}

// TestDelivery runs the suite. open returns a new delivery, which has delivered nothing
// yet, and lasts as long as the test.
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
		{"interest", testInterest},
		{"ended context", testEndedContext},
		{"closed", testClosed},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(t, open(t)) })
	}
}
