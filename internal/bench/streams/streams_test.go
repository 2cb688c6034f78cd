package streams

import (
	"bytes"
	"context"
	"errors"
	"image"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/observe"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

const (
	interval = time.Second
	fragment = 10 * time.Second
)

// A load is how many streams there are, and for how long.
type load struct {
	count int
	// settle is how long the start takes. AWS limits how many streams an account may look
	// up in a second, and each stream then has to learn when its media comes.
	settle, measure time.Duration
}

// theLoad is of 10,000 streams. With -short it is so small that it shows no more than that
// the benchmark runs.
func theLoad() load {
	if testing.Short() {
		return load{50, 3 * time.Second, time.Second}
	}
	return load{10_000, 100 * time.Second, 30 * time.Second}
}

// worker makes tensors of one byte: the cost of decoding is measured elsewhere.
type worker struct{ frame source.Frame }

func (*worker) Luma(source.Frame, *transform.Camera) (*image.Gray, image.Point, error) {
	return nil, image.Point{}, errors.New("no gates")
}

func (w *worker) Decode(f source.Frame, _ *transform.Camera, _ []*transform.Output) error {
	w.frame = f
	return nil
}

func (w *worker) Tensor(o *transform.Output) (*transform.Tensor, error) {
	return &transform.Tensor{
		Stream: w.frame.Stream, Slot: w.frame.Slot, Capture: w.frame.Capture, Output: o,
		Shape: []int{1}, Data: []byte{0},
	}, nil
}

func (*worker) KeepLuma(bool)                        {}
func (*worker) KeptLuma() (*image.Gray, image.Point) { return nil, image.Point{} }

func (*worker) Rest()  {}
func (*worker) Close() {}

type broker struct{ published atomic.Int64 }

func (b *broker) Publish(context.Context, publish.Message) error          { b.published.Add(1); return nil }
func (b *broker) Gap(context.Context, publish.Gap, []publish.Route) error { return nil }
func (b *broker) Confirm(context.Context) error                           { return nil }
func (b *broker) Watched(string) bool                                     { return true }
func (b *broker) Interest(context.Context, string) (bool, error)          { return true, nil }

// lateness collects how late polls begin, while it is on.
type lateness struct {
	on   atomic.Bool
	mu   sync.Mutex
	late []time.Duration
}

func (l *lateness) add(d time.Duration) {
	if l.on.Load() {
		l.mu.Lock()
		l.late = append(l.late, d)
		l.mu.Unlock()
	}
}

func (l *lateness) quantile(q float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.late) == 0 {
		return 0
	}
	slices.Sort(l.late)
	return l.late[int(q*float64(len(l.late)-1))]
}

// BenchmarkStreams runs 10,000 streams at one picture a second, against the fake
// service in a process of its own, with the real client and pipeline.
//
//	streams-10k           KiB of resident memory that each stream adds, between its polls
//	streams-10k-lateness  milliseconds by which polls begin late, 99th percentile
func BenchmarkStreams(b *testing.B) {
	for range b.N {
		runStreams(b, theLoad())
	}
}

