package publishtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// perSubject is how many messages a subject gets at most.
const perSubject = 30

// outputs are those of each stream.
var outputs = [...]string{"detector", "classifier"}

// routes returns where the tensors of a stream go.
func routes(stream string) []publish.Route {
	var all []publish.Route
	for _, name := range outputs {
		spec := transform.Spec{Color: transform.Gray, DType: transform.Uint8, Layout: transform.NCHW, Scale: 1, Std: [3]float64{1, 1, 1}}
		all = append(all, publish.Route{
			Output:  &transform.Output{Name: name, Spec: spec, Fingerprint: "test"},
			Subject: "cvf.t." + stream + "." + name,
		})
	}
	return all
}

// slot returns the i-th one.
func slot(i int) source.Slot { return 1767322985200 + source.Slot(i)*200 }

// tensor returns the message of a tensor of a slot, with so many bytes.
func tensor(stream string, r publish.Route, s source.Slot, size int) publish.Message {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(int(s)/200 + i>>10)
	}
	return publish.NewMessage(r.Subject, &transform.Tensor{
		Stream: stream, Slot: s, Capture: s.Time(), Output: r.Output, Shape: []int{1, 1, 1, size}, Source: image.Pt(1920, 1080),
		Affines: []transform.Affine{{1, 0, 0, 0, 1, 0}}, Data: data,
	})
}

// sizes are those of tensors around what a client may buffer, or treat in another way.
func size() int {
	sizes := [...]int{1, 100, 10_000, 31_000, 32 << 10, 63_000, 64 << 10, 70_000, 130_000}
	return sizes[rand.IntN(len(sizes))]
}

func send(t *testing.T, h Harness, m publish.Message) {
	t.Helper()
	if err := h.Delivery.Publish(t.Context(), m); err != nil {
		t.Errorf("%s, slot %v: %v", m.Subject, m.Header[publish.HeaderTime], err)
	}
}

func confirm(t *testing.T, h Harness) {
	t.Helper()
	if err := h.Delivery.Confirm(t.Context()); err != nil {
		t.Errorf("confirm: %v", err)
	}
}

// receive waits until as many messages have come on a subject, and compares them.
func receive(t *testing.T, h Harness, subject string, want ...publish.Message) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for got := h.Received(subject); ; got = h.Received(subject) {
		if len(got) >= len(want) {
			if err := same(got, want); err != nil {
				t.Errorf("%s: %v", subject, err)
			}
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: %d of %d messages came", subject, len(got), len(want))
		}
	}
}

// same returns how messages differ from those that are wanted. The broker may have added
// headers.
func same(got, want []publish.Message) error {
	for i := range got {
		if i >= len(want) {
			return fmt.Errorf("%d messages came, %d were published", len(got), len(want))
		}
		for name, values := range want[i].Header {
			if fmt.Sprint(got[i].Header[name]) != fmt.Sprint(values) {
				return fmt.Errorf("message %d: %s is %q, not %q", i, name, got[i].Header[name], values)
			}
		}
		if !bytes.Equal(got[i].Data, want[i].Data) {
			return fmt.Errorf("message %d has other data: %d bytes, not %d", i, len(got[i].Data), len(want[i].Data))
		}
	}
	return nil
}

// testOrder publishes messages of all sizes on several subjects, by one goroutine.
func testOrder(t *testing.T, h Harness) {
	want := map[string][]publish.Message{}
	for i := range perSubject {
		for _, stream := range []string{"cam-1", "cam-2"} {
			for _, r := range routes(stream) {
				m := tensor(stream, r, slot(i), size())
				send(t, h, m)
				want[r.Subject] = append(want[r.Subject], m)
			}
		}
	}
	confirm(t, h)
	for subject, messages := range want {
		receive(t, h, subject, messages...)
	}
}

// testConcurrent has a goroutine for each subject, and others that confirm.
func testConcurrent(t *testing.T, h Harness) {
	var mu sync.Mutex
	want := map[string][]publish.Message{}
	var busy sync.WaitGroup
	for _, stream := range []string{"cam-1", "cam-2"} {
		for _, r := range routes(stream) {
			busy.Go(func() {
				var sent []publish.Message
				for i := range perSubject / 2 {
					m := tensor(stream, r, slot(i), size())
					send(t, h, m)
					sent = append(sent, m)
					h.Delivery.Watched(r.Subject)
				}
				mu.Lock()
				defer mu.Unlock()
				want[r.Subject] = sent
			})
		}
		busy.Go(func() {
			for range 5 {
				confirm(t, h)
			}
		})
	}
	busy.Wait()
	confirm(t, h)
	for subject, messages := range want {
		receive(t, h, subject, messages...)
	}
}

// testData overwrites the data of each message once it is published.
func testData(t *testing.T, h Harness) {
	r := routes("cam-1")[0]
	var want []publish.Message
	for i, size := range []int{100, 40_000, 300_000} {
		m := tensor("cam-1", r, slot(i), size)
		kept := m
		kept.Data = bytes.Clone(m.Data)
		send(t, h, m)
		clear(m.Data)
		want = append(want, kept)
	}
	confirm(t, h)
	receive(t, h, r.Subject, want...)
}

