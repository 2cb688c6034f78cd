package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cvfeeder/cvfeeder/internal/config"
)

// TestFits: a server that takes too little ends the run at the start only.
func TestFits(t *testing.T) {
	for _, tt := range []struct {
		oversize string
		limits   func(tell func(int))
		ends     bool
		logs     string
	}{
		{"reject", func(tell func(int)) { tell(99) }, true, ""},
		{"reject", func(tell func(int)) { tell(100) }, false, ""},
		{"chunk", func(tell func(int)) { tell(99) }, false, ""},
		{"reject", func(tell func(int)) {
			for range dataConnections() {
				tell(100)
			}
			tell(99)
		}, false, "cam-1 detector"},
	} {
		var log bytes.Buffer
		f := &feeder{cfg: &config.Config{Delivery: config.Delivery{Oversize: tt.oversize}}, log: newLogger(&log, config.Log{Level: "info"})}
		var ended error
		tt.limits(f.fits(100, "cam-1 detector", func(err error) { ended = err }))
		var exit *exitError
		if ends := errors.As(ended, &exit) && exit.code == exitUsage; ends != tt.ends || (tt.logs == "") != (log.Len() == 0) || !strings.Contains(log.String(), tt.logs) {
			t.Errorf("%s: ended with %v, logged %q", tt.oversize, ended, log.String())
		}
	}
}
