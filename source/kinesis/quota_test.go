package kinesis_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestRetriesKeepWithinTheAccount has a thousand streams located at once where every
// second request is throttled, and counts the requests of each second.
func TestRetriesKeepWithinTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cameras := kinesistest.Cameras(1000)
		s := serve(t, kinesistest.Options{Streams: cameras, Faults: kinesistest.Faults{ThrottleEndpoint: 0.5}}, kinesis.Options{})
		w := past(1)
		var wg sync.WaitGroup
		for _, camera := range cameras {
			wg.Go(func() {
				for _, err := range s.stream(camera.Name).Images(t.Context(), w) {
					if err != nil {
						return // a few are unlucky for a minute
					}
				}
			})
		}
		wg.Wait()
		seconds := map[int64]int{}
		for _, r := range s.Requests() {
			if r.Operation == "GetDataEndpoint" {
				seconds[r.Time.Unix()]++
			}
		}
		for second, n := range seconds {
			if n > 300 {
				t.Errorf("%d requests in second %d", n, second)
			}
		}
		if n := s.count("GetDataEndpoint"); n <= len(cameras) {
			t.Errorf("%d requests in all: nothing was tried again", n)
		}
	})
}
