package source

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
		if again, _ := sizeClass(size); again != class {
			t.Fatalf("a buffer of %d bytes is of class %d, and goes back to %d", size, class, again)
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

func TestBuffers(t *testing.T) {
	var b Buffers[string]
	for try := range 100 { // the race detector has some thrown away
		one := b.Get(1000)
		if len(one.Data) != 1000 {
			t.Fatalf("%d bytes", len(one.Data))
		}
		one.Note = "kept"
		b.Put(one)
		two, three := b.Get(990), b.Get(1000)
		if &two.Data[0] == &three.Data[0] {
			t.Fatal("memory was given away twice")
		}
		if len(two.Data) != 990 {
			t.Fatalf("%d bytes", len(two.Data))
		}
		if two == one && two.Note == "kept" {
			return
		}
		if try == 99 {
			t.Error("no memory was recycled")
		}
	}
}

// TestBuffersConcurrently writes to every buffer, so that the race detector notices a
// buffer that is in use twice.
func TestBuffersConcurrently(*testing.T) {
	var b Buffers[struct{}]
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 500 {
				buffer := b.Get(100 + i%3*100)
				buffer.Data[0]++
				b.Put(buffer)
			}
		})
	}
	wg.Wait()
}
