package feedertest

import "testing"

// Long skips a test with -short, which "make check" runs with: one that takes longer
// than the rest of its package, for the reason that is given.
func Long(t *testing.T, why string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("not with -short: %s", why)
	}
}
