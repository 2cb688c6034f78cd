// Package status is the page for the person on call: which camera has gaps, since
// when, why, how old its newest tensor is, and what the model sees. It is read-only.
//
//	page := status.Handler(status.Options{
//		Version: "v1.2.3", Mode: "live",
//		Streams:     pipeline.Status,
//		Connections: connections,
//		NotReady:    notReady,
//		Picture:     picture,
//	})
//	http.Handle("/", page)
//
// The page is three files in the program, and asks for nothing from elsewhere. It
// reads /api/streams, which is there for everybody: see [Handler]. A [History] for
// each stream keeps its last minutes; pictures are taken only for who asks.
package status

import (
	"context"
	"time"

	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/source"
)

// Options are where the page looks.
type Options struct {
	// Version of the program.
	Version string
	// Mode is the delivery mode, and NATS the server's URL without secrets.
	Mode, NATS string
	// Started is when the program was. Default: now.
	Started time.Time
	// Streams returns how every stream stands, by name. It is called for each answer.
	Streams func() []Stream
	// Waiting returns the names of the streams that are not there yet, because NATS
	// is not ready. nil returns none.
	Waiting func() []string
	// Connections returns those to NATS.
	Connections func() []metrics.Connection
	// NotReady returns why the process is not ready.
	NotReady func() []string
	// Busy returns the share of the workers' time that they have worked lately. nil is
	// none of it.
	Busy func() float64
	// Picture waits for the next frame of a stream, and returns the output's tensor
	// of it as pictures. Its errors may wrap [ErrNotFound], [ErrBusy] or
	// [ErrNoFrame]. nil shows no pictures.
	Picture func(ctx context.Context, stream, output string) (Picture, error)
}

// A Stream is how one stream stands at one instant.
type Stream struct {
	metrics.Stream
	Interval, Grace time.Duration
	// To is the slot at which the stream ends, 0 for never.
	To source.Slot
	// Problem is why the stream cannot be read at present, "" where it can, and
	// ProblemSince since when.
	Problem      string
	ProblemSince time.Time
	// StalledSince is when the last slot ended, where the stream has stalled.
	StalledSince time.Time
	Outputs      []Output
	History      *History
}

// An Output is one of a stream's.
type Output struct {
	Name    string `json:"output"`
	Subject string `json:"subject"`
	// Spec is the output's shape and type as text.
	Spec string `json:"spec,omitempty"`
}
