package feeder

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/bursts"
	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/pacing"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish/publishtest"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/ondemand"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// The events of a day: how many there are, how long each is, and how long before it everything
// is to be seen as well.
const (
	dayEvents   = 20
	eventLength = 30 * time.Second
	eventBefore = 5 * time.Second
)

// eventConfig samples thinly, less often while nothing changes, and looks back when something
// has changed. cam-2 is what there was without that.
const eventConfig = `
streams:
  - {name: cam-1, interval: 1s, outputs: [seen], burst: {interval: 200ms, before: 12s, after: 33s, most: 60s}}
  - {name: cam-2, interval: 200ms, outputs: [all]}
outputs:
  seen: {size: 64x36, gate: {change: 1%, every: 10s, relax: 5s, burst: true}}
  all: {size: 64x36}
`

// TestImagesOfADay: a camera that sees 20 events of 30 seconds in a day is looked at thinly, and
// closely around them. By the service's own record that takes an eighth of the images at most
// that five a second take, and each event is there in full from 5 seconds before it.
func TestImagesOfADay(t *testing.T) {
	feedertest.Long(t, "simulates a day")
	day, all := 24*time.Hour, time.Hour
	if os.Getenv("CVFEEDER_WHOLE_DAY") == "" {
		day, all = day/dayEvents*2, 10*time.Minute // two events
	}
	synctest.Test(t, func(t *testing.T) { imagesOf(t, day, all) })
}

// imagesOf runs cam-1 for a day, and cam-2 for a part of it.
func imagesOf(t *testing.T, day, all time.Duration) {
	begin := time.Now().Truncate(time.Minute).Add(time.Minute)
	scene := newEvents(begin, day)
	pipe := kinesistest.NewPipe()
	fake, err := kinesistest.New(kinesistest.Options{Streams: kinesistest.Cameras(2), Scene: scene})
	if err != nil {
		t.Fatal(err)
	}
	serving, stopServing := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() { _ = fake.Serve(serving, pipe) })
	defer working.Wait()
	defer stopServing()
	httpClient := pipe.Client()
	defer httpClient.CloseIdleConnections()
	service, err := kinesis.New(t.Context(), kinesis.Options{
		Region: kinesistest.Region, Endpoint: "http://fake", AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey, HTTPClient: httpClient,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("test", []byte(eventConfig), feedertest.NoVariables)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	out := &publishtest.Memory{}
	once := bursts.NewOnce(out)
	p := &parts{
		plan: plan, service: service, metrics: metrics.New(metrics.Build{}), traces: startTraces(t.Context(), log),
		outlet: &outlet{delivery: once, once: once, sharing: alone{}}, log: log, purse: testPurse(t, cfg),
	}
	p.bursts = p.newBursts()
	decoder := Decoder(Switches{}, cfg)
	p.pipeline = pipeline.New(pipeline.Options{
		Workers: 1, NewWorker: func() pipeline.Worker { return opencv.NewWorker(decoder) },
		Delivery: p.outlet.delivery, Inflight: 16 << 20, Now: service.Now, Log: log,
	})
	b := &builder{
		plan: plan, service: service, metrics: p.metrics, traces: p.traces, cameras: &p.cameras, purse: p.purse, forget: p.forget,
		moved: p.moves.located, woken: p.woken, requested: ondemand.New(ondemand.Options{}), spread: func() time.Duration { return 0 },
	}
	time.Sleep(time.Until(begin))
	streams, err := b.named()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err = p.pipeline.Run(ctx, streams, func(ctx context.Context, set pipeline.Set) {
		working.Go(func() { p.bursts.Serve(ctx) })
		working.Go(func() {
			for pacing.Sleep(ctx, watchEvery) == nil {
				p.seen.Store(&sighting{time.Now(), p.pipeline.Streams()})
			}
		})
		time.Sleep(all)
		set.Remove(ctx, "cam-2")
		time.Sleep(time.Until(begin.Add(day + time.Minute)))
		stop()
	})
	if err != nil {
		t.Error(err)
	}
	paid := func(stream string) float64 { return float64(fake.Totals()[stream].Made) }
	ratio := paid("cam-1") / (paid("cam-2") * float64(day) / float64(all))
	t.Logf("images-per-event %.4f", ratio)
	if ratio > 1.0/8 {
		t.Errorf("%.3f of the images", ratio)
	}
	scene.check(t, out)
}

// check checks that all of the events are there, each slot once.
func (e *events) check(t *testing.T, out *publishtest.Memory) {
	t.Helper()
	times := map[string]int{}
	for _, m := range out.Received("cvf.t.cam-1.seen") {
		times[m.Header["Cvf-Time"][0]]++
	}
	for at, n := range times {
		if n > 1 {
			t.Errorf("%s was published %d times", at, n)
		}
	}
	grid, err := source.NewGrid(source.MinInterval)
	if err != nil {
		t.Fatal(err)
	}
	for _, began := range e.at {
		missing := 0
		for at := grid.Ceil(source.SlotAt(began.Add(-eventBefore))); at < source.SlotAt(began.Add(eventLength)); at = at.Add(source.MinInterval) {
			if times[at.String()] == 0 {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("%d slots of the event of %v are missing", missing, began.UTC())
		}
	}
}

// events is a scene in which a box moves while something happens.
type events struct{ at []time.Time }

// newEvents returns one with the events of a day spread over it, at odd instants.
func newEvents(begin time.Time, day time.Duration) *events {
	e := &events{}
	rng := rand.New(rand.NewPCG(1, 2))
	part := 24 * time.Hour / dayEvents
	for i := range int(day / part) {
		e.at = append(e.at, begin.Add(time.Duration(i)*part+5*time.Minute+time.Duration(rng.Int64N(int64(part-15*time.Minute)))))
	}
	return e
}

// step returns how far the box has come at t, 0 while there is none.
func (e *events) step(t time.Time) int {
	for _, began := range e.at {
		if d := t.Sub(began); d >= 0 && d < eventLength {
			return 1 + int(d/source.MinInterval)
		}
	}
	return 0
}

// Key implements [scene.Scene].
func (e *events) Key(_ string, t time.Time) string { return fmt.Sprint(e.step(t)) }

// Picture implements [scene.Scene].
func (e *events) Picture(_ string, t time.Time) (image.Image, error) {
	img := image.NewGray(image.Rect(0, 0, 320, 180))
	draw.Draw(img, img.Bounds(), image.NewUniform(color.Gray{90}), image.Point{}, draw.Src)
	if n := e.step(t); n > 0 {
		x := n * 280 / int(eventLength/source.MinInterval)
		draw.Draw(img, image.Rect(x, 60, x+40, 140), image.NewUniform(color.Gray{200}), image.Point{}, draw.Src)
	}
	return img, nil
}

// BenchmarkImagesPerEvent reports what part of the images of five a second the day takes. The
// time of the day is not the host's, which only a test can have.
func BenchmarkImagesPerEvent(b *testing.B) {
	test := exec.CommandContext(b.Context(), os.Args[0], "-test.run", "^TestImagesOfADay$", "-test.v")
	if !testing.Short() {
		test.Env = append(os.Environ(), "CVFEEDER_WHOLE_DAY=1")
	}
	out, err := test.CombinedOutput()
	found := regexp.MustCompile(`images-per-event ([0-9.]+)`).FindSubmatch(out)
	if err != nil || found == nil {
		b.Fatalf("%v\n%s", err, out)
	}
	ratio, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(ratio, "images-per-event")
}
