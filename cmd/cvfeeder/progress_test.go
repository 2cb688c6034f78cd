package main

import (
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
)

func TestAges(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	stream := func(name string, age time.Duration) metrics.Stream {
		return metrics.Stream{Name: name, Stats: source.Stats{Newest: source.SlotAt(now.Add(-age))}}
	}
	all := []metrics.Stream{stream("cam-1", 3*time.Second), stream("cam-2", 42900*time.Millisecond), stream("cam-3", 1500*time.Millisecond)}
	if got, want := ages(now, all), "newest frame 1.5s old, of cam-2 42.9s"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	rests := stream("cam-4", time.Hour)
	rests.Resting = true
	if got, want := ages(now, append(all, rests)), "newest frame 1.5s old, of cam-2 42.9s"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := ages(now, []metrics.Stream{rests}), "all rest"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := ages(now, all[:1]), "newest frame 3.0s old"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
