package kinesis_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// TestNaivePollerLosesFrames keeps the loop that one would write first, for comparison:
// every five seconds it asks for the five seconds before, takes what comes, and never looks
// back. It gets images of a fragment only if the whole fragment, and the delay until it is
// visible, fit into one window. The manual quotes the figure.
func TestNaivePollerLosesFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			window, fragment, delay = 5 * time.Second, 2 * time.Second, 1500 * time.Millisecond
			length                  = 20 * time.Minute
		)
		s := serve(t, kinesistest.Options{Fragment: fragment, Delay: delay}, kinesis.Options{})
		stream := s.stream("cam-1")
		got, predicted := 0, 0
		for begin := time.Now(); time.Since(begin) < length; {
			time.Sleep(window)
			end := time.Now()
			found, _, err := collect(t, stream, poll.Window{
				Start: source.SlotAt(end.Add(-window)), End: source.SlotAt(end.Add(-source.MinInterval)), Interval: source.MinInterval,
			})
			if err != nil {
				t.Fatal(err)
			}
			got += len(found)
			first := end.Add(-window).Add(fragment - 1).Truncate(fragment)
			for start := first; !start.Add(fragment + delay).After(end); start = start.Add(fragment) {
				predicted += int(fragment / source.MinInterval)
			}
		}
		all := float64(length / source.MinInterval)
		t.Logf("lost %.0f%% of the frames", 100*(1-float64(got)/all))
		if got != predicted || float64(got) > 0.5*all {
			t.Errorf("got %d of %.0f frames, %d are predicted", got, all, predicted)
		}
	})
}
