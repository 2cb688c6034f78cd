package sourcetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/cvfeeder/cvfeeder/source"
)

// CursorKeys returns the keys that [TestCursors] uses, for implementations that have to know
// them beforehand. Some differ only in case, and some have characters that files, subjects
// or URLs cannot hold.
func CursorKeys() []string {
	return []string{
		"cam-1", "CAM-1", "front-door/@2026-01-02T03:04:05Z", "a.b", "a b", "a/b", "a\\b", "..", "*", ">", "$x", "%2e",
		"été", "猫", "_", "a=b", `"`, "line\nbreak", strings.Repeat("long", 40),
	}
}

// TestCursors runs the suite that all implementations of [source.Cursors] have to pass. open
// makes an empty place to keep cursors in, and returns a function that opens it. The first
// call of that is the first run of a process; each later call is another run, after the
// one before has crashed.
func TestCursors(t *testing.T, open func(t *testing.T) (restart func() source.Cursors)) {
	for _, tc := range []struct {
		name string
		run  func(t *testing.T, restart func() source.Cursors)
	}{
		{"empty", testEmpty},
		{"flushed", testFlushed},
		{"not flushed", testNotFlushed},
		{"some flushed", testSomeFlushed},
		{"rewound", testRewound},
		{"ended context", testEndedContext},
		{"concurrent", testConcurrent},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.run(t, open(t)) })
	}
}

// first is the cursor that tests begin with. Cursors only go forward, except by Rewind.
const first source.Slot = 1767322445200

func testEmpty(t *testing.T, restart func() source.Cursors) {
	for range 2 {
		c := restart()
		for _, key := range CursorKeys() {
			if cursor, ok := c.Load(key); ok {
				t.Errorf("%q: %v, and nothing was set", key, cursor)
			}
		}
		flush(t, c, CursorKeys()...)
	}
}

// testFlushed sets and flushes all keys, twice.
func testFlushed(t *testing.T, restart func() source.Cursors) {
	c := restart()
	for run := range source.Slot(2) {
		want := map[string]source.Slot{}
		for i, key := range CursorKeys() {
			want[key] = first + run*3600*1000 + source.Slot(i)*200
			c.Set(key, want[key])
			load(t, c, key, want[key])
		}
		flush(t, c, CursorKeys()...)
		c = restart()
		for key, cursor := range want {
			load(t, c, key, cursor)
		}
	}
}

// testNotFlushed: a cursor that was not flushed may be missing, but is never wrong.
func testNotFlushed(t *testing.T, restart func() source.Cursors) {
	c := restart()
	c.Set("cam-1", first)
	flush(t, c, "cam-1")
	c.Set("cam-1", first+200)
	c.Set("a.b", first)
	load(t, c, "cam-1", first+200)
	load(t, c, "a.b", first)
	c = restart()
	if cursor, ok := c.Load("cam-1"); !ok || cursor != first && cursor != first+200 {
		t.Errorf("cam-1: %v, %v", cursor, ok)
	}
	if cursor, ok := c.Load("a.b"); ok && cursor != first {
		t.Errorf("a.b: %v", cursor)
	}
}

// testSomeFlushed flushes one key of several.
func testSomeFlushed(t *testing.T, restart func() source.Cursors) {
	c := restart()
	for _, key := range CursorKeys() {
		c.Set(key, first)
	}
	flush(t, c, "a.b")
	load(t, c, "a.b", first)
	c = restart()
	load(t, c, "a.b", first)
	for _, key := range CursorKeys() {
		if cursor, ok := c.Load(key); ok && cursor != first {
			t.Errorf("%q: %v", key, cursor)
		}
	}
}

// testRewound takes back a cursor that lies in the future, and goes on from there.
func testRewound(t *testing.T, restart func() source.Cursors) {
	const future = first + 24*3600*1000
	c := restart()
	for _, key := range []string{"cam-1", "a.b"} {
		c.Set(key, future)
	}
	flush(t, c, "cam-1", "a.b")
	c = restart()
	c.Rewind("cam-1", first)
	load(t, c, "cam-1", first)
	flush(t, c, "cam-1", "a.b")
	c.Set("cam-1", first+200)
	flush(t, c, "cam-1")
	load(t, c, "cam-1", first+200)
	c.Rewind("a.b", first) // which is not flushed
	load(t, c, "a.b", first)
	c = restart()
	load(t, c, "cam-1", first+200)
	if cursor, ok := c.Load("a.b"); !ok || cursor != first && cursor != future {
		t.Errorf("a.b: %v, %v", cursor, ok)
	}
}

// testEndedContext: a flush whose context has ended fails, or has done its work.
func testEndedContext(t *testing.T, restart func() source.Cursors) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	c := restart()
	c.Set("cam-1", first)
	err := c.Flush(ended, "cam-1")
	load(t, c, "cam-1", first)
	if err == nil {
		c = restart()
		load(t, c, "cam-1", first)
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("flush: %v", err)
	}
	c.Set("a.b", first)
	flush(t, c, "cam-1", "a.b")
	c = restart()
	load(t, c, "cam-1", first)
	load(t, c, "a.b", first)
}

// testConcurrent has one goroutine for each key, and overlapping flushes.
func testConcurrent(t *testing.T, restart func() source.Cursors) {
	c := restart()
	const sets = 10
	var wg sync.WaitGroup
	for _, key := range CursorKeys() {
		wg.Go(func() {
			for i := range source.Slot(sets) {
				c.Set(key, first+i*200)
				if cursor, ok := c.Load(key); !ok || cursor != first+i*200 {
					t.Errorf("%q: %v, %v", key, cursor, ok)
				}
				if err := c.Flush(t.Context(), key); err != nil {
					t.Errorf("%q: %v", key, err)
				}
			}
		})
	}
	wg.Wait()
	c = restart()
	for _, key := range CursorKeys() {
		load(t, c, key, first+(sets-1)*200)
	}
}

func load(t *testing.T, c source.Cursors, key string, want source.Slot) {
	t.Helper()
	if cursor, ok := c.Load(key); !ok || cursor != want {
		t.Errorf("%q: %v, %v, want %v", key, cursor, ok, want)
	}
}

func flush(t *testing.T, c source.Cursors, keys ...string) {
	t.Helper()
	if err := c.Flush(t.Context(), keys...); err != nil {
		t.Errorf("flush: %v", err)
	}
}
