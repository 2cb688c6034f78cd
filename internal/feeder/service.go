package feeder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// serve answers requests over NATS until ctx ends. Tensors are delivered without it, so
// errors are only logged.
func (f *Feeder) serve(ctx context.Context, r Running) {
	err := frames.Serve(ctx, r.conn, frames.Options{
		Version: Version(),
		Frame: func(ctx context.Context, req frames.Request, answer func(publish.Message) error) error {
			err := r.pipeline.Frame(ctx, req.Stream, req.Time, req.Output, func(t *transform.Tensor) error {
				return answer(publish.NewMessage("", t))
			})
			return serviceError(err)
		},
		Names:   r.pipeline.Names,
		Streams: func(name string) (any, error) { return streamStates(r.pipeline, name, time.Now()) },
	})
	var denied *dial.PermissionError
	if errors.Is(err, dial.ErrRefused) && !errors.As(err, &denied) {
		return // the connection was refused, which ends the run
	}
	if err != nil && ctx.Err() == nil {
		f.log.Warn("there is no NATS service to ask for frames", "err", err)
	}
}

// serviceError gives an error of the pipeline the code of the answer.
func serviceError(err error) error {
	var own *frames.Error
	var undecodable *transform.DecodeError
	code := frames.CodeUpstream
	switch {
	case err == nil, errors.As(err, &own), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, pipeline.ErrUnknown), errors.Is(err, source.ErrNoMedia):
		code = frames.CodeNotFound
	case errors.Is(err, pipeline.ErrNotRunning):
		code = frames.CodeStopping
	case errors.As(err, &undecodable):
		code = frames.CodeUndecodable
	}
	return &frames.Error{Code: code, Text: err.Error()}
}

// A streamState is what the service answers about a stream.
type streamState struct {
	Stream   string        `json:"stream"`
	Interval string        `json:"interval"`
	Outputs  []outputState `json:"outputs"`
	// Cursor is the first slot that has not ended, Newest the newest published one.
	Cursor    string            `json:"cursor"`
	Newest    string            `json:"newest,omitempty"`
	Freshness float64           `json:"freshness_seconds"`
	Lag       float64           `json:"lag_seconds"`
	Overlap   float64           `json:"overlap_seconds"`
	Expected  uint64            `json:"expected"`
	Pending   uint64            `json:"pending"`
	Outcomes  map[string]uint64 `json:"outcomes"`
}

type outputState struct {
	Output  string `json:"output"`
	Subject string `json:"subject"`
}

// streamStates returns the state of the stream of that name, or of all.
func streamStates(p *pipeline.Pipeline, name string, now time.Time) ([]streamState, error) {
	all := []streamState{}
	for _, s := range p.Streams() {
		if name == "" || s.Name == name {
			config, known := p.Stream(s.Name)
			if known {
				all = append(all, stateOf(s, config, now))
			}
		}
	}
	if name != "" && len(all) == 0 {
		return nil, &frames.Error{
			Code: frames.CodeNotFound,
			Text: fmt.Sprintf("unknown stream %q: an empty request lists what there is", name),
		}
	}
	return all, nil
}

func stateOf(s metrics.Stream, config pipeline.Stream, now time.Time) streamState {
	state := streamState{
		Stream: s.Name, Interval: config.Grid.Interval().String(), Cursor: s.Cursor.String(),
		Freshness: s.Freshness(now).Seconds(), Lag: s.Lag.Seconds(), Overlap: s.Overlap.Seconds(),
		Expected: s.Expected, Pending: s.Pending, Outcomes: map[string]uint64{},
	}
	if s.Newest != 0 {
		state.Newest = s.Newest.String()
	}
	for i, o := range config.Outputs {
		state.Outputs = append(state.Outputs, outputState{o.Name, config.Subjects[i]})
	}
	for _, o := range source.Outcomes() {
		state.Outcomes[o.String()] = s.Ended[o]
	}
	return state
}
