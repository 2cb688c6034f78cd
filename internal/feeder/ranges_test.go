package feeder_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

const rangeConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
delivery: {mode: durable}
streams:
  - {name: cam-1, interval: 200ms, from: %q, to: %q, outputs: [small]}
outputs:
  small: {preset: yolo, size: 32x32, dtype: uint8}
`

// TestDurableRanges: a range that is read again adds nothing; one that is older than
// what the subject holds is refused, as its slots would be taken for delivered.
func TestDurableRanges(t *testing.T) {
	natsURL := feedertest.ServeNATS(t)
	_, fakeURL := feedertest.ServeFake(t, kinesistest.Options{Scene: feedertest.Grey{}, Streams: kinesistest.Cameras(2)})
	noon := time.Now().Add(-time.Hour).Truncate(time.Minute).UTC()
	read := func(from, to time.Time) error {
		o, _ := options(t, rangeConfig, fakeURL, natsURL, from.Format(time.RFC3339), to.Format(time.RFC3339))
		return feeder.New(o).Run(t.Context())
	}
	for range 2 {
		if err := read(noon, noon.Add(20*time.Second)); err != nil {
			t.Fatal(err)
		}
		got := feedertest.Stored(t, natsURL)["cvf.t.cam-1.small"]
		feedertest.CheckOnce(t, "cam-1", got, noon, noon.Add(20*time.Second), 200*time.Millisecond, true)
		if len(got) != 100 {
			t.Errorf("%d messages", len(got))
		}
	}
	err := read(noon.Add(-time.Minute), noon)
	if feeder.ExitCode(err) != feeder.ExitUsage || !strings.Contains(err.Error(), "cannot come in order") {
		t.Errorf("an older range: %v", err)
	}
	if err := read(noon.Add(20*time.Second), noon.Add(30*time.Second)); err != nil {
		t.Errorf("a newer range: %v", err)
	}
	if n := len(feedertest.Stored(t, natsURL)["cvf.t.cam-1.small"]); n != 150 {
		t.Errorf("%d messages in the end", n)
	}
}
