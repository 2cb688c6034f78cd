package feeder_test

import (
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/checkpoint"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestTheHostsClockIsWrong: the host's clock is ahead of the service's, or behind. All slots
// arrive in time, and metrics, page and log tell the truth.
func TestTheHostsClockIsWrong(t *testing.T) {
	for _, ahead := range []time.Duration{10 * time.Minute, -40 * time.Second} {
		t.Run(ahead.String(), func(t *testing.T) {
			feedertest.Long(t, "runs a feeder for some seconds")
			r := feedertest.NewRig(t, kinesistest.Options{Faults: kinesistest.Faults{Skew: -ahead}})
			o, log := options(t, endToEndConfig, r.FakeURL, r.NATSURL)
			o.Length = 6 * time.Second
			var during, after, page string
			var fetched time.Time
			o.Started = func(ctx context.Context, run feeder.Running) {
				time.Sleep(4 * time.Second)
				during, page = feedertest.Get(t, run.HTTP+"/metrics"), feedertest.Get(t, run.HTTP+"/api/streams")
				fetched = time.Now()
				<-ctx.Done()
				after = feedertest.Get(t, run.HTTP+"/metrics")
			}
			if err := feeder.New(o).Run(t.Context()); err != nil {
				t.Fatalf("%v\n%s", err, log.String())
			}
			if n := strings.Count(log.String(), "the host's clock is"); n != 1 {
				t.Errorf("warned %d times:\n%s", n, log.String())
			}
			published := 0
			for _, m := range r.Messages() {
				if m.Subject == "cvf.t.cam-1.plain" {
					published++
				}
			}
			if published != 30 {
				t.Errorf("%d of 30 slots of cam-1 have arrived", published)
			}
			near(t, "offset", gauge(t, during, "cvfeeder_clock_offset_seconds"), ahead.Seconds(), 5)
			near(t, "freshness", gauge(t, during, `cvfeeder_freshness_seconds{stream="cam-1"}`), 3, 15)
			count := gauge(t, after, `cvfeeder_latency_seconds_count{output="plain"}`)
			near(t, "latency", gauge(t, after, `cvfeeder_latency_seconds_sum{output="plain"}`)/count, 3, 15)
			var shown struct {
				Time        time.Time
				ClockOffset float64 `json:"clock_offset_seconds"`
				Streams     []struct {
					State     string
					Freshness float64 `json:"freshness_seconds"`
				}
			}
			if err := json.Unmarshal([]byte(page), &shown); err != nil || len(shown.Streams) != 2 {
				t.Fatalf("%v: %s", err, page)
			}
			near(t, "the page's offset", shown.ClockOffset, ahead.Seconds(), 5)
			near(t, "the page's time", fetched.Sub(shown.Time).Seconds(), ahead.Seconds(), 15)
			for _, s := range shown.Streams {
				if near(t, "the page's freshness", s.Freshness, 3, 15); s.State != "ok" && s.State != "starting" { // on a slow machine
					t.Errorf("the page says %s", s.State)
				}
			}
		})
	}
}

func near(t *testing.T, what string, got, want, by float64) {
	t.Helper()
	if got < want-by || got > want+by {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// gauge returns the value of a series in a scrape.
func gauge(t *testing.T, scrape, series string) float64 {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(scrape)
	if found == nil {
		t.Fatalf("there is no %s", series)
	}
	v, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

const tomorrowConfig = `
aws: {region: us-east-1, endpoint: %q}
nats: {url: %q}
http: {listen: ""}
state: %q
delivery: {mode: %s, gaps: inline}
streams: [{name: cam-1, interval: 200ms, outputs: [plain]}]
outputs: {plain: {preset: none, size: 32x32}}
`

// TestACursorOfTomorrow: a cursor was saved while the clock was a day ahead. The stream begins
// at the present, and so does its cursor.
func TestACursorOfTomorrow(t *testing.T) {
	feedertest.Long(t, "runs a feeder for some seconds")
	dir := t.TempDir()
	cursors := func(use func(*checkpoint.Store)) {
		store, err := checkpoint.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		use(store)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	tomorrow := source.SlotAt(time.Now()).Add(24 * time.Hour)
	cursors(func(s *checkpoint.Store) { s.Set("cam-1", tomorrow) })
	r := feedertest.NewRig(t, kinesistest.Options{Scene: feedertest.Grey{}})
	o, log := options(t, tomorrowConfig, r.FakeURL, r.NATSURL, dir, "live")
	o.Length = 5 * time.Second
	begin := time.Now()
	if err := feeder.New(o).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "ahead of the service's time"); n != 1 || !strings.Contains(log.String(), "ahead=23h59m") && !strings.Contains(log.String(), "ahead=24h0m") {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
	if n := len(r.Messages()); n < 15 || n > 26 {
		t.Errorf("%d slots", n)
	}
	cursors(func(s *checkpoint.Store) {
		if c, _ := s.Load("cam-1"); c.Time().Before(begin) || c.Time().After(time.Now()) {
			t.Errorf("the cursor is %v", c)
		}
	})
}

// TestADurableCursorOfTomorrow: what the subject holds tells where to go on, so that no slot
// is lost or stored twice.
func TestADurableCursorOfTomorrow(t *testing.T) {
	feedertest.Long(t, "runs a feeder for some seconds")
	fakeURL := func() string {
		_, url := feedertest.ServeFake(t, kinesistest.Options{Scene: feedertest.Grey{}})
		return url
	}()
	natsURL := feedertest.ServeNATS(t)
	run := func() string {
		o, log := options(t, tomorrowConfig, fakeURL, natsURL, "", "durable")
		ctx, cancel := context.WithCancel(t.Context())
		defer time.AfterFunc(5*time.Second, cancel).Stop()
		if err := feeder.New(o).Run(ctx); err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	begin := time.Now()
	run()
	tomorrow := source.SlotAt(time.Now()).Add(24 * time.Hour)
	saveTomorrow(t, natsURL, tomorrow)
	if log := run(); !strings.Contains(log, "ahead of the service's time") {
		t.Errorf("not told:\n%s", log)
	}
	const subject = "cvf.t.cam-1.plain"
	spans := feedertest.Stored(t, natsURL)[subject]
	if len(spans) < 30 {
		t.Fatalf("%d messages", len(spans))
	}
	if late := spans[0].First.Sub(begin); late > 3*time.Second {
		t.Errorf("the first slot is %v after the beginning", late)
	}
	feedertest.CheckOnce(t, subject, spans, spans[0].First, time.Now().Add(-5*time.Second), 200*time.Millisecond, true)
}

// saveTomorrow saves a cursor of cam-1.
func saveTomorrow(t *testing.T, url string, cursor source.Slot) {
	t.Helper()
	conn, err := dial.Dial(dial.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	cursors := deliver.NewCursors(conn, 1)
	if err := cursors.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	cursors.Set("cam-1", cursor)
	if err := cursors.Flush(t.Context(), "cam-1"); err != nil {
		t.Fatal(err)
	}
}
