package feeder

import (
	"fmt"
	"net"
	"net/http"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/internal/web"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/metrics/status"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// sources returns what the metrics read at each scrape.
func (p *parts) sources() metrics.Sources {
	s := metrics.Sources{
		Streams:       p.metricsNow,
		Budget:        p.purse.ofAll,
		Price:         p.plan.Config.Price.PerMillionImages,
		Connections:   p.broker.connections,
		InflightBytes: p.pipeline.InflightBytes,
		MatsOpen:      opencv.OpenMats,
		BusyRatio:     p.pipeline.Busy,
		Cores:         p.lacks,
		Remakes:       p.broker.conn.Remakes,
		Rollbacks:     p.broker.conn.Rollbacks,
		NotReady:      p.watchdog.counts,
		Memory:        p.memory.metrics(),
		Now:           p.service.Now,
		ClockOffset:   p.service.ClockOffset,
	}
	if p.plan.Config.Cluster.Group != "" {
		s.Group = p.outlet.sharing.counts
	}
	return s
}

// lacks returns what the process lacks in cores.
func (p *parts) lacks() metrics.Cores {
	l := p.cores.Lack()
	return metrics.Cores{Limit: l.Cores, Quota: l.Quota, Machine: l.Machine, Process: l.Process}
}

// metricOf returns the state of a stream as the metrics show it.
func metricOf(s *pipeline.State) metrics.Stream {
	return metrics.Stream{
		Name: s.Name, Stats: s.Stats, Lag: s.Feed.Lag, Overlap: s.Feed.Overlap, Trail: s.Feed.Trail, Resting: s.Feed.Resting,
		Health: s.Health, Slack: s.Feed.Lag + s.Grace,
	}
}

// handler serves the status page, metrics and health.
func (p *parts) handler(l net.Listener) http.Handler {
	cfg := p.plan.Config
	local := web.IsLoopback(l)
	if !local && cfg.HTTP.Token == "" {
		p.log.Warn("the status page, with pictures, and the metrics are open to everybody who can connect: set http.token, or listen on 127.0.0.1", "http", "http://"+l.Addr().String())
	}
	pictures := newPictures(p)
	page := status.Handler(status.Options{
		Version: Version(), Mode: string(cfg.Delivery.Mode), NATS: p.broker.url,
		Streams: p.statuses, Waiting: p.waiting, Connections: p.broker.connections,
		Health: p.watchdog.now, Busy: p.pipeline.Busy, Now: p.service.Now, At: p.service.At, ClockOffset: p.service.ClockOffset,
		Picture: pictures.next, Frame: pictures.ofSlot,
		FramePrice: status.FramePrice{Images: poll.FrameImages, Price: poll.FrameImages * cfg.Price.PerMillionImages / 1e6, Currency: cfg.Price.Currency},
		Bill:       p.metrics.Bill, Month: p.purse.month, Price: cfg.Price.PerMillionImages / 1e6,
		Config: p.cameras.excerpt, Links: status.Links{Runbook: cfg.HTTP.Runbook, Grafana: cfg.HTTP.Grafana},
	})
	return web.Handler(web.Options{
		Metrics: p.metrics, Ready: p.watchdog.ready, Status: page,
		Pprof: cfg.HTTP.Pprof, Token: cfg.HTTP.Token, Loopback: local,
	})
}

// waiting returns the names of the config's streams until they have begun.
func (p *parts) waiting() []string {
	if p.opened.Load() {
		return nil
	}
	var names []string
	for _, s := range p.plan.Config.Streams {
		if s.Prefix != "" {
			names = append(names, s.Prefix+"*")
		} else {
			names = append(names, s.Name)
		}
	}
	return names
}

// statuses returns how every stream stands, by name, for the status page.
func (p *parts) statuses() []status.Stream {
	states := p.states()
	all := make([]status.Stream, 0, len(states))
	for i := range states {
		s := &states[i]
		routes, name, sight := s.Routes, s.Name, s.Camera
		history := p.histories.Of(s.Name)
		if history == nil {
			continue // it was removed this very moment
		}
		all = append(all, status.Stream{
			Stream:   p.metricOf(s),
			Interval: s.Grid.Interval(), Grace: s.Grace, To: s.To, History: history,
			Outputs: func() []status.Output { return outputsOf(routes, sight) },
			Bursts:  func() []status.Burst { return p.burstsOf(name) },
		})
	}
	return all
}

// outputsOf returns outputs as the page shows them.
func outputsOf(routes []publish.Route, sight *transform.Camera) []status.Output {
	all := make([]status.Output, len(routes))
	for i, r := range routes {
		all[i] = status.Output{Name: r.Output.Name, Subject: r.Subject, Spec: describe(r.Output) + describeSight(sight)}
	}
	return all
}

// describeSight says what the outputs of a camera have in common, "" where it is nothing.
func describeSight(c *transform.Camera) string {
	text := ""
	if c == nil {
		return text
	}
	switch n := len(c.Masks); {
	case n == 1:
		text = ", 1 mask"
	case n > 1:
		text = fmt.Sprintf(", %d masks", n)
	}
	if c.Lens != nil {
		text += fmt.Sprintf(", rectified (%s)", c.Lens.Model)
	}
	return text
}

// describe returns an output in a few words: 640x640 letterbox, rgb float32 nchw.
func describe(o *transform.Output) string {
	size := "as large as the picture"
	switch {
	case o.Spec.Width > 0:
		size = fmt.Sprintf("%dx%d %s", o.Spec.Width, o.Spec.Height, o.Spec.Fit)
	case o.Spec.ComputesSize():
		size = fmt.Sprintf("%s of the picture", o.Spec.Fit)
	}
	return fmt.Sprintf("%s, %s %s %s", size, o.Spec.Color, o.Spec.DType, o.Spec.Layout)
}
