// Package status is the page for the person on call. It shows which camera has gaps, since
// when and why, how old its newest tensor is, and what the model sees. It is read-only.
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
	// Picture waits for the next frame of a stream, and returns the frame and the output's
	// tensor as pictures. Its errors may wrap [ErrNotFound], [ErrBusy] or [ErrNoFrame].
	// Default: there are no pictures.
	Picture func(ctx context.Context, stream, output string) (Picture, error)
}

// A Stream is the state of one stream at one instant.
type Stream struct {
	metrics.Stream
	Interval, Grace time.Duration
	// To is the slot at which the stream ends, 0 for never.
	To source.Slot
	// Outputs returns those of the stream. It is called for streams that are shown.
	Outputs func() []Output
	History *History
}

// An Output is one of the outputs of a stream.
type Output struct {
	Name    string `json:"output"`
	Subject string `json:"subject"`
	// Spec is the shape and type of its tensors, as text for people.
	Spec string `json:"spec,omitempty"`
}
