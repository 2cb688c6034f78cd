package clients

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/publish/nats/reply"
	"github.com/cvfeeder/cvfeeder/transform"
)

// ranges are what a client is sent that asks for them.
type ranges struct{ Sent, Ended atomic.Int64 }

// serveRanges answers requests for ranges on a server of their own, for the length of the test.
// The outputs "large" and "dear" are tensors in parts, and those that cost too much.
func serveRanges(t *testing.T) (url string) {
	t.Helper()
	server := natstest.Serve(t, embedded.Options{}).ClientURL()
	conn, err := dial.Dial(dial.Options{URL: server})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	r := &ranges{}
	go func() {
		served <- frames.Serve(ctx, conn, frames.Options{
			Rates: frames.NewRates(1000, 1000),
			Streams: func(string) (any, error) {
				return map[string]int64{"sent": r.Sent.Load(), "ended": r.Ended.Load()}, nil
			},
			Ranges: &frames.Ranges{Read: r.read, MostPerAsker: 4, Split: func(m publish.Message, limit int) ([]publish.Message, error) {
				return publish.Split(m, min(limit, 4<<10))
			}},
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-served, conn.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	return server
}

// read sends a tensor for each slot, and a gap for the fourth and the fifth.
func (r *ranges) read(_ context.Context, q frames.RangeRequest, begin func(reply.Summary) (context.Context, *reply.Reply, error)) (int, error) {
	defer r.Ended.Add(1)
	if q.Output == "dear" {
		return 0, &frames.Error{Code: frames.CodeBusy, Text: "too dear", Wait: 90 * time.Second}
	}
	interval := max(q.Interval, 200*time.Millisecond)
	slots := int(q.To.Sub(q.From) / interval)
	ctx, to, err := begin(reply.Summary{Slots: slots, Images: slots + 5})
	if err != nil {
		return 0, err
	}
	of := tensors{
		Stream: q.Stream, Output: q.Output, Width: 4, Height: 2, DType: transform.Float32, Layout: transform.NCHW, Color: transform.RGB,
		Affine: transform.Affine{1, 0, 0, 0, 1, 0}, Std: [3]float64{1, 1, 1}, Fingerprint: "3f2a",
	}
	if q.Output == "large" {
		of.Width, of.Height = 64, 64
	}
	for i := 0; i < slots; i++ {
		s := q.From.Add(time.Duration(i) * interval)
		if i == 3 {
			g := publish.Gap{Stream: q.Stream, From: s, To: s.Add(interval), Slots: 2, Reason: "no_media"}
			err = to.Gap(ctx, g, []publish.Route{{Output: &transform.Output{Name: q.Output, Fingerprint: "3f2a"}}})
			i++
		} else {
			err = to.Publish(ctx, publish.NewMessage("", of.tensor(s)))
		}
		if err != nil {
			return i, err
		}
		r.Sent.Add(1)
		if q.Output == "broken" && i == 5 {
			return i, &frames.Error{Code: frames.CodeUpstream, Text: "no more"}
		}
	}
	return slots + 1, nil
}
