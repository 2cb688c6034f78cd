package scene

import (
	"image"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A slowScene takes a second for each picture, and counts them.
type slowScene struct{ pictures atomic.Int64 }

func (s *slowScene) Key(stream string, t time.Time) string { return stream + t.String() }

func (s *slowScene) Picture(string, time.Time) (image.Image, error) {
	time.Sleep(time.Second) // in a bubble: no time at all
	s.pictures.Add(1)
	return image.NewGray(image.Rect(0, 0, 16, 16)), nil
}

func TestEachPictureIsEncodedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scene := &slowScene{}
		p := NewEncoder(scene, 1<<20)
		small := Format{Encoding: JPEG, Quality: 80, Width: 8, Height: 8}
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				f := Format{Encoding: JPEG, Quality: 80}
				if i%3 == 0 {
					f = small
				}
				if data, err := p.Encode("cam-1", noon, f); err != nil || len(data) == 0 {
					t.Errorf("%d bytes, %v", len(data), err)
				}
			})
		}
		all.Wait()
		if got := scene.pictures.Load(); got != 2 { // one of each format
			t.Errorf("%d pictures, want 2", got)
		}
	})
}

func TestCacheDropsTheLeastUsed(t *testing.T) {
	c := newCache(10)
	c.add("a", make([]byte, 4))
	c.add("b", make([]byte, 4))
	c.get("a")
	c.add("c", make([]byte, 4))
	c.add("large", make([]byte, 11))
	c.add("c", make([]byte, 1)) // taken
	for key, want := range map[string]int{"a": 4, "b": 0, "c": 4, "large": 0} {
		if got := len(c.get(key)); got != want {
			t.Errorf("%s: %d bytes, want %d", key, got, want)
		}
	}
	if c.size != 8 || c.order.Len() != len(c.byKey) {
		t.Errorf("size %d, %d entries, %d keys", c.size, c.order.Len(), len(c.byKey))
	}
}
