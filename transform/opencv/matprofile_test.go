//go:build matprofile

package opencv

import (
	"fmt"
	"os"
	"testing"

	"gocv.io/x/gocv"
)

// TestMain fails where a test leaves a Mat open.
func TestMain(m *testing.M) {
	code := m.Run()
	if n := gocv.MatProfile.Count(); n > 0 {
		fmt.Fprintf(os.Stderr, "%d Mats are open:\n", n)
		_ = gocv.MatProfile.WriteTo(os.Stderr, 1) // to the terminal
		code = 1
	}
	os.Exit(code)
}
