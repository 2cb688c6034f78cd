package consume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/tensor"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// numbered returns a tensor of a stream whose elements are n, with a shape and a spec.
func numbered(t testing.TB, stream string, n int, shape []int, spec string) Delivery {
	t.Helper()
	output := &transform.Output{Name: "detector", Fingerprint: spec, Spec: transform.Spec{
		Color: transform.Gray, DType: transform.Uint8, Layout: transform.NCHW, Scale: 0.5, Mean: [3]float64{1}, Std: [3]float64{2, 1, 1},
	}}
	size := 1
	for _, side := range shape {
		size *= side
	}
	d, err := newDelivery(publish.NewMessage("cvf.t."+stream+".detector", &transform.Tensor{
		Stream: stream, Slot: source.Slot(n * 200), Capture: source.Slot(n * 200).Time(), Output: output,
		Shape: shape, Source: image.Pt(64, 64), Affines: []transform.Affine{{float64(n), 0, 0, 0, 1, 0}},
		Data: bytes.Repeat([]byte{byte(n)}, size),
	}))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// encoded returns an encoded picture.
func encoded(t testing.TB) Delivery {
	t.Helper()
	m := publish.Message{Subject: "cvf.t.a.snapshot", Data: []byte("jpeg"), Header: map[string][]string{}}
	for name, value := range map[string]string{
		"Cvf-Version": "1", "Cvf-Stream": "a", "Cvf-Output": "snapshot", "Cvf-Time": "2026-01-02T03:04:05.200Z",
		"Cvf-Capture": "2026-01-02T03:04:05.200Z", "Content-Type": "image/jpeg", "Content-Length": "4", "Cvf-Shape": "9,9,3",
		"Cvf-Color": "RGB", "Cvf-Source": "9x9", "Cvf-Affine": "1,0,0,0,1,0", "Cvf-Spec": "x",
	} {
		m.Header[name] = []string{value}
	}
	d, err := newDelivery(m)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var small, wide = []int{1, 1, 4, 4}, []int{1, 1, 4, 8}

func inlineGap(t testing.TB, stream string) Delivery {
	t.Helper()
	d, err := newDelivery(publish.NewInlineGap("cvf.t."+stream+".detector", publish.Gap{
		Stream: stream, From: 200, To: 400, Slots: 2, Reason: "no_media",
	}, &transform.Output{Name: "detector", Fingerprint: "3f2a"}))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// from returns deliveries that come from a channel.
func from(items <-chan delivered) func(context.Context) iter.Seq2[Delivery, error] {
	return func(ctx context.Context) iter.Seq2[Delivery, error] {
		return func(yield func(Delivery, error) bool) {
			for {
				select {
				case d, ok := <-items:
					if !ok || !yield(d.Delivery, d.err) {
						return
					}
				case <-ctx.Done():
					return
				}
			}
		}
	}
}

// showBatch returns what a batch holds, in few words.
func showBatch(b Batch, err error) string {
	switch {
	case err != nil:
		return "error"
	case b.Other != nil && b.Other.Gap != nil:
		return "gap " + b.Other.Stream
	case b.Other != nil:
		return "end"
	}
	var numbers []string
	for _, row := range b.Rows {
		numbers = append(numbers, fmt.Sprint(row.Data[0]))
	}
	return strings.Join(numbers, " ")
}

// TestBatched: what comes, at which time, and what is given, after how long.
func TestBatched(t *testing.T) {
	const ms = time.Millisecond
	wait := func(d time.Duration) any { return d }
	for name, c := range map[string]struct {
		feed []any // deliveries, errors, and times to wait
		want []string
	}{
		"full, or due since the first": {
			[]any{numbered(t, "a", 1, small, "x"), numbered(t, "b", 2, small, "x"), numbered(t, "a", 3, small, "x"), numbered(t, "a", 4, small, "x"), wait(30 * ms), numbered(t, "a", 5, small, "x"), wait(100 * ms), numbered(t, "a", 6, small, "x")},
			[]string{"0s: 1 2 3", "50ms: 4 5", "130ms: 6"},
		},
		"shapes and specs": {
			[]any{numbered(t, "a", 1, small, "x"), numbered(t, "b", 2, wide, "x"), wait(10 * ms), numbered(t, "c", 3, small, "y"), numbered(t, "d", 4, wide, "x"), numbered(t, "e", 5, wide, "x"), wait(time.Second)},
			[]string{"10ms: 2 4 5", "50ms: 1", "60ms: 3"},
		},
		"a subject stays in order": {
			[]any{numbered(t, "a", 1, small, "x"), numbered(t, "b", 2, wide, "x"), numbered(t, "a", 3, wide, "x"), wait(time.Second)},
			[]string{"0s: 1", "50ms: 2 3"},
		},
		"gaps": {
			[]any{numbered(t, "a", 1, small, "x"), inlineGap(t, "b"), numbered(t, "b", 2, small, "x"), inlineGap(t, "b"), wait(time.Second)},
			[]string{"0s: gap b", "0s: 1 2", "0s: gap b"},
		},
		"errors": {
			[]any{numbered(t, "a", 1, small, "x"), error(&MessageError{"x", errors.New("broken")}), errors.New("gone")},
			[]string{"0s: error", "0s: 1", "0s: error"},
		},
		"encoded pictures": {
			[]any{numbered(t, "a", 1, small, "x"), encoded(t), numbered(t, "a", 2, small, "x"), wait(time.Second)},
			[]string{"0s: error", "50ms: 1 2"},
		},
		"too many at a time": {
			func() (feed []any) {
				for n := range maxFilling + 2 {
					feed = append(feed, numbered(t, fmt.Sprint(n), n, []int{1, 1, 1, n + 1}, "x"))
				}
				return append(feed, 20*ms)
			}(),
			[]string{"0s: 0", "0s: 1", "20ms: 2", "20ms: 3", "20ms: 4", "20ms: 5", "20ms: 6", "20ms: 7", "20ms: 8", "20ms: 9"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				items := make(chan delivered)
				go func() {
					defer close(items)
					for _, item := range c.feed {
						switch item := item.(type) {
						case Delivery:
							items <- delivered{item, nil}
						case error:
							items <- delivered{err: item}
						case time.Duration:
							time.Sleep(item)
						}
					}
				}()
				var got []string
				for b, err := range Batched(t.Context(), from(items), BatchOptions{Size: 3}) {
					got = append(got, fmt.Sprint(time.Since(start), ": ", showBatch(b, err)))
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestABatchHoldsItsRows(t *testing.T) {
	a := newAssembler(3)
	released := 0
	for n := range 3 {
		d := numbered(t, fmt.Sprint(n), 10*(n+1), small, "x")
		d.release = func() { released++ }
		a.add(delivered{d, nil}, time.Hour)
		if released != n+1 {
			t.Fatalf("the memory of tensor %d is not released", n)
		}
	}
	b := a.ready[0].Batch
	want := slices.Concat(bytes.Repeat([]byte{10}, 16), bytes.Repeat([]byte{20}, 16), bytes.Repeat([]byte{30}, 16))
	if diff := cmp.Diff([]int{3, 1, 4, 4}, b.Shape()); diff != "" || !bytes.Equal(b.Data(), want) {
		t.Errorf("%v %s", b.Data(), diff)
	}
	if pixels, err := b.Uint8s(); err != nil || !bytes.Equal(pixels, want) {
		t.Errorf("%v %v", pixels, err)
	}
	for name, read := range map[string]func() error{
		"float32":  func() error { _, err := b.Float32s(); return err },
		"float16":  func() error { _, err := b.Float16s(); return err },
		"bfloat16": func() error { _, err := b.BFloat16s(); return err },
		"int8":     func() error { _, err := b.Int8s(); return err },
	} {
		if err := read(); err == nil || !strings.Contains(err.Error(), "not "+name) {
			t.Errorf("uint8 is read as %s: %v", name, err)
		}
	}
	values := b.AppendFloat32s([]float32{7})
	if len(values) != 49 || values[1] != 2 || values[17] != 4.5 || values[48] != 7 { // (pixel*0.5 - 1) / 2
		t.Errorf("%v", values)
	}
	for i, row := range b.Rows {
		if &row.Data[0] != &b.Data()[16*i] || len(row.Data) != 16 || cap(row.Data) != 16 {
			t.Errorf("row %d has memory of its own", i)
		}
		if got, want := row.BoxToSource(tensor.Box{MaxX: 2, MaxY: 2}), (tensor.Box{MaxX: float64(min(20*(i+1), 64)), MaxY: 2}); got != want {
			t.Errorf("row %d: %v", i, got)
		}
	}
}

func TestBlocksAreUsedAgainOnceReleased(t *testing.T) {
	a := newAssembler(2)
	next := func(n int) Batch {
		for range 2 {
			a.add(delivered{numbered(t, "a", n, small, "x"), nil}, time.Hour)
		}
		b := a.ready[0].Batch
		a.ready = nil
		return b
	}
	seen := map[*byte]bool{}
	kept := next(1)
	before := next(2)
	for n := 3; n < 20; n++ {
		b := next(n)
		for _, block := range []Batch{b, before} {
			seen[&block.Data()[0]] = true
		}
		if address := uintptr(unsafe.Pointer(&b.Data()[0])); address%blockAlign != 0 {
			t.Errorf("a block begins at %x", address)
		}
		before.Release()
		before.Release() // once is enough
		before = b
	}
	if len(seen) != 2 || seen[&kept.Data()[0]] {
		t.Errorf("%d blocks take turns, want two", len(seen))
	}
	if !bytes.Equal(kept.Data(), bytes.Repeat([]byte{1}, 32)) {
		t.Error("a batch that is not released was overwritten")
	}
	a.blocks.limit = 100
	for range 10 {
		a.blocks.put(make([]byte, 30))
	}
	if a.blocks.idle != 90 || len(a.blocks.free) != 3 {
		t.Errorf("%d bytes wait", a.blocks.idle)
	}
}

// asked is a message of JetStream that notes what it is asked for.
type asked struct {
	jetstream.Msg
	n    int
	acks chan<- string
}

func (m asked) Nak() error { m.acks <- fmt.Sprint("nak ", m.n); return nil }

// TestLeavingBatches: whoever leaves the loop waits for what reads, and JetStream gets back
// what was read and not given.
func TestLeavingBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		items, acks := make(chan delivered, 10), make(chan string, 10)
		for n := range 6 {
			shape := [][]int{small, wide}[n%2]
			d := numbered(t, fmt.Sprint("cam-", n), n, shape, "x")
			d.parts = []jetstream.Msg{asked{nil, n, acks}}
			items <- delivered{d, nil}
		}
		for b, err := range Batched(t.Context(), from(items), BatchOptions{Size: 2}) {
			if got := showBatch(b, err); got != "0 2" {
				t.Error(got)
			}
			synctest.Wait() // the next one is in hand
			break
		}
		var back []string
		for len(acks) > 0 {
			back = append(back, <-acks)
		}
		slices.Sort(back)
		if diff := cmp.Diff([]string{"nak 1", "nak 3"}, back); diff != "" || len(items) != 2 {
			t.Errorf("%d are not read\n%s", len(items), diff)
		}
	})
}

// TestTheEndOfBatches: what has begun is given when the context ends.
func TestTheEndOfBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		items := make(chan delivered, 10)
		items <- delivered{numbered(t, "a", 7, small, "x"), nil}
		time.AfterFunc(10*time.Millisecond, cancel)
		var got []string
		for b, err := range Batched(ctx, from(items), BatchOptions{Size: 2}) {
			got = append(got, showBatch(b, err))
		}
		if diff := cmp.Diff([]string{"7"}, got); diff != "" {
			t.Error(diff)
		}
	})
}
