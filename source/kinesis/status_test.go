package kinesis_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestPollThroughChanges polls a stream for which something changes for a while, and comes
// back by itself: nothing is lost that was there long enough to be asked for.
func TestPollThroughChanges(t *testing.T) {
	for name, faults := range map[string]kinesistest.Faults{
		"the stream is updated":              {Updating: 0.5},
		"the stream is deleted and created":  {Recreate: 4 * time.Minute, AwayFor: 30 * time.Second},
		"away for long":                      {Recreate: 10 * time.Minute, AwayFor: 4 * time.Minute},
		"the retention is 0 for a while":     {NoRetention: 4 * time.Minute, AwayFor: 30 * time.Second},
		"the credentials expire for a while": {ExpiredCredentials: 0.2},
		"tokens expire at once":              {TokenLife: time.Millisecond, PageSize: 4},
		"tokens expire, and pages are slow":  {TokenLife: 2 * time.Second, PageSize: 12, Slow: 0.5, SlowBy: 4 * time.Second},
		"good tokens are refused":            {BadTokens: 0.1, PageSize: 6, DenyListFragments: true},
		"tokens expire amid empty pages":     {TokenLife: time.Second, EmptyPages: 0.3, EmptyRun: 4, Slow: 0.3, SlowBy: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			sample(t)
			synctest.Test(t, func(t *testing.T) {
				got := pollAll(t, kinesistest.Options{Streams: kinesistest.Cameras(1), Faults: faults, Seed: 5}, 20*time.Minute, 10*time.Second)
				if got.missing > 0 || got.ledger.Pending != 0 {
					t.Errorf("%+v", got)
				}
				if got.ledger.Ended[source.Published] == 0 {
					t.Error("nothing arrived")
				}
			})
		})
	}
}
