package feeder_test

import (
	"context"
	"errors"
	"image"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/consume"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// A yard is a view in which something is there from an instant on.
type yard struct{ from time.Time }

// Key implements [kinesistest.Scene].
func (y yard) Key(_ string, at time.Time) string {
	if at.Before(y.from) {
		return "empty"
	}
	return "car"
}

// Picture implements [kinesistest.Scene].
func (y yard) Picture(_ string, at time.Time) (image.Image, error) {
	m := image.NewGray(image.Rect(0, 0, 320, 240))
	for i := range m.Pix {
		m.Pix[i] = 90
		if x, yy := i%320, i/320; !at.Before(y.from) && x > 100 && x < 200 && yy > 100 && yy < 160 {
			m.Pix[i] = 200
		}
	}
	return m, nil
}

const gatedConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
delivery: {mode: %s, stream: {max_bytes: 256MiB}}
http: {listen: "127.0.0.1:0"}
streams:
  - {name: cam-1, outputs: [relaxed], grace: 5s}
  - {name: cam-2, outputs: [all], grace: 5s}
outputs:
  relaxed: {preset: none, size: 16x16, gate: {change: 2%%, every: 2s, relax: 1s, burst: %v}}
  all: {preset: none, size: 16x16}
`

// TestGates: of a camera that sees nothing, hardly anything is published and, by the service's
// own record, a fraction of the images is asked for; what comes then is published at once, and
// asked for as often as configured, and a burst brings what was left out before it. The camera
// is well all the time, and has no gap.
func TestGates(t *testing.T) {
	for _, mode := range []string{"live", "durable"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			y := yard{from: time.Now().Add(40 * time.Second).Truncate(time.Second)}
			fake, url := feedertest.ServeFake(t, kinesistest.Options{Streams: kinesistest.Cameras(2), Scene: y})
			natsURL := feedertest.ServeNATS(t)
			sub := feedertest.Subscribe(t, natsURL, "cvf.t.cam-1.>", "cvf.gap.cam-1")
			o, log := options(t, gatedConfig, url, natsURL, mode, mode == "live")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o.Started = func(ctx context.Context, run feeder.Running) {
				defer cancel()
				v := &visitor{t: t, fake: fake, run: run}
				v.wait("cam-1", source.Skipped, 24) // by now it is known when its media becomes visible at that pace
				was, published := fake.Totals(), v.stream("cam-1").Ended[source.Published]
				v.wait("cam-1", source.Skipped, v.stream("cam-1").Ended[source.Skipped]+48)
				is, st := fake.Totals(), v.stream("cam-1")
				quiet, busy := is["cam-1"].Asked-was["cam-1"].Asked, is["cam-2"].Asked-was["cam-2"].Asked
				t.Logf("%d images of a quiet camera, %d of one without a gate", quiet, busy)
				if quiet*2 > busy {
					t.Errorf("%d images of a quiet camera were asked for, and %d of one without a gate", quiet, busy)
				}
				if n := st.Ended[source.Published] - published; n < 1 || n > 12 || st.Ended[source.Unchanged] < 5 {
					t.Errorf("%d slots published while nothing happened; %+v", n, st.Stats)
				}
				if state := feedertest.Get(t, run.HTTP+"/api/streams/cam-1"); !strings.Contains(strings.ReplaceAll(state, " ", ""), `"state":"`+string(health.OK)+`"`) {
					t.Errorf("a quiet camera is not well: %s", state)
				}
				firstSight(ctx, t, sub, y.from)
				if mode == "live" {
					before(ctx, t, sub, y.from)
				}
				sum := v.stream("cam-1")
				total := sum.Pending
				for _, n := range sum.Ended {
					total += n
				}
				if total != sum.Expected || sum.Gaps != [len(sum.Gaps)]uint64{} {
					t.Errorf("it does not add up: %+v", sum.Stats)
				}
			}
			if err := feeder.New(o).Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%v\n%s", err, log.String())
			}
		})
	}
}

// firstSight reads messages until the first that is not of before an instant, which has to be
// of no more than the relaxed pace later.
func firstSight(ctx context.Context, t *testing.T, sub *consume.Subscription, from time.Time) {
	t.Helper()
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		if m.Subject == publish.GapSubject("cam-1") {
			t.Errorf("a gap: %s", m.Data)
			continue
		}
		at, err := time.Parse(publish.TimeFormat, m.Header[publish.HeaderTime][0])
		if err != nil {
			t.Error(err)
			return
		}
		if !at.Before(from) {
			if late := at.Sub(from); late > time.Second || len(m.Header[publish.HeaderSince]) == 0 {
				t.Errorf("the car is seen %v after it came: %v", late, m.Header)
			}
			return
		}
	}
}

// before reads messages until a burst has brought four of the five slots of the second before an
// instant, which had been left out.
func before(ctx context.Context, t *testing.T, sub *consume.Subscription, from time.Time) {
	t.Helper()
	found := map[string]bool{}
	for len(found) < 4 {
		m, err := sub.Next(ctx)
		if err != nil {
			t.Errorf("only %v of the second before it: %v", found, err)
			return
		}
		if len(m.Header[publish.HeaderBurst]) == 0 {
			continue
		}
		at, err := time.Parse(publish.TimeFormat, m.Header[publish.HeaderTime][0])
		if err != nil {
			t.Error(err)
			return
		}
		if ahead := from.Sub(at); ahead > 0 && ahead <= time.Second {
			found[at.String()] = true
		}
	}
}
