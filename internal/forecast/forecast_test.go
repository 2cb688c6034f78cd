package forecast_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/forecast"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// plain is a scene of one small grey picture.
type plain struct{}

func (plain) Key(string, time.Time) string { return "" }

func (plain) Picture(string, time.Time) (image.Image, error) {
	return image.NewGray(image.Rect(0, 0, 16, 16)), nil
}

// serve runs the fake on a pipe, through which the SDK reaches it.
func serve(t *testing.T, m forecast.Media) (*kinesistest.Server, *kinesis.Stream) {
	t.Helper()
	srv, err := kinesistest.New(kinesistest.Options{
		Scene: plain{}, Streams: kinesistest.Cameras(1), Fragment: m.Fragment, FragmentMax: m.FragmentMax, Delay: m.Delay,
		Faults: kinesistest.Faults{PageSize: m.Page, DenyListFragments: !m.Lists},
	})
	if err != nil {
		t.Fatal(err)
	}
	pipe := kinesistest.NewPipe()
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(t.Context(), pipe) })
	client := pipe.Client()
	t.Cleanup(func() {
		client.CloseIdleConnections()
		wg.Wait()
	})
	c, err := kinesis.New(t.Context(), kinesis.Options{
		Region: kinesistest.Region, Endpoint: "http://fake", AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey,
		HTTPClient: client,
	})
	if err != nil {
		t.Fatal(err)
	}
	return srv, c.Stream(kinesis.StreamOptions{Name: "cam-1"})
}

// A setup is how a stream's media becomes visible, and how it is polled.
type setup struct {
	media  forecast.Media
	stream forecast.Stream
}

func (s setup) String() string {
	return fmt.Sprintf("%v; every %v, lag %v, overlap %v, behind %v",
		s.media, s.stream.Interval, s.stream.Options.Lag, s.stream.Options.Overlap, s.stream.Behind)
}

// setups differ in everything that the cost depends on.
func setups() []setup {
	const s, ms = time.Second, time.Millisecond
	auto := poll.Options{Lag: poll.Auto, Overlap: poll.Auto}
	every := func(interval time.Duration, o poll.Options) forecast.Stream {
		return forecast.Stream{Interval: interval, Options: o}
	}
	return []setup{
		{forecast.Media{Fragment: 2 * s, Delay: 500 * ms, Page: 25}, every(200*ms, auto)},
		{forecast.Media{Fragment: 2 * s, Delay: 3 * s, Page: 25}, every(s, auto)},
		{forecast.Media{Fragment: 4 * s, Delay: 1500 * ms, Page: 25}, every(200*ms, poll.Options{Lag: 5 * s, Overlap: poll.Auto})},
		{forecast.Media{Fragment: 4 * s, Delay: 1500 * ms, Page: 25}, every(500*ms, poll.Options{Lag: 15 * s, Overlap: 8 * s})},
		{forecast.Media{Fragment: 3 * s, Delay: 500 * ms, Page: 4}, every(200*ms, poll.Options{Lag: poll.Auto, Overlap: s})},
		{forecast.Media{Fragment: 10 * s, Delay: 2 * s, Page: 12}, every(400*ms, auto)},
		{forecast.Media{Fragment: s, FragmentMax: 7 * s, Delay: s, Page: 25, Lists: true}, every(200*ms, auto)},
		{forecast.Media{Fragment: 2 * s, Delay: 500 * ms, Page: 25}, every(7*s, auto)},
		{forecast.Media{Fragment: 2 * s, Delay: 500 * ms, Page: 25}, forecast.Stream{Interval: 200 * ms, Options: auto, Behind: time.Hour}},
		{forecast.Media{Fragment: 10 * s, Delay: s, Page: 10, Lists: true}, forecast.Stream{Interval: s, Options: auto, Behind: time.Hour}},
	}
}

