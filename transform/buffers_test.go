package transform

import (
	"image"
	"testing"
)

func TestRelease(t *testing.T) {
	var b Buffers
	tensor, _ := b.Tensor(1000, Padding{})
	if len(tensor.Data) != 1000 {
		t.Fatalf("%d bytes", len(tensor.Data))
	}
	tensor.Release()
	tensor.Release()
	if tensor.Data != nil {
		t.Error("Data is left after Release")
	}
	one, _ := b.Tensor(1000, Padding{})
	two, _ := b.Tensor(1000, Padding{})
	if &one.Data[0] == &two.Data[0] {
		t.Error("the second Release gave the memory away twice")
	}
	(&Tensor{Data: []byte{1}}).Release() // not from Buffers: nothing to give back
}

func TestPadding(t *testing.T) {
	yolo, err := Preset("yolo")
	if err != nil {
		t.Fatal(err)
	}
	black := yolo
	black.Pad = 0
	paddings := []Padding{
		{},
		{Spec: yolo, Picture: image.Rect(0, 140, 640, 500)},
		{Spec: yolo, Picture: image.Rect(80, 0, 560, 640)},
		{Spec: black, Picture: image.Rect(80, 0, 560, 640)},
	}
	var b Buffers
	last := map[*byte]Padding{} // of each memory
	found := 0
	for i := range 400 {
		p := paddings[i/2%len(paddings)]
		tensor, padded := b.Tensor(1000, p)
		before, ok := last[&tensor.Data[0]]
		if ok && padded != (before == p) {
			t.Fatalf("padded is %v for %v after %v", padded, p, before)
		}
		if padded {
			found++
		}
		last[&tensor.Data[0]] = p
		tensor.Release()
	}
	if found == 0 {
		t.Error("no padding was found again")
	}
}
