package feeder

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder/feedertest"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestPlace: where a ledger begins, that was made while the service's time was not known.
func TestPlace(t *testing.T) {
	grid, err := source.NewGrid(200 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	host := source.SlotAt(time.Now())
	const day = 24 * time.Hour
	held := errors.New("nobody knows what the subjects hold")
	for name, tc := range map[string]struct {
		ahead    time.Duration // the host's clock
		cursor   source.Slot   // 0 for none
		backfill bool
		last     source.Slot // the last slot that was published, 0 for none
		lastErr  error
		want     source.Slot
	}{
		"the same clock":               {want: host},
		"half a second":                {ahead: time.Second / 2, want: host},
		"begins now, host ahead":       {ahead: 10 * time.Minute, want: host.Add(-10 * time.Minute)},
		"begins now, host behind":      {ahead: -10 * time.Minute, want: host.Add(10 * time.Minute)},
		"begins now, years behind":     {ahead: -900 * time.Hour, want: host.Add(900 * time.Hour)},
		"a cursor":                     {cursor: host.Add(-time.Minute), want: host.Add(-time.Minute)},
		"a cursor, host ahead":         {ahead: 10 * time.Minute, cursor: host.Add(-time.Hour), want: host.Add(-time.Hour)},
		"a cursor, years behind":       {ahead: -900 * time.Hour, cursor: host.Add(899 * time.Hour), want: host.Add(899 * time.Hour)},
		"tomorrow's cursor":            {cursor: host.Add(day), want: host},
		"tomorrow's, host ahead":       {ahead: day, cursor: host.Add(-time.Hour), want: host.Add(-day)},
		"tomorrow's, with tensors":     {cursor: host.Add(day), last: host.Add(-time.Minute), want: host.Add(-time.Minute + 200*time.Millisecond)},
		"tomorrow's, and its tensors":  {cursor: host.Add(day), last: host.Add(day / 2), want: host},
		"tomorrow's, NATS away":        {cursor: host.Add(day), lastErr: held, want: host.Add(day)},
		"a backfill that is to come":   {cursor: host.Add(day), backfill: true, want: host.Add(day)},
		"a backfill of long ago":       {cursor: host.Add(-day), backfill: true, want: host.Add(-day)},
		"a backfill, by a wrong clock": {ahead: day, cursor: host.Add(-day / 2), backfill: true, want: host.Add(-day / 2)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := feedertest.ServeFake(t, kinesistest.Options{Scene: feedertest.Grey{}, Faults: kinesistest.Faults{Skew: -tc.ahead}})
			client, err := kinesis.New(t.Context(), kinesis.Options{
				Region: kinesistest.Region, Endpoint: url, AccessKey: kinesistest.AccessKey, Secret: kinesistest.SecretKey,
			})
			if err != nil {
				t.Fatal(err)
			}
			b := &builder{service: client, last: func(context.Context, pipeline.Stream) (source.Slot, bool, error) {
				return tc.last, tc.last != 0, tc.lastErr
			}}
			made := time.Now()
			s := pipeline.Stream{Name: "cam-1", Grid: grid, From: source.SlotAt(made), Backfill: tc.backfill}
			start := s.From
			if tc.cursor != 0 {
				start = tc.cursor
			}
			l := source.NewLedger(grid, start)
			l.Follow(source.SlotAt(made), 0)
			err = b.place(t.Context(), client.Stream(kinesis.StreamOptions{Name: "cam-1"}), s, made, l)
			if !errors.Is(err, tc.lastErr) {
				t.Error(err)
			}
			passed := source.SlotAt(time.Now()).Sub(host) // since the cases were made
			if off := l.Stats().Start.Sub(tc.want); off < -time.Second || off > passed+2*time.Second {
				t.Errorf("it begins %v from where it should", off)
			}
		})
	}
}
