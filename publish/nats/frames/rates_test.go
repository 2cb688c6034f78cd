package frames

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRates: an asker has a burst and then its rate, all askers together have theirs, and
// whoever is refused learns which it was, and when to ask again.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(20, 5)
		asked := func(asker string, n int) (taken int, last error) {
			for range n {
				if err := r.Take(asker); err != nil {
					last = err
				} else {
					taken++
				}
			}
			return taken, last
		}
		const mine = "for each asker (requests.rate_per_asker): ask again in 200ms"
		if n, err := asked("_INBOX.a", 100); n != 10 || !isBusy(err, "at most 5 a second "+mine) {
			t.Errorf("at once: %d, %v", n, err)
		}
		// Those who were refused took nothing from the others.
		if n, err := asked("_INBOX.b", 10); n != 10 {
			t.Errorf("another: %d, %v", n, err)
		}
		time.Sleep(200 * time.Millisecond)
		if n, err := asked("_INBOX.a", 2); n != 1 || !isBusy(err, mine) {
			t.Errorf("after 200 ms: %d, %v", n, err)
		}
		time.Sleep(time.Minute)
		all := 0
		for i := range 1000 {
			n, err := asked(fmt.Sprint("_INBOX.", i), 1)
			if all += n; n == 0 && !isBusy(err, "at most 20 a second for all askers together (requests.rate): ask again in 50ms") {
				t.Fatal(err)
			}
		}
		if all != 40 {
			t.Errorf("with an inbox for each request: %d at once", all)
		}
	})
}

func isBusy(err error, text string) bool {
	var own *Error
	return errors.As(err, &own) && own.Code == CodeBusy && strings.Contains(own.Text, text)
}

// TestAskersAreBounded: who asks with an inbox for each request does not fill the memory,
// and askers of late are still known.
func TestAskersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(1_000_000, 1)
		for range 2 {
			if err := r.Take("_INBOX.late"); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 100_000 {
			if err := r.Take(fmt.Sprint("_INBOX.", i)); err != nil {
				t.Fatal(err)
			}
			if n := len(r.askers) + len(r.before); n > 2*maxAskers {
				t.Fatalf("%d askers are kept", n)
			}
			if i%(maxAskers/2) == 0 && r.Take("_INBOX.late") == nil {
				t.Fatalf("after %d others the asker has a new burst", i)
			}
		}
	})
}

func TestAskerOf(t *testing.T) {
	for reply, want := range map[string]string{
		"_INBOX.abc.1": "_INBOX.abc", "_INBOX.abc.2": "_INBOX.abc", "_INBOX.abc": "_INBOX.abc", "_R_.x.y.z": "_R_.x",
		"_INBOX." + strings.Repeat("a", 1000): ("_INBOX." + strings.Repeat("a", 1000))[:maxAsker],
	} {
		if got := askerOf(reply); got != want {
			t.Errorf("%.40s: %q", reply, got)
		}
	}
}
