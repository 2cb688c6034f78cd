package pacing_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cvfeeder/cvfeeder/internal/pacing"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if err := pacing.Sleep(t.Context(), time.Minute); err != nil || time.Since(begin) != time.Minute {
			t.Errorf("it slept for %v: %v", time.Since(begin), err)
		}
		begin = time.Now()
		for _, d := range []time.Duration{0, -time.Second} {
			if err := pacing.Sleep(t.Context(), d); err != nil || time.Since(begin) != 0 {
				t.Errorf("%v: it slept for %v: %v", d, time.Since(begin), err)
			}
		}
	})
}

func TestSleepEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := pacing.Sleep(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("it slept for %v: %v", time.Since(begin), err)
		}
		begin = time.Now()
		for _, d := range []time.Duration{0, time.Minute} {
			if err := pacing.Sleep(ctx, d); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 0 {
				t.Errorf("%v after the end: it slept for %v: %v", d, time.Since(begin), err)
			}
		}
	})
}

func TestJitter(t *testing.T) {
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		d := pacing.Jitter(time.Second, 250*time.Millisecond)
		least, most = min(least, d), max(most, d)
	}
	if least < 750*time.Millisecond || least > 800*time.Millisecond || most < 1200*time.Millisecond || most > 1250*time.Millisecond {
		t.Errorf("from %v to %v", least, most)
	}
	if d := pacing.Jitter(time.Second, 0); d != time.Second {
		t.Errorf("without any: %v", d)
	}
}

func TestBackoff(t *testing.T) {
	b := pacing.Backoff{Min: time.Second, Max: 6 * time.Second}
	for range 100 {
		for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 6 * time.Second, 6 * time.Second} {
			if d := b.Next(); d < want/2 || d > want*3/2 {
				t.Fatalf("%v, want about %v", d, want)
			}
		}
		b.Reset()
	}
}

func TestBackoffVaries(t *testing.T) {
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		b := pacing.Backoff{Min: time.Second, Max: time.Minute}
		d := b.Next()
		least, most = min(least, d), max(most, d)
	}
	if least > 600*time.Millisecond || most < 1400*time.Millisecond {
		t.Errorf("from %v to %v", least, most)
	}
}

// TestBackoffForever: however long it fails, a pause stays what it is.
func TestBackoffForever(t *testing.T) {
	const longest = time.Duration(math.MaxInt64 / 2)
	b := pacing.Backoff{Min: 1, Max: longest}
	for range 1000 {
		b.Next()
	}
	if d := b.Next(); d < longest/2 {
		t.Errorf("%v", d)
	}
	b = pacing.Backoff{Min: time.Minute, Max: time.Second}
	if d := b.Next(); d > 2*time.Second {
		t.Errorf("%v, above the most", d)
	}
}

func TestShare(t *testing.T) {
	s := pacing.Share{Min: 0.25, Step: 0.125}
	got := []float64{s.Value()}
	for _, step := range []func(){s.Succeeded, s.Throttled, s.Succeeded, s.Throttled, s.Throttled, s.Throttled} {
		step()
		got = append(got, s.Value())
	}
	for range 7 {
		s.Succeeded()
	}
	got = append(got, s.Value())
	if diff := cmp.Diff([]float64{1, 1, 0.5, 0.625, 0.3125, 0.25, 0.25, 1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// failures fails once a second, and returns in which seconds that was to be logged.
func failures(o *pacing.Outage, seconds int) []int {
	var logged []int
	for i := range seconds {
		if o.Failed() {
			logged = append(logged, i)
		}
		time.Sleep(time.Second)
	}
	return logged
}

func TestOutage(t *testing.T) {
	for name, tc := range map[string]struct {
		every time.Duration
		want  []int
	}{
		"again and again": {10 * time.Second, []int{0, 10, 20}},
		"once":            {0, []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &pacing.Outage{Every: tc.every}
				if o.Recovered() {
					t.Error("nothing has failed yet")
				}
				for range 2 {
					if diff := cmp.Diff(tc.want, failures(o, 25)); diff != "" {
						t.Errorf("(-want +got):\n%s", diff)
					}
					if !o.Recovered() || o.Recovered() {
						t.Error("the end is logged once")
					}
				}
			})
		})
	}
}

// TestOutagesApart: what fails and recovers again and again is not logged each time,
// and neither is the end of what was not logged.
func TestOutagesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := pacing.Outage{Every: time.Minute, Apart: 10 * time.Second}
		var began, ended []int
		for i := range 25 {
			if o.Failed() {
				began = append(began, i)
			}
			if o.Recovered() {
				ended = append(ended, i)
			}
			time.Sleep(time.Second)
		}
		want := []int{0, 10, 20}
		if !cmp.Equal(began, want) || !cmp.Equal(ended, want) {
			t.Errorf("begins at %v, ends at %v, want both at %v", began, ended, want)
		}
		// One that was not logged when it began is when it goes on.
		if diff := cmp.Diff([]int{55}, failures(&o, 60)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !o.Recovered() {
			t.Error("the end is not logged")
		}
	})
}

func TestOutageOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o pacing.Outage
		var mu sync.Mutex
		logged := 0
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if o.Failed() {
					mu.Lock()
					defer mu.Unlock()
					logged++
				}
			})
		}
		all.Wait()
		if logged != 1 {
			t.Errorf("%d lines", logged)
		}
	})
}
