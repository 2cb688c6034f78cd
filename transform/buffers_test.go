package transform

import (
	"image"
	"sync"
	"testing"
)

func TestSizeClass(t *testing.T) {
	sizes := map[int]int{} // of each class
	check := func(n int) {
		class, size := sizeClass(n)
		if size < n || (n > minBuffer && size > n+n/8+1) {
			t.Fatalf("%d bytes get a buffer of %d", n, size)
		}
		if other, ok := sizes[class]; ok && other != size {
			t.Fatalf("class %d has buffers of %d and of %d", class, other, size)
		}
		sizes[class] = size
	}
	for n := range 1 << 14 {
		check(n)
	}
	for n := 1 << 14; n < 1<<40; n += n / 23 {
		check(n)
	}
}

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

// TestBuffersConcurrently writes to every buffer, for the race detector to see
// one that is given out twice.
func TestBuffersConcurrently(*testing.T) {
	var b Buffers
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 500 {
				tensor, _ := b.Tensor(100+i%3*100, Padding{})
				tensor.Data[0]++
				tensor.Release()
			}
		})
	}
	wg.Wait()
}
