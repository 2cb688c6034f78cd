package feeder

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

// TestPacedCursors: a key is saved every five seconds or so, and while it cannot be,
// every flush says so.
func TestPacedCursors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail error
		memory := &sourcetest.Cursors{Fail: func() error { return fail }}
		paced := newPacedCursors(memory, func() time.Duration { return bucketPace }, nil)
		second := time.NewTicker(time.Second)
		defer second.Stop()
		saved := map[source.Slot]bool{}
		var failures int
		for i := range source.Slot(60) {
			<-second.C
			fail = nil
			if 20 <= i && i < 30 {
				fail = errors.New("away")
			}
			paced.Set("cam", i+1)
			if err := paced.Flush(); err != nil {
				failures++
			} else if failures > 0 && i < 30 {
				t.Errorf("a flush in second %d succeeds though none can", i)
			}
			if cursor, ok := memory.Restart().Load("cam"); ok {
				saved[cursor] = true
			}
		}
		if n := len(saved); n < 8 || n > 15 {
			t.Errorf("saved %d times in 50 seconds", n)
		}
		if failures < 4 {
			t.Errorf("%d failures in ten seconds", failures)
		}
		if err := paced.Close(); err != nil {
			t.Error(err)
		}
		if cursor, _ := memory.Restart().Load("cam"); cursor != 60 {
			t.Errorf("in the end %v is saved", cursor)
		}
	})
}
