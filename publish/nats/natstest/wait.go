package natstest

import (
	"fmt"
	"testing"
	"time"
)

// Eventually waits until a condition holds, and fails the test after ten seconds.
func Eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	wait(t, 5*time.Millisecond, 10*time.Second, func() error {
		if !is() {
			return fmt.Errorf("not within 10s: %s", what)
		}
		return nil
	})
}

// Within waits until a check returns nil, and fails the test with its error after
// twenty seconds.
func Within(t testing.TB, check func() error) {
	t.Helper()
	wait(t, 50*time.Millisecond, 20*time.Second, check)
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
