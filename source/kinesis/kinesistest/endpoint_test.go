package kinesistest_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestDeadEndpointsAnswerSilently: in the way that is asked for.
func TestDeadEndpointsAnswerSilently(t *testing.T) {
	for way, want := range map[int]string{1: "ResourceNotFoundException", 2: "InvalidArgumentException", 3: "0 images", 4: "NO_MEDIA"} {
		fakeTime(t, kinesistest.Faults{Rotate: time.Minute, DeadAnswers: way}, func(t *testing.T, c *client, begin time.Time) {
			out, err := c.data.GetImages(t.Context(), ask(begin, begin.Add(time.Second)), at(aws.String(c.url+"/e/1")))
			got := code(err)
			switch {
			case err != nil:
			case len(out.Images) == 0 && out.Images != nil:
				got = "0 images"
			case len(out.Images) == 6:
				got = string(out.Images[5].Error)
			}
			if got != want {
				t.Errorf("%d: %q (%v), want %q", way, got, err, want)
			}
		})
	}
}
