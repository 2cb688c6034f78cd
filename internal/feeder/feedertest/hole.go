package feedertest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// A Hole is a proxy before a server that can become a black hole: connections stay open,
// and nothing arrives any more.
type Hole struct {
	*toxiproxy.Proxy
	// URL is the way to the server through the proxy.
	URL string
}

// NewHole starts a proxy before the server at a URL, for the length of the test.
func NewHole(t *testing.T, url string) *Hole {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled)
	scheme, address, _ := strings.Cut(url, "://")
	proxy := natstest.NewProxy(t, address)
	return &Hole{proxy, scheme + "://" + proxy.Listen}
}

// Swallow makes it a black hole, in both directions.
func (h *Hole) Swallow(t *testing.T) {
	t.Helper()
	for _, direction := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"name": %q, "type": "timeout", "stream": %[1]q, "attributes": {"timeout": 0}}`, direction)
		if _, err := h.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatal(err)
		}
	}
}

// Ways are a fake service with two cameras and NATS with JetStream, each of which can be
// reached directly and through a [Hole].
type Ways struct {
	FakeURL, NATSURL string
	Fake, NATS       *Hole
}

// NewWays starts them for the length of the test.
func NewWays(t *testing.T) *Ways {
	t.Helper()
	w := &Ways{NATSURL: ServeNATS(t)}
	_, w.FakeURL = ServeFake(t, kinesistest.Options{Scene: Grey{}, Streams: kinesistest.Cameras(2), Fragment: time.Second})
	w.Fake, w.NATS = NewHole(t, w.FakeURL), NewHole(t, w.NATSURL)
	return w
}

// CheckStored checks that the stream holds each slot of the two cameras once, in order,
// where cam-1 has an interval of 200 ms and cam-2 of 400 ms, and the output is small.
func (w *Ways) CheckStored(t *testing.T) {
	t.Helper()
	got := Stored(t, w.NATSURL)
	for subject, interval := range map[string]time.Duration{"cvf.t.cam-1.small": 200 * time.Millisecond, "cvf.t.cam-2.small": 400 * time.Millisecond} {
		spans := got[subject]
		if len(spans) == 0 {
			t.Errorf("%s: nothing is stored", subject)
			continue
		}
		CheckOnce(t, subject, spans, spans[0].First, spans[len(spans)-1].Last, interval, true)
	}
}
