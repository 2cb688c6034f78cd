package natstest

import (
	"fmt"
	"testing"
	"time"
)

// Eventually waits until a condition holds, and fails the test after a minute.
func Eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	wait(t, 5*time.Millisecond, 60*time.Second, func() error {
		if !is() {
			return fmt.Errorf("not within 60s: %s", what)
		}
		return nil
	})
}

// Within waits until a check returns nil, and fails the test with its error after
// a minute.
func Within(t testing.TB, check func() error) {
	t.Helper()
	wait(t, 50*time.Millisecond, 60*time.Second, check)
}

func wait(t testing.TB, every, limit time.Duration, check func() error) {
	t.Helper()
	tick := time.NewTicker(every)
	defer tick.Stop()
	deadline := time.After(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}
