package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/forecast"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/source/kinesis/limits"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// A fleet is very many cameras in groups, each with a NATS cluster, an AWS account and
// replicas in three zones of its own.
type fleet struct {
	cameras, groups int
	cores           int // of a replica
	interval        time.Duration
	use             float64       // the share of the cores that is planned to be used
	outage          time.Duration // how long NATS or AWS is away
	retention       time.Duration
	lease           time.Duration
	seed            uint64

	figures figures
	prices  prices
	cost    forecast.Cost // of polling a camera, by the poller itself
}

const (
	zones       = 3
	natsNodes   = 3
	tensorBytes = 3 * 640 * 640 // of uint8
	pictureMB   = 0.43          // of 320 KB, in base64
	processMB   = 200           // of a replica without its streams, as measured: docs/deployment.md
	streamKiB   = 23            // of a stream, at most, as "make bench" measures
	aroundMS    = 2             // of a core for a frame: sending, HTTP and the runtime, from docs/performance.md
	month       = 730 * time.Hour
)

// predict has the poller poll a camera for half an hour of simulated time.
func (f *fleet) predict(ctx context.Context) (err error) {
	f.cost, err = forecast.Predict(ctx, forecast.Assumed, forecast.Stream{
		Interval: f.interval, Options: poll.Options{Lag: poll.Auto, Overlap: poll.Auto, Grace: 10 * time.Second},
	})
	return err
}

// perSlot returns how much there is of something for a slot.
func (f *fleet) perSlot(n int) float64 { return float64(n) / float64(f.cost.Slots) }

// frames returns those of all cameras in a second.
func (f *fleet) frames() float64 { return float64(f.cameras) / f.interval.Seconds() }

// perCore returns how many frames a core turns into published tensors in a second.
func (f *fleet) perCore() float64 {
	return 1000 / (f.figures.TransformMS + f.figures.PageMS/poll.PageSlots + aroundMS)
}

// replicas returns those of a group.
func (f *fleet) replicas() int {
	return int(math.Ceil(f.frames() / float64(f.groups) / (f.perCore() * f.use) / float64(f.cores)))
}

// inGroup returns the cameras of a group.
func (f *fleet) inGroup() int { return f.cameras / f.groups }

// needs prints what the fleet takes.
func (f *fleet) needs(out io.Writer) {
	replicas := f.replicas() * f.groups
	requests := f.perSlot(f.cost.Requests) / f.interval.Seconds() // of a camera, in a second
	images := f.perSlot(f.cost.Asked) / f.interval.Seconds()
	pace := lease.CursorPace(f.lease, f.inGroup())
	cursors, renewals := float64(f.inGroup())/pace.Seconds(), float64(f.replicas())/(f.lease/3).Seconds()
	fmt.Fprintf(out, "| of %s cameras, a picture every %v, in %d groups | in all | for a group |\n|---|---:|---:|\n", thousands(float64(f.cameras)), f.interval, f.groups)
	row := func(what, format string, all float64) {
		fmt.Fprintf(out, "| %s | %s | %s |\n", what, fmt.Sprintf(format, thousands(all)), fmt.Sprintf(format, thousands(all/float64(f.groups))))
	}
	row(fmt.Sprintf("replicas with %d cores, used to %.0f%%", f.cores, 100*f.use), "%s", float64(replicas))
	row("cores", "%s", float64(replicas*f.cores))
	row("memory of the replicas", "%s GB", (float64(replicas)*processMB+float64(f.cameras)*streamKiB/1024)/1024)
	row("messages to NATS", "%s/s", f.frames())
	row("tensors to NATS, uint8 640x640", "%s Gbit/s", f.frames()*tensorBytes*8/1e9)
	row("pictures from Kinesis, 1080p", "%s Gbit/s", f.frames()*pictureMB*8/1e3)
	row("requests to GetImages", "%s/s", requests*float64(f.cameras))
	fmt.Fprintf(out, "| share of a camera's quota: media points, metadata points | %.1f%%, %.1f%% | |\n",
		100*images/limits.MediaPoints, 100*(requests*limits.RequestPoints+images)/limits.MetadataPoints)
	start := time.Duration(float64(f.inGroup()) / (0.8 * limits.AccountRequests) * float64(time.Second))
	fmt.Fprintf(out, "| a cold start, at four fifths of an account's %d look-ups a second | | %v |\n", limits.AccountRequests, start.Round(time.Second))
	fmt.Fprintf(out, "| leases: renewals and cursors written, each cursor every %v | | %s/s of %s/s |\n", pace.Round(time.Second), thousands(renewals+cursors), thousands(f.figures.WritesThree))
}

// costs prints what the fleet costs in a month.
func (f *fleet) costs(out io.Writer) {
	p := f.prices
	hours := month.Hours()
	slots := f.frames() * month.Seconds()
	fmt.Fprintf(out, "| a month | %s | price |\n|---|---:|---|\n", p.Currency)
	row := func(what string, sum float64, price string) {
		fmt.Fprintf(out, "| %s | %s | %s |\n", what, thousands(sum), price)
	}
	for _, kind := range []struct {
		what string
		n    int
	}{{"images with a picture", f.cost.Made}, {"images, if entries without a picture are billed, too", f.cost.Answered}} {
		row(kind.what, slots*f.perSlot(kind.n)/1e6*p.PerMillionImages, fmt.Sprintf("%g a million", p.PerMillionImages))
	}
	row("cores", float64(f.replicas()*f.groups*f.cores)*hours*p.CoreHour, fmt.Sprintf("%g an hour", p.CoreHour))
	row(fmt.Sprintf("NATS: %d servers in each group", natsNodes), float64(natsNodes*f.groups)*hours*p.NATSNodeHour, fmt.Sprintf("%g an hour", p.NATSNodeHour))
	row("tensors that cross zones, if all do", slots*tensorBytes/1e9*p.GBBetweenZones, fmt.Sprintf("%g a GB", p.GBBetweenZones))
}

// thousands returns a number with at most three digits that matter, or all before the point.
func thousands(n float64) string {
	if n < 100 {
		return fmt.Sprintf("%.3g", n)
	}
	digits := fmt.Sprintf("%.0f", n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
