package transform

import (
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
	tensor := b.Tensor(1000)
	if len(tensor.Data) != 1000 {
		t.Fatalf("%d bytes", len(tensor.Data))
	}
	tensor.Release()
	tensor.Release()
	if tensor.Data != nil {
		t.Error("Data is left after Release")
	}
	one, two := b.Tensor(1000), b.Tensor(1000)
	if &one.Data[0] == &two.Data[0] {
		t.Error("the second Release gave the memory away twice")
	}
	(&Tensor{Data: []byte{1}}).Release() // not from Buffers: nothing to give back
}

// TestBuffersConcurrently writes to every buffer, for the race detector to see
// one that is given out twice.
func TestBuffersConcurrently(*testing.T) {
	var b Buffers
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 500 {
				tensor := b.Tensor(100 + i%3*100)
				tensor.Data[0]++
				tensor.Release()
			}
		})
	}
	wg.Wait()
}
