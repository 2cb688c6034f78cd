package consume_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/publish/internal/conntest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/embedded"
	"github.com/cvfeeder/cvfeeder/publish/nats/natstest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

func TestMain(m *testing.M) { natstest.VerifyNoLeaks(m) }

const subject = conntest.Subject

var gray = &transform.Output{Name: "detector", Fingerprint: "3f2a", Spec: transform.Spec{
	Color: transform.Gray, DType: transform.Uint8, Layout: transform.NCHW, Scale: 1, Std: [3]float64{1, 1, 1},
}}

// picture returns the message of a tensor of 4096 bytes, all of which are n, for
// slot n of the stream cam-1.
func picture(n int) publish.Message {
	return publish.NewMessage(subject, &transform.Tensor{
		Stream: "cam-1", Slot: source.Slot(n * 200), Capture: source.Slot(n * 200).Time(), Output: gray,
		Shape: []int{1, 1, 64, 64}, Source: image.Pt(64, 64), Affines: []transform.Affine{{1, 0, 0, 0, 1, 0}},
		Data: bytes.Repeat([]byte{byte(n)}, 64*64),
	})
}

func parts(t testing.TB, m publish.Message) []publish.Message {
	t.Helper()
	split, err := publish.Split(m, 2200)
	if err != nil {
		t.Fatal(err)
	}
	if len(split) != 3 {
		t.Fatalf("%d parts", len(split))
	}
	return split
}

func gapOf(from, to int) publish.Gap {
	return publish.Gap{Stream: "cam-1", From: source.Slot(from * 200), To: source.Slot(to * 200), Slots: to - from + 1, Reason: "no_media"}
}

// show returns a delivery in few words.
func show(d consume.Delivery, err error) string {
	switch {
	case err != nil:
		return "error"
	case d.Gap != nil:
		return fmt.Sprintf("gap %d to %d %s", d.Gap.From/200, d.Gap.To/200, d.Output)
	case bytes.Count(d.Data, d.Data[:1]) != 64*64 || int64(d.Data[0]) != d.Time.UnixMilli()/200 || d.Subject != subject:
		return "another picture"
	case d.Late:
		return fmt.Sprintf("%d late", d.Data[0])
	default:
		return fmt.Sprint(d.Data[0])
	}
}

// shown returns the next n deliveries of a subscription.
func shown(t *testing.T, sub *consume.Subscription, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got []string
	for d, err := range sub.Tensors(ctx) {
		if broken := (*consume.MessageError)(nil); err != nil && !errors.As(err, &broken) {
			t.Fatal(err)
		}
		if got = append(got, show(d, err)); len(got) == n {
			break
		}
	}
	return got
}

func TestTensors(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{Server: srv})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub := conntest.Subscribe(t, srv.ClientURL(), subject)
	conntest.WaitConnected(t, conn, sub)
	short, noPart := picture(6), parts(t, picture(6))[0]
	short.Data = short.Data[1:]
	noPart.Header[publish.HeaderChunk] = []string{"0/3"}
	first, lost := parts(t, picture(1)), parts(t, picture(4))
	for _, m := range []publish.Message{
		picture(0), first[0], first[1], first[1], first[2],
		publish.NewInlineGap(subject, gapOf(2, 3), gray),
		lost[0], lost[2], picture(5), short, noPart, picture(7),
	} {
		conntest.Send(t, live, m)
	}
	want := []string{"0", "1", "gap 2 to 3 detector", "5", "error", "error", "7"}
	if diff := cmp.Diff(want, shown(t, sub, len(want))); diff != "" {
		t.Error(diff)
	}
	if sub.Incomplete() != 1 || sub.Missed() != 0 {
		t.Errorf("%d incomplete, %d missed", sub.Incomplete(), sub.Missed())
	}
	sub.Close()
	for d, err := range sub.Tensors(t.Context()) {
		t.Errorf("after Close: %s", show(d, err))
	}
}

// TestSubscribeNewestLate: what a camera uploads later does not take the place of its newest
// picture.
func TestSubscribeNewestLate(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{Server: srv})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub, err := consume.SubscribeNewest(dial.Options{URL: srv.ClientURL()}, subject)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	conntest.WaitConnected(t, conn, sub)
	late := func(n int) publish.Message {
		m := picture(n)
		m.Header[publish.HeaderLate] = []string{"true"}
		return m
	}
	send := []publish.Message{picture(80), late(10), late(11), picture(81), late(12)}
	for _, m := range append(send, parts(t, late(13))...) {
		conntest.Send(t, live, m)
	}
	natstest.Eventually(t, "all pictures came", func() bool { return sub.Missed() == 4 })
	if diff := cmp.Diff([]string{"81", "13 late"}, shown(t, sub, 2)); diff != "" {
		t.Error(diff)
	}
}

func TestSubscribeNewest(t *testing.T) {
	srv := natstest.Serve(t, embedded.Options{})
	conn := conntest.Dial(t, dial.Options{Server: srv})
	live := deliver.NewLive(conn, publish.GapEvents)
	sub, err := consume.SubscribeNewest(dial.Options{URL: srv.ClientURL()}, subject, "cvf.gap.cam-1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	conntest.WaitConnected(t, conn, sub)
	gap, err := publish.NewGapMessage(gapOf(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	conntest.Send(t, live, gap)
	if diff := cmp.Diff([]string{"gap 1 to 2 "}, shown(t, sub, 1)); diff != "" {
		t.Error(diff)
	}
	lost := parts(t, picture(98))
	for n := range 98 {
		conntest.Send(t, live, picture(n))
	}
	conntest.Send(t, live, lost[0])
	for _, p := range parts(t, picture(99)) {
		conntest.Send(t, live, p)
	}
	natstest.Eventually(t, "99 pictures came", func() bool { return sub.Missed() == 98 })
	if diff := cmp.Diff([]string{"99"}, shown(t, sub, 1)); diff != "" {
		t.Error(diff)
	}
	conntest.Send(t, live, picture(100))
	if diff := cmp.Diff([]string{"100"}, shown(t, sub, 1)); diff != "" {
		t.Error(diff)
	}
	if sub.Incomplete() != 1 || sub.Missed() != 98 {
		t.Errorf("%d incomplete, %d missed", sub.Incomplete(), sub.Missed())
	}
}
