package sourcetest_test

import (
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

func TestFeed(t *testing.T) {
	sourcetest.TestFeed(t, func(_ *testing.T, s sourcetest.Stream) source.OpenFeed {
		return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
			return sourcetest.Open(s, l, fetched)
		}
	})
}

func TestCursors(t *testing.T) {
	sourcetest.TestCursors(t, func(*testing.T) func() source.Cursors {
		c := &sourcetest.Cursors{}
		return func() source.Cursors {
			c = c.Restart()
			return c
		}
	})
}
