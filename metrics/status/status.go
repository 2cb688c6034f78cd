// Package status is the page for the person on call. It shows which camera has gaps, since
// when and why, how old its newest tensor is, and what the model sees. It changes nothing.
//
//	page := status.Handler(status.Options{
//		Version: "v1.2.3", Mode: "live",
//		Streams:     pipeline.Status,
//		Connections: connections,
//		Health:      watchdog.Report,
//		Picture:     picture,
//	})
//	http.Handle("/", page)
//
// The files of the page are part of the program, and load nothing from other sites. The
// page reads /api/streams, as any program may: see [Handler]. A [History] for each stream
// keeps its last minutes. Pictures are made only while somebody looks at them.
//
// The package is larger than most packages because the whole page is in it: what a row of it has, and
// how that is answered.
package status

import (
	"context"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
)

// Options say where the page gets what it shows.
type Options struct {
	// Version of the program.
	Version string
	// Mode is the delivery mode, and NATS the server's URL without secrets.
	Mode, NATS string
	// Started is when the program was started, as time.Now gave it. Default: now.
	Started time.Time
	// Streams returns the state of every stream, in the order of their names. It is called
	// for each answer.
	Streams func() []Stream
	// Waiting returns the names of the streams that have not started because NATS is not
	// ready. Default: none.
	Waiting func() []string
	// Connections returns the connections to NATS. Those for tensors have names that begin
	// with "data".
	Connections func() []metrics.Connection
	// Health returns how well the process and its streams are, and why not.
	Health func() health.Report
	// Busy returns the share of the last ten seconds that the workers were busy. Default:
	// 0.
	Busy func() float64
	// Now returns the present by the clock of the slots, At the time by that clock at an
	// instant that time.Now has given, and ClockOffset how far the host's clock is ahead of
	// it. Default: the host's clock.
	Now         func() time.Time
	At          func(time.Time) time.Time
	ClockOffset func() time.Duration
	// Picture waits for a frame of a stream, and returns the frame and the output's tensor as
	// pictures. Its errors may wrap [ErrNotFound], [ErrBusy] or [ErrNoFrame]. Default: there
	// are no pictures.
	Picture func(context.Context, PictureRequest) (Picture, error)
	// Frame asks the service for the frame of a slot that has passed, for who asks from an
	// address, which is billed. Its errors may wrap [ErrNotFound], [ErrBusy], [ErrNoFrame] or
	// [ErrTooMany]. Default: there are none.
	Frame func(ctx context.Context, from string, r PictureRequest) (Picture, error)
	// FramePrice is what such a frame costs, where Frame is set.
	FramePrice FramePrice
	// Bill returns the images that were asked for since the start, and those that came: of a
	// stream, or of all for "". Default: it is not known.
	Bill func(stream string) (asked, came source.Bill)
	// Month returns the images that were asked for since the month began. Default: as Bill.
	Month func(stream string) int64
	// Price is what an image costs, in the currency of FramePrice.
	Price float64
	// Config returns what the config file says of a stream, false where that is not known.
	// Default: it is not.
	Config func(stream string) (string, bool)
	// Links are those that the page shows.
	Links Links
}

// A FramePrice is what a frame on request costs.
type FramePrice struct {
	// Images are those that the service bills, and Price what they cost in all.
	Images   int     `json:"images"`
	Price    float64 `json:"price"`
	Currency string  `json:"currency"`
}

// Links are the addresses of pages elsewhere, "" for none.
type Links struct {
	// Runbook explains the reasons: "#" and a code follow it.
	Runbook string `json:"runbook"`
	// Grafana is a dashboard. {stream} in it stands for a stream's name.
	Grafana string `json:"grafana"`
}

// A Stream is the state of one stream at one instant.
type Stream struct {
	metrics.Stream
	Interval, Grace time.Duration
	// To is the slot at which the stream ends, 0 for never.
	To source.Slot
	// Outputs returns those of the stream. It is called for streams that are shown.
	Outputs func() []Output
	// Bursts returns those of the stream that are read or were of late. It is called for
	// streams that are shown.
	Bursts  func() []Burst
	History *History
}

// A Burst is a time at which a stream is looked at more closely.
type Burst struct {
	ID string `json:"burst"`
	// From is its first slot, To the first after its last.
	From     string  `json:"from"`
	To       string  `json:"to"`
	Interval float64 `json:"interval_seconds"`
	Reason   string  `json:"reason,omitempty"`
	// Running says that not all of its slots have ended.
	Running bool `json:"running"`
	// Slots is how many it has; Outcomes counts how those that have ended did. Slots that the
	// stream has published itself are skipped, or are not asked for again.
	Slots    int               `json:"slots"`
	Outcomes map[string]uint64 `json:"outcomes"`
}

// An Output is one of the outputs of a stream.
type Output struct {
	Name    string `json:"output"`
	Subject string `json:"subject"`
	// Spec is the shape and type of its tensors, as text for people.
	Spec string `json:"spec,omitempty"`
}
