package feedertest

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// A Span is what a stored message stands for: one slot, or those of a gap.
type Span struct {
	First, Last time.Time
	Gap         string // its reason, "" for a tensor
	End         bool   // it is the end of a replay
}

// Stored returns what the JetStream stream of tensors holds, in order, by subject.
func Stored(t *testing.T, url string) map[string][]Span {
	t.Helper()
	return StoredIn(t, url, dial.DefaultStream)
}

// StoredIn is Stored for a JetStream stream of any name.
func StoredIn(t *testing.T, url, name string) map[string][]Span {
	t.Helper()
	nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]Span{}
	for seq := stream.CachedInfo().State.FirstSeq; seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		at := func(name string) time.Time {
			v, err := time.Parse(time.RFC3339, m.Header.Get(name))
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		s := Span{First: at("Cvf-Time"), Gap: m.Header.Get("Cvf-Gap"), End: m.Header.Get("Cvf-End") != ""}
		if s.Last = s.First; s.Gap != "" {
			s.Last = at("Cvf-Gap-To")
		}
		got[m.Subject] = append(got[m.Subject], s)
	}
	return got
}

// CheckOnce checks that spans cover each slot of a range exactly once, in order. Without
// all, slots may be missing, but none may come twice or out of order.
func CheckOnce(t *testing.T, subject string, spans []Span, from, to time.Time, interval time.Duration, all bool) {
	t.Helper()
	next := from
	if over := from.UnixMilli() % interval.Milliseconds(); over != 0 {
		next = from.Add(interval - time.Duration(over)*time.Millisecond)
	}
	gaps := 0
	for _, s := range spans {
		if s.Gap != "" {
			gaps++
		}
		if s.First.Before(next) || all && !s.First.Equal(next) {
			t.Errorf("%s: %v came where %v is next", subject, s.First, next)
			return
		}
		next = s.Last.Add(interval)
	}
	if all && next.Before(to) {
		t.Errorf("%s: ends before %v", subject, next)
	}
	t.Logf("%s: %d messages, %d of them gaps", subject, len(spans), gaps)
}
