package transform

import (
	"errors"
	"fmt"
	"image"
	"slices"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// yard is a batch of three streams, in seconds of a clock that the tests turn.
type yard struct {
	*Batches
	t        *testing.T
	released int
}

func newYard(t *testing.T, spec Spec) *yard {
	t.Helper()
	o := &Output{Name: "surround", Spec: spec}
	b := Batch{Name: "yard", Streams: []string{"cam-1", "cam-2", "cam-3"}, Wait: 3 * time.Second}
	return &yard{Batches: NewBatches(o, b, new(Buffers)), t: t}
}

func grayRaw() Spec { return Spec{DType: Uint8, Color: Gray, Layout: NCHW, Pad: 114} }

// at returns a time by the clock.
func at(seconds float64) time.Time {
	return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

// row returns the row of a stream, counted from 0, for a slot: two pixels that say so.
func (y *yard) row(stream, slot int) *Tensor {
	return &Tensor{
		Stream: y.batch.Streams[stream], Slot: source.Slot(slot), Shape: []int{1, 1, 1, 2}, Source: image.Pt(10+stream, 20),
		Affines: []Affine{{float64(stream + 1), 0, 0, 0, 1, 0}}, Data: []byte{byte(stream + 1), byte(slot)},
		release: func() { y.released++ },
	}
}

func (y *yard) add(stream, slot int, seconds float64) {
	y.t.Helper()
	if err := y.Add(stream, y.row(stream, slot), at(seconds)); err != nil {
		y.t.Errorf("row of slot %d: %v", slot, err)
	}
}

// taken returns the slots and pixels of the batches that are ready at a time.
func (y *yard) taken(seconds float64) []string {
	var all []string
	for {
		t := y.Take(at(seconds))
		if t == nil {
			return all
		}
		all = append(all, fmt.Sprint(int64(t.Slot), t.Data))
	}
}

func (y *yard) want(seconds float64, want ...string) {
	y.t.Helper()
	if got := y.taken(seconds); !slices.Equal(got, want) {
		y.t.Errorf("at %v s: batches %v, want %v", seconds, got, want)
	}
}

func TestWholeBatch(t *testing.T) {
	y := newYard(t, grayRaw())
	y.add(2, 5, 0)
	y.add(0, 5, 1)
	y.want(1)
	y.add(1, 5, 2)
	b := y.Take(at(2))
	if b == nil {
		t.Fatal("a whole batch waits")
	}
	if b.Stream != "yard" || b.Slot != 5 || !slices.Equal(b.Shape, []int{3, 1, 1, 2}) || !slices.Equal(b.Data, []byte{1, 5, 2, 5, 3, 5}) {
		t.Errorf("%+v", b)
	}
	for i, row := range b.Batch {
		if want := (Row{y.batch.Streams[i], false, image.Pt(10+i, 20)}); row != want || b.Affines[i][0] != float64(i+1) {
			t.Errorf("row %d is %+v with %v", i, row, b.Affines[i])
		}
	}
	if y.released != 3 || y.Bytes() != 0 {
		t.Errorf("%d rows are released, %d bytes kept", y.released, y.Bytes())
	}
}

// TestIncompleteBatch: the wait ends, the missing row is padding, and what comes later is refused.
func TestIncompleteBatch(t *testing.T) {
	y := newYard(t, grayRaw())
	y.add(0, 5, 0)
	y.add(2, 5, 2)
	if due, some := y.Due(); !some || !due.Equal(at(3)) {
		t.Errorf("due at %v", due)
	}
	if n := y.Bytes(); n != 4 {
		t.Errorf("%d bytes are kept", n)
	}
	y.want(2.9)
	b := y.Take(at(3))
	if b == nil || !slices.Equal(b.Data, []byte{1, 5, 114, 114, 3, 5}) {
		t.Fatalf("%+v", b)
	}
	if b.Batch[1] != (Row{Stream: "cam-2", Missing: true}) || b.Affines[1] != (Affine{}) {
		t.Errorf("the missing row is %+v with %v", b.Batch[1], b.Affines[1])
	}
	if err := y.Add(1, y.row(1, 5), at(3)); !errors.Is(err, ErrBatchGone) {
		t.Errorf("a late row: %v", err)
	}
	if _, some := y.Due(); some {
		t.Error("something waits")
	}
}

// TestOrderOfBatches: a batch whose wait is over takes those of earlier slots along, and is never
// held up by them.
func TestOrderOfBatches(t *testing.T) {
	y := newYard(t, grayRaw())
	y.add(0, 6, 0)
	y.add(1, 4, 1)
	y.want(2.9)
	y.want(3, "4 [114 114 2 4 114 114]", "6 [1 6 114 114 114 114]")
}

// TestSettledBatch: no batch waits for a stream that has come further, or has ended.
func TestSettledBatch(t *testing.T) {
	y := newYard(t, grayRaw())
	y.add(0, 1, 0)
	y.add(1, 1, 0)
	y.Pass(2, 1) // without a row
	y.want(0, "1 [1 1 2 1 114 114]")
	y.add(0, 2, 1)
	y.add(1, 3, 1) // has no row for 2
	y.add(2, 2, 1)
	y.want(1, "2 [1 2 114 114 3 2]")
	y.Leave(0)
	y.want(1)
	y.Pass(2, 3)
	y.want(1, "3 [114 114 2 3 114 114]")
	y.Join(0)
	y.add(1, 4, 2)
	y.add(2, 4, 2)
	y.want(4.9)
	y.add(0, 4, 4.9)
	y.want(4.9, "4 [1 4 2 4 3 4]")
}

// TestRewoundStream: a stream that was ahead of the time and is taken back has batches again.
func TestRewoundStream(t *testing.T) {
	y := newYard(t, grayRaw())
	y.add(0, 900, 0)
	y.want(3, "900 [1 132 114 114 114 114]")
	y.add(0, 2, 4)
	y.add(1, 2, 4)
	y.add(2, 2, 4)
	y.want(4, "2 [1 2 2 2 3 2]")
}

// TestRowOfAnotherSize: what does not fit is refused, and the batch goes without it.
func TestRowOfAnotherSize(t *testing.T) {
	y := newYard(t, grayRaw())
	y.add(0, 1, 0)
	other := y.row(1, 1)
	other.Shape, other.Data = []int{1, 1, 1, 3}, []byte{1, 2, 3}
	if err := y.Add(1, other, at(0)); err == nil {
		t.Error("a row of another size is taken")
	}
	y.want(3, "1 [1 1 114 114 114 114]")
}

// TestPaddingOfAMissingRow: it is what a pixel of value pad becomes, in each channel.
func TestPaddingOfAMissingRow(t *testing.T) {
	for _, layout := range []Layout{NCHW, NHWC} {
		spec := Spec{DType: Uint8, Color: RGB, Layout: layout, PadChannels: [3]float64{1, 2, 3}}
		y := newYard(t, spec)
		row := y.row(0, 1)
		row.Shape, row.Data = spec.Shape(1, Geometry{Size: image.Pt(2, 1)}), make([]byte, 6)
		if err := y.Add(0, row, at(0)); err != nil {
			t.Fatal(err)
		}
		want := []byte{1, 1, 2, 2, 3, 3}
		if layout == NHWC {
			want = []byte{1, 2, 3, 1, 2, 3}
		}
		if b := y.Take(at(3)); !slices.Equal(b.Data[6:12], want) {
			t.Errorf("%s: %v", layout, b.Data)
		}
	}
	spec := Spec{DType: Float32, Color: Gray, Layout: NCHW, Scale: 1. / 255, Std: [3]float64{1, 1, 1}, Pad: 255}
	y := newYard(t, spec)
	row := y.row(0, 1)
	row.Shape, row.Data = []int{1, 1, 1, 1}, make([]byte, 4)
	if err := y.Add(0, row, at(0)); err != nil {
		t.Fatal(err)
	}
	if b := y.Take(at(3)); !slices.Equal(b.Data[4:8], []byte{0, 0, 0x80, 0x3f}) { // 1.0
		t.Errorf("%v", b.Data)
	}
}
