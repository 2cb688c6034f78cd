package pipeline

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/source/sourcetest"
)

// TestAnOutageIsLoggedSeldom: cursors that cannot be saved for two and a half minutes
// are logged at once, once a minute, and when they can be again; and at the end, where
// they still cannot.
func TestAnOutageIsLoggedSeldom(t *testing.T) {
	for _, tt := range []struct {
		name        string
		length      time.Duration
		lost, again int
	}{
		{"over", 4 * time.Minute, 3, 1},
		{"to the end", 2*time.Minute + 10*time.Second, 4, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				begin := time.Now()
				r := &rig{}
				r.build(t, 1, tt.length, func(o *Options, _ []Stream) {
					o.Log = slog.New(slog.NewTextHandler(&log, nil))
					o.Cursors = &sourcetest.Cursors{}
				})
				r.away = func() error {
					if since := time.Since(begin); since > 5*time.Second && since < 155*time.Second {
						return errors.New("away")
					}
					return nil
				}
				if err := r.run(t.Context()); err != nil {
					t.Fatal(err)
				}
				lost, again := strings.Count(log.String(), "could not be saved"), strings.Count(log.String(), "saved again")
				if lost != tt.lost || again != tt.again {
					t.Errorf("%d lines of trouble and %d of its end:\n%s", lost, again, log.String())
				}
			})
		})
	}
}

// TestNothingToSaveEndsTheOutage: cursors that cannot be saved, and are then another replica's
// to save, are told to be over.
func TestNothingToSaveEndsTheOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		begin := time.Now()
		r := &rig{follow: func(ctx context.Context, s Set) {
			<-time.After(10 * time.Second)
			s.Remove(ctx, "cam-1")
			<-time.After(10 * time.Second)
		}}
		r.build(t, 1, time.Minute, func(o *Options, _ []Stream) {
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			o.Cursors = &sourcetest.Cursors{}
		})
		r.away = func() error {
			if time.Since(begin) > 5*time.Second {
				return errors.New("away")
			}
			return nil
		}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		lost, over := strings.Count(log.String(), "could not be saved: after"), strings.Count(log.String(), "no cursors to save any more")
		if lost != 1 || over != 1 {
			t.Errorf("%d lines of trouble and %d of its end:\n%s", lost, over, log.String())
		}
	})
}

// TestSavingIsTriedAgainSoon: cursors that are saved seldom, and could not be, are not as
// late again.
func TestSavingIsTriedAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{}
		begin := time.Now()
		cursors := &sourcetest.Cursors{Fail: func() error {
			if time.Since(begin) < 3*time.Second {
				return errors.New("away")
			}
			return nil
		}}
		r.build(t, 1, 0, func(o *Options, s []Stream) {
			s[0].Key = "one"
			o.Cursors, o.SaveEvery = cursors, func() time.Duration { return time.Minute }
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		time.AfterFunc(5*time.Second, func() {
			if saved(cursors, "one") == 0 {
				t.Error("nothing is saved two seconds after it could be")
			}
		})
		_ = r.run(ctx)
	})
}
