package sourcetest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

func TestFeed(t *testing.T) {
	sourcetest.TestFeed(t, func(_ *testing.T, s sourcetest.Stream) source.OpenFeed {
		return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
			return &sourcetest.Feed{Stream: s.Name, Ledger: l, To: s.To, Fetched: fetched, Picture: func(slot source.Slot) ([]byte, error) {
				switch {
				case s.Failing():
					return nil, errors.New("connection reset")
				case s.Missing(slot):
					return nil, source.ErrNoMedia
				}
				return []byte(slot.String()), nil
			}}
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