// testGap tells of a gap between two tensors, and of another one after them.
func testGap(t *testing.T, h Harness) {
	const stream = "cam-1"
	all := routes(stream)
	want := map[string][]publish.Message{}
	var events []publish.Message
	tensors := func(i int) {
		for _, r := range all {
			m := tensor(stream, r, slot(i), size())
			send(t, h, m)
			want[r.Subject] = append(want[r.Subject], m)
		}
	}
	gap := func(from, to int) {
		g := publish.Gap{Stream: stream, From: slot(from), To: slot(to), Slots: to - from + 1, Reason: source.NoMedia.String()}
		if err := h.Delivery.Gap(t.Context(), g, all); err != nil {
			t.Errorf("gap: %v", err)
		}
		event, err := publish.NewGapMessage(g)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
		for _, r := range all {
			if h.Gaps == publish.InlineGaps {
				want[r.Subject] = append(want[r.Subject], publish.NewInlineGap(r.Subject, g, r.Output))
			}
		}
	}
	tensors(0)
	gap(1, 3)
	tensors(4)
	gap(5, 5)
	confirm(t, h)
	tensors(6)
	confirm(t, h)
	for subject, messages := range want {
		receive(t, h, subject, messages...)
	}
	if h.Gaps != publish.GapEvents {
		events = nil
	}
	receive(t, h, publish.GapSubject(stream), events...)
}

// testWatched: the subjects of the consumer are watched, before the first message and
// after it has arrived.
func testWatched(t *testing.T, h Harness) {
	r := routes("cam-1")[0]
	var want []publish.Message
	for i := range 10 {
		if !h.Delivery.Watched(r.Subject) {
			t.Errorf("not watched after %d messages", i)
		}
		m := tensor("cam-1", r, slot(i), 100)
		send(t, h, m)
		confirm(t, h)
		want = append(want, m)
	}
	receive(t, h, r.Subject, want...)
}

// testInterest: somebody begins to listen, and leaves. Asking publishes nothing, and after the
// end nobody can tell.
func testInterest(t *testing.T, h Harness) {
	if h.Quiet == "" {
		t.Skip("the delivery has one reader")
	}
	until := func(want bool) {
		t.Helper()
		limit := time.Now().Add(10 * time.Second)
		for {
			some, err := h.Delivery.Interest(t.Context(), h.Quiet)
			switch {
			case err != nil:
				t.Fatal(err)
			case some == want:
				return
			case time.Now().After(limit):
				t.Fatalf("somebody listens: %v, for ten seconds", some)
			}
		}
	}
	until(false)
	leave := h.Listen()
	until(true)
	leave()
	until(false)
	if got := h.Received(h.Quiet); len(got) > 0 {
		t.Errorf("asking has published %d messages", len(got))
	}
	h.Close()
	var drop *publish.DropError
	if some, err := h.Delivery.Interest(t.Context(), h.Quiet); some || !errors.As(err, &drop) {
		t.Errorf("closed: %v, %v", some, err)
	}
}

// testEndedContext: nothing is delivered, and the error is that of the context.
func testEndedContext(t *testing.T, h Harness) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	all := routes("cam-1")
	if err := h.Delivery.Publish(ended, tensor("cam-1", all[0], slot(0), 100)); !errors.Is(err, context.Canceled) {
		t.Errorf("publish: %v", err)
	}
	g := publish.Gap{Stream: "cam-1", From: slot(0), To: slot(0), Slots: 1, Reason: source.NoMedia.String()}
	if err := h.Delivery.Gap(ended, g, all); !errors.Is(err, context.Canceled) && h.Gaps != publish.NoGaps {
		t.Errorf("gap: %v", err)
	}
	after := tensor("cam-1", all[0], slot(1), 100)
	send(t, h, after)
	confirm(t, h)
	receive(t, h, all[0].Subject, after)
}

// testClosed: what is published after the end is dropped, and says so.
func testClosed(t *testing.T, h Harness) {
	all := routes("cam-1")
	before := tensor("cam-1", all[0], slot(0), 100)
	send(t, h, before)
	confirm(t, h)
	receive(t, h, all[0].Subject, before)
	h.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	g := publish.Gap{Stream: "cam-1", From: slot(2), To: slot(2), Slots: 1, Reason: source.NoMedia.String()}
	errs := map[string]error{"publish": h.Delivery.Publish(ctx, tensor("cam-1", all[0], slot(1), 100))}
	if h.Gaps != publish.NoGaps {
		errs["gap"] = h.Delivery.Gap(ctx, g, all)
	}
	for what, err := range errs {
		var drop *publish.DropError
		if !errors.As(err, &drop) || drop.Reason != publish.DropClosed {
			t.Errorf("%s after the end: %v", what, err)
		}
	}
}
