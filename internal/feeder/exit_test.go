package feeder

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
)

// TestExitCode: what is refused has a code of its own, whichever part of the process noticed it.
func TestExitCode(t *testing.T) {
	denied := &dial.PermissionError{Missing: []dial.Permission{{Verb: dial.VerbPublish, Subject: "cvf.t.>"}}}
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("the disk is full"), ExitFailed},
		{Usage(errors.New("no such key")), ExitUsage},
		{Usage(denied), ExitUsage},
		{denied, ExitRefused},
		{fmt.Errorf("stream cam-1: %w", source.ErrRefused), ExitRefused},
	} {
		if got := ExitCode(tc.err); got != tc.want {
			t.Errorf("%v: %d, want %d", tc.err, got, tc.want)
		}
	}
}