// TestPredict: what is predicted for a slot is within 10% of what a real run over the fake
// service takes.
func TestPredict(t *testing.T) {
	for _, s := range setups() {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			cost, err := forecast.Predict(t.Context(), s.media, s.stream)
			if err != nil {
				t.Fatalf("%v: %v", s, err)
			}
			if !time.Now().Equal(begin) {
				t.Errorf("%v: the prediction waited for %v", s, time.Since(begin))
			}
			run := s.run(t)
			t.Logf("%v: made %.3f, real %.3f; answered %.3f, real %.3f; age %v",
				s, cost.PerSlot(cost.Made), run.PerSlot(run.Made), cost.PerSlot(cost.Answered), run.PerSlot(run.Answered), cost.Age)
			near(t, s, "pictures made", cost.PerSlot(cost.Made), run.PerSlot(run.Made))
			near(t, s, "entries answered", cost.PerSlot(cost.Answered), run.PerSlot(run.Answered))
			near(t, s, "requests", cost.PerSlot(cost.Requests), run.PerSlot(run.Requests))
		})
	}
}

func near(t *testing.T, s setup, what string, predicted, taken float64) {
	t.Helper()
	if math.Abs(predicted-taken) > 0.1*taken {
		t.Errorf("%v: %.3f %s for a slot, but a run takes %.3f", s, predicted, what, taken)
	}
}

// run polls the fake for half an hour, or its backlog.
func (s setup) run(t *testing.T) forecast.Cost {
	t.Helper()
	srv, stream := serve(t, s.media)
	grid, err := source.NewGrid(s.stream.Interval)
	if err != nil {
		t.Fatal(err)
	}
	begin, now := source.SlotAt(time.Now()), source.SlotAt(time.Now())
	opts := s.stream.Options
	count := begin.Add(5 * time.Minute)
	opts.To = count.Add(max(30*time.Minute, 100*s.stream.Interval))
	if s.stream.Behind > 0 {
		begin, count, opts.To = begin.Add(-s.stream.Behind), begin.Add(-s.stream.Behind), begin
	}
	ledger := source.NewLedger(grid, begin)
	var before kinesistest.Total
	for frame, err := range poll.New(stream, ledger, opts).Frames(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if frame.Slot < count {
			before = srv.Totals()["cam-1"]
		}
		ledger.Resolve(frame.Slot, source.Published)
	}
	if s.stream.Behind > 0 && source.SlotAt(time.Now()).Sub(now) > time.Hour {
		t.Errorf("%v: it did not catch up", s)
	}
	images, lists := 0, 0
	for _, r := range srv.Requests() {
		switch {
		case source.SlotAt(r.Time) < count && s.stream.Behind == 0:
		case r.Operation == "GetImages":
			images++
		case r.Operation == "ListFragments":
			lists++
		}
	}
	all := srv.Totals()["cam-1"]
	return forecast.Cost{
		Slots: grid.Count(grid.Ceil(count), grid.Ceil(opts.To)), Requests: images, Lists: lists,
		Made: all.Made - before.Made, Answered: all.Answered - before.Answered,
	}
}

// TestPredictDiffers: cost and age are not the same whatever the stream is.
func TestPredictDiffers(t *testing.T) {
	base := setups()[0]
	predict := func(change func(*setup)) (cost, age float64) {
		s := base
		s.media.Latency = 100 * time.Millisecond
		change(&s)
		c, err := forecast.Predict(t.Context(), s.media, s.stream)
		if err != nil {
			t.Fatal(err)
		}
		return c.PerSlot(c.Answered + c.Requests), c.Age.Seconds()
	}
	usual, young := predict(func(*setup) {})
	for name, change := range map[string]func(*setup){
		"lag":       func(s *setup) { s.stream.Options.Lag = 6 * time.Second },
		"overlap":   func(s *setup) { s.stream.Options.Overlap = 10 * time.Second; s.stream.Options.Lag = 5 * time.Second },
		"fragments": func(s *setup) { s.media.Fragment = 8 * time.Second },
		"pages":     func(s *setup) { s.media.Page = 2 },
		"interval":  func(s *setup) { s.stream.Interval = 4 * time.Second },
	} {
		if cost, age := predict(change); math.Abs(cost-usual) < 0.02*usual && math.Abs(age-young) < 0.02*young {
			t.Errorf("%s: %.3f images and requests, and an age of %.3f s, as without", name, cost, age)
		}
	}
}

func TestPredictEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := forecast.Predict(ctx, forecast.Assumed, setups()[0].stream); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := forecast.Predict(t.Context(), forecast.Assumed, forecast.Stream{Interval: time.Millisecond}); err == nil {
		t.Error("an interval of a millisecond is possible")
	}
}

// TestMeasure: after a minute it is known how the media becomes visible, and no more images
// were spent than was said.
func TestMeasure(t *testing.T) {
	for _, s := range setups() {
		if s.stream.Behind > 0 {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(737 * time.Millisecond) // so that it begins amid a fragment, off the grid
			srv, stream := serve(t, s.media)
			assumed := forecast.Assumed
			m, err := forecast.Measure(t.Context(), stream, s.stream, time.Minute, assumed)
			if err != nil {
				t.Fatalf("%v: %v", s, err)
			}
			t.Logf("%v: measured %v, cost %+v, %d spent", s, m.Media, m.Cost, m.Spent)
			asked, most := srv.Totals()["cam-1"].Asked, forecast.MostImages(s.stream, time.Minute)
			if m.Spent > most || asked > most {
				t.Errorf("%v: %d images spent, %d asked for, and %d were allowed", s, m.Spent, asked, most)
			}
			longest := max(s.media.Fragment, s.media.FragmentMax)
			if m.Media.Fragment < s.media.Fragment*9/10 || max(m.Media.Fragment, m.Media.FragmentMax) > longest*11/10 {
				t.Errorf("%v: fragments of %v to %v", s, m.Media.Fragment, m.Media.FragmentMax)
			}
			if off := (m.Media.Delay - s.media.Delay).Abs(); off > 600*time.Millisecond {
				t.Errorf("%v: a delay of %v", s, m.Media.Delay)
			}
		})
	}
}

// TestMeasureNothing: where there is no media, it says so.
func TestMeasureNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, stream := serve(t, forecast.Assumed)
		srv.RemoveStream("cam-1")
		if err := srv.AddStream(kinesistest.Stream{Name: "cam-1", Since: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		_, err := forecast.Measure(t.Context(), stream, setups()[0].stream, time.Minute, forecast.Assumed)
		if !errors.Is(err, forecast.ErrNoMedia) {
			t.Errorf("of a stream without media: %v", err)
		}
	})
}

// TestFollowSlowAnswers: answers that take so long that media becomes visible between them do
// not make the edge seem to lie amid a fragment, where no window that begins there finds it.
func TestFollowSlowAnswers(t *testing.T) {
	media := forecast.Media{Fragment: 2 * time.Second, Delay: 300 * time.Millisecond, Page: poll.PageSlots}
	for offset := time.Duration(0); offset < 4*time.Second; offset += 173 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(offset)
			_, stream := serve(t, media)
			slow := func(ctx context.Context, w poll.Window) ([]source.Slot, error) {
				found, err := forecast.Pictures(stream.Images(ctx, w), w)
				time.Sleep(time.Duration(w.Slots()) * 40 * time.Millisecond)
				return found, err
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			seen, err := forecast.Scout{Ask: slow, Now: time.Now}.Follow(ctx, 4)
			if err != nil {
				t.Errorf("after %v: %d fragments seen: %v", offset, len(seen), err)
			}
			for _, f := range seen {
				if off := (f.Length() - media.Fragment).Abs(); off > 400*time.Millisecond {
					t.Errorf("after %v: a fragment of %v", offset, f.Length())
				}
			}
		})
	}
}
