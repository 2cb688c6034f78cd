package kinesis_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestRetentionIsLearnedAgain: a retention that is changed is known some minutes later, and
// is not asked for more often than that.
func TestRetentionIsLearnedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hours atomic.Int64
		hours.Store(24)
		s := serve(t, kinesistest.Options{Intercept: func(r kinesistest.Request) *kinesistest.ErrorResponse {
			if r.Operation != "DescribeStream" {
				return nil
			}
			return &kinesistest.ErrorResponse{Status: http.StatusOK, Body: fmt.Sprintf(
				`{"StreamInfo":{"StreamName":"cam-1","Status":"ACTIVE","DataRetentionInHours":%d}}`, hours.Load())}
		}}, kinesis.Options{})
		stream := s.stream("cam-1")
		if err := stream.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, changed := range []int64{1, 48} {
			hours.Store(changed)
			for range 60 {
				time.Sleep(10 * time.Second)
				if _, _, err := collect(t, stream, past(11)); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := stream.Retention(), time.Duration(changed)*time.Hour; got != want {
				t.Errorf("the retention is %v, want %v", got, want)
			}
		}
		if n := s.count("DescribeStream"); n > 6 {
			t.Errorf("it was asked for %d times in 20 minutes", n)
		}
	})
}
