package feeder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/pipeline"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/ondemand"
	"github.com/cvfeeder/cvfeeder/transform"
)

// answer answers requests for frames over NATS until ctx ends. Tensors are delivered
// without it, so errors are only logged.
func (p *parts) answer(ctx context.Context) {
	err := frames.Serve(ctx, p.broker.conn, frames.Options{
		Version: Version(), ReplyPrefix: p.plan.Config.NATS.ReplyPrefix,
		Rates:   p.rates,
		Frame:   p.frame,
		Burst:   p.askBurst,
		Replay:  p.replays.ask,
		Observe: func(o frames.Outcome) { p.metrics.FrameRequest(string(o)) },
		Names:   p.pipeline.Names,
		Ranges:  p.rangesOf(),
		Streams: func(name string) (any, error) { return streamStates(p.streams(), name, p.service.Now()) },
	})
	var denied *dial.PermissionError
	if errors.Is(err, dial.ErrRefused) && !errors.As(err, &denied) {
		return // the connection was refused, which ends the run
	}
	if err != nil && ctx.Err() == nil {
		p.log.Warn("there is no NATS service to ask for frames", "err", err)
	}
}

// requested returns the frames on request of a config.
func requested(r config.Requests) *ondemand.Frames {
	return ondemand.New(ondemand.Options{
		ImagesPerDay: r.ImagesPerDay, ImagesPerHour: r.ImagesPerHour, ImagesPerHourPerAsker: r.ImagesPerHourPerAsker,
	})
}

// frame answers a request for a frame.
func (p *parts) frame(ctx context.Context, req frames.Request, answer func(publish.Message) error) error {
	return serviceError(p.look(ctx, req, func(_ source.Frame, t *transform.Tensor) error {
		return answer(publish.NewMessage("", t))
	}))
}

// look calls use with the frame that a request asks for, and its tensor, and counts what
// became of the request.
func (p *parts) look(ctx context.Context, req frames.Request, use func(source.Frame, *transform.Tensor) error) error {
	ctx, origin := ondemand.Watch(ctx)
	err := p.pipeline.Look(ctx, req.Stream, req.Time, req.Output, use)
	switch {
	case err == nil:
		p.metrics.FrameRequest(string(origin()))
	case errors.Is(err, ondemand.ErrSpent):
		p.metrics.FrameRequest("refused_daily")
	default:
		p.metrics.FrameRequest("failed")
	}
	return err
}

// serviceError gives an error of the pipeline the code of the answer.
func serviceError(err error) error {
	var own *frames.Error
	var undecodable *transform.DecodeError
	code := frames.CodeUpstream
	switch {
	case err == nil, errors.As(err, &own), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, new(*publish.SizeError)):
		code = frames.CodeTooLarge
	case errors.Is(err, pipeline.ErrUnknown), errors.Is(err, source.ErrNoMedia):
		code = frames.CodeNotFound
	case errors.Is(err, ondemand.ErrSpent):
		code = frames.CodeBusy
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
	Cursor    string  `json:"cursor"`
	Newest    string  `json:"newest,omitempty"`
	Freshness float64 `json:"freshness_seconds"`
	Lag       float64 `json:"lag_seconds"`
	Overlap   float64 `json:"overlap_seconds"`
	// Offset is how far the camera's clock is behind the service's.
	Offset   float64           `json:"producer_offset_seconds"`
	Expected uint64            `json:"expected"`
	Pending  uint64            `json:"pending"`
	Outcomes map[string]uint64 `json:"outcomes"`
}

type outputState struct {
	Output  string `json:"output"`
	Subject string `json:"subject"`
}

// streamStates returns the state of the stream of that name, or of all.
func streamStates(states []pipeline.State, name string, now time.Time) ([]streamState, error) {
	all := []streamState{}
	for _, s := range states {
		if name == "" || s.Name == name {
			all = append(all, stateOf(s, now))
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

func stateOf(s pipeline.State, now time.Time) streamState {
	shown := metricOf(&s)
	state := streamState{
		Stream: s.Name, Interval: s.Grid.Interval().String(), Cursor: s.Stats.Cursor.String(),
		Freshness: shown.Freshness(now).Seconds(), Lag: s.Feed.Lag.Seconds(), Overlap: s.Feed.Overlap.Seconds(),
		Offset:   s.Feed.Trail.Seconds(),
		Expected: s.Stats.Expected, Pending: s.Stats.Pending, Outcomes: map[string]uint64{},
	}
	if s.Stats.Newest != 0 {
		state.Newest = s.Stats.Newest.String()
	}
	for _, r := range s.Routes {
		state.Outputs = append(state.Outputs, outputState{r.Output.Name, r.Subject})
	}
	for _, o := range source.Outcomes() {
		state.Outcomes[o.String()] = s.Stats.Ended[o]
	}
	return state
}
