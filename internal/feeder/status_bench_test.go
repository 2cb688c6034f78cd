package feeder

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/bursts"
	"github.com/cvfeeder/cvfeeder/internal/observe"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/source"
)

// BenchmarkStatusesOf10k is what the page asks of the feeder for each answer, of 10,000
// streams: it comes on top of BenchmarkPageOf10k in metrics/status.
func BenchmarkStatusesOf10k(b *testing.B) {
	p := &parts{histories: &observe.Histories{}, bursts: bursts.New(bursts.Options{})}
	grid, err := source.NewGrid(time.Second)
	if err != nil {
		b.Fatal(err)
	}
	all := make([]pipeline.State, 10_000)
	for i := range all {
		all[i].Stream = pipeline.Stream{Name: fmt.Sprintf("cam-%d", i), Grid: grid}
		p.histories.Stream(all[i].Stream, 0)
	}
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p.seen.Store(&sighting{time.Now(), all})
		p.statuses()
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	ns := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(ns)/1e6/float64(b.N), "cpu-ms/op")
}
