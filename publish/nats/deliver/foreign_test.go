package deliver_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/nats-io/nats.go"
)

// TestForeignMessages: a message of somebody else on a subject says nothing of what was
// delivered, is told, and ends nothing.
func TestForeignMessages(t *testing.T) {
	own := conntest.TensorMessage(subject, conntest.Slot(1000), 100)
	for name, forge := range map[string]func(h nats.Header){
		"without headers": func(h nats.Header) { clear(h) },
		"of the year 9999": func(h nats.Header) {
			h.Set(publish.HeaderTime, "9999-01-01T00:00:00.000Z")
		},
		"of the year 9999, with an identity": func(h nats.Header) {
			at := source.SlotAt(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
			h.Set(publish.HeaderTime, at.String())
			h.Set(publish.HeaderMsgID, publish.MessageID(h.Get(publish.HeaderStream), at, h.Get(publish.HeaderOutput), h.Get(publish.HeaderSpec)))
		},
		"of another stream": func(h nats.Header) { h.Set(publish.HeaderStream, "cam-2") },
		"of another output": func(h nats.Header) { h.Set(publish.HeaderOutput, "other") },
		"of another spec":   func(h nats.Header) { h.Set(publish.HeaderSpec, "other") },
		"with no identity":  func(h nats.Header) { h.Del(publish.HeaderMsgID) },
		"with another slot's": func(h nats.Header) {
			h.Set(publish.HeaderMsgID, conntest.TensorMessage(subject, conntest.Slot(3), 100).Header[publish.HeaderMsgID][0])
		},
		"a gap of 1,000 years": func(h nats.Header) {
			h.Set(publish.HeaderGap, "no_media")
			h.Set(publish.HeaderGapTo, "3026-01-01T00:00:00.000Z")
		},
	} {
		for kind, limits := range map[string]bool{"workqueue": false, "limits": true} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				url, conn, js := conntest.Store(t)
				var foreign atomic.Int32
				o := options()
				o.Stream.Limits = limits
				o.OnForeign = func(string) { foreign.Add(1) }
				pub := durable(t, conn, o)
				conntest.Send(t, pub, conntest.TensorMessage(subject, conntest.Slot(0), 100))
				h := nats.Header{}
				for k, v := range own.Header {
					h[k] = slices.Clone(v)
				}
				forge(h)
				if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: h}); err != nil {
					t.Fatal(err)
				}
				again := durable(t, conntest.Dial(t, dial.Options{URL: url}), o) // as after a restart
				for i := 1; i < 5; i++ {
					conntest.Send(t, again, conntest.TensorMessage(subject, conntest.Slot(i), 100))
				}
				stream, err := js.Stream(t.Context(), dial.DefaultStream)
				if err != nil {
					t.Fatal(err)
				}
				for i := range 4 {
					m, err := stream.GetMsg(t.Context(), uint64(3+i))
					if err != nil {
						t.Fatalf("slot %d: %v", 1+i, err)
					}
					if pos, err := publish.ParsePosition(m.Header); err != nil || pos.Last != conntest.Slot(1+i) {
						t.Errorf("number %d is %v, %v", i, pos.Last, err)
					}
				}
				if n := foreign.Load(); n < 1 || n > 2 {
					t.Errorf("the foreign message was told %d times", foreign.Load())
				}
			})
		}
	}
}
