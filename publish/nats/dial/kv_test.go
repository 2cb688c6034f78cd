package dial_test

import (
	"testing"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

func TestBucketKeys(t *testing.T) {
	for _, key := range []string{"cam-1", "a.b=c d", "cam@2026-01-02T03:04:05.000Z", "ü", ""} {
		if got := dial.DecodeKey(dial.EncodeKey(key)); got != key {
			t.Errorf("%q comes back as %q", key, got)
		}
	}
}