func runStreams(b *testing.B, l load) {
	b.Helper()
	debug.SetGCPercent(40) // as the program does
	url, end := startFake(b, l)
	client, err := kinesis.New(b.Context(), kinesis.Options{
		Region: kinesistest.Region, Endpoint: url, AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey,
	})
	if err != nil {
		b.Fatal(err)
	}
	before := resident(b)
	begin := time.Now()
	var late lateness
	var out broker
	var checked atomic.Int64
	var started time.Duration
	p := pipeline.New(pipeline.Options{
		Workers: runtime.GOMAXPROCS(0), NewWorker: func() pipeline.Worker { return new(worker) },
		Delivery: &out, Inflight: 64 << 20, Log: slog.New(slog.DiscardHandler), Drain: time.Second,
		Observers: []pipeline.Observer{observe.Metrics(metrics.New(metrics.Build{}), time.Now), &observe.Histories{}},
	})
	streams := streamsOf(b, l.count, client, &late, func() {
		if checked.Add(1) == int64(l.count) {
			started = time.Since(begin)
		}
	})
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, streams, nil) }()
	<-time.After(l.settle - time.Since(begin))
	late.on.Store(true)
	from, behind := out.published.Load(), freshness(p.Streams())
	<-time.After(l.measure)
	late.on.Store(false)
	rate := float64(out.published.Load()-from) / l.measure.Seconds()
	running := resident(b)
	debug.FreeOSMemory()
	idle := resident(b)
	goroutines := runtime.NumGoroutine()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	stop()
	if err := <-done; err != nil {
		b.Error(err)
	}
	requests := end()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(idle-before)/1024/float64(l.count), "streams-10k")
	b.ReportMetric(float64(late.quantile(.99).Microseconds())/1000, "streams-10k-lateness")
	b.ReportMetric(float64(running-before)/1024/float64(l.count), "KiB-running")
	b.ReportMetric(float64(goroutines)/float64(l.count), "goroutines/stream")
	b.ReportMetric(float64(late.quantile(.5).Microseconds())/1000, "ms-late-p50")
	b.ReportMetric(float64(late.quantile(1).Microseconds())/1000, "ms-late-max")
	b.ReportMetric(started.Seconds(), "s-start")
	b.ReportMetric(rate, "frames/s")
	b.Logf("requests %v, of which throttled %v, most in a second %v; after the start, GetImages %.0f a second on average, at most %d in a tenth of one",
		requests.Total, requests.Throttled, requests.Most, float64(requests.Settled)/(l.measure.Seconds()+2), requests.Burst)
	b.Logf("freshness at the start of the measurement: %s", behind)
	b.Logf("MiB in use: heap %d, stacks %d, of the system %d", mem.HeapInuse>>20, mem.StackInuse>>20, mem.Sys>>20)
	if n := requests.Throttled["DescribeStream"] + requests.Throttled["GetDataEndpoint"]; n > 0 {
		b.Logf("%d requests to the control plane were throttled", n)
	}
	if started > 10*time.Second {
		b.Logf("the start took %v", started)
	}
	if rate < 0.9*float64(l.count) {
		b.Logf("only %.0f frames a second of %d", rate, l.count)
	}
}

func streamsOf(b *testing.B, count int, client *kinesis.Client, late *lateness, checked func()) []pipeline.Stream {
	b.Helper()
	grid, err := source.NewGrid(interval)
	if err != nil {
		b.Fatal(err)
	}
	output := &transform.Output{Name: "x", Spec: transform.Spec{Width: 1, Height: 1}}
	names, streams := kinesistest.Cameras(count), make([]pipeline.Stream, count)
	for i := range streams {
		name := names[i].Name
		s := client.Stream(kinesis.StreamOptions{Name: name})
		streams[i] = pipeline.Stream{
			Name: name, Grid: grid, From: source.SlotAt(time.Now()), Grace: 30 * time.Second,
			Routes: []publish.Route{{Output: output, Subject: "cvf.t." + name + ".x"}},
			Open: func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
				return poll.New(s, l, poll.Options{
					Stream: name, Lag: poll.Auto, Overlap: poll.Auto, Grace: 30 * time.Second, Retention: s.Retention, Late: late.add,
					Check:   func(ctx context.Context) error { defer checked(); return s.Check(ctx) },
					Spread:  func() time.Duration { return poll.SpreadOver(count) },
					Fetched: fetched,
				})
			},
		}
	}
	return streams
}

// freshness describes how old the newest pictures are.
func freshness(all []pipeline.State) string {
	now := time.Now()
	ages := make([]time.Duration, len(all))
	for i, s := range all {
		ages[i] = metrics.Stream{Stats: s.Stats}.Freshness(now).Round(100 * time.Millisecond)
	}
	slices.Sort(ages)
	n := len(ages) - 1
	return "least " + ages[0].String() + ", median " + ages[n/2].String() + ", 99% " + ages[n*99/100].String() + ", most " + ages[n].String()
}

// resident returns the process's resident memory in bytes, after a garbage collection.
func resident(b *testing.B) int64 {
	b.Helper()
	runtime.GC()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("resident memory is read from /proc: ", err)
	}
	fields := bytes.Fields(statm)
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
