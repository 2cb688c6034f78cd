package kinesis_test

import (
	"hash/crc32"
	"testing"
)

// sample skips a test of a long simulated time, unless it is one of the tenth that also runs
// when time is short, and with the race detector, which takes ten times as long. It is always
// the same tenth.
func sample(t *testing.T) {
	t.Helper()
	if (testing.Short() || raceDetector) && crc32.ChecksumIEEE([]byte(t.Name()))%10 != 0 {
		t.Skip("one of many simulations: runs without -short and -race")
	}
}
