package frames

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/cvfeeder/cvfeeder/source"
)

// ReplaySubject is that of requests for replay jobs.
const ReplaySubject = "cvf.svc.replay"

// A ReplayRequest asks for a replay job, or for the end of one.
type ReplayRequest struct {
	// Cancel is the id of a job to cancel; then the rest is empty.
	Cancel string
	// Streams are patterns of names, and From and To the range.
	Streams  []string
	From, To time.Time
	// Interval is 0 for that of each stream, and Outputs are empty for all of each.
	Interval time.Duration
	Outputs  []string
	// Quota is as a config file writes it, such as 50%, "" for the config's.
	Quota string
}

const replayExample = `{"streams": ["cam-*"], "from": "2026-01-02T00:00:00Z", "to": "2026-01-02T01:00:00Z", "interval": "1s"}, or {"cancel": JOB}`

func parseReplayRequest(data []byte) (ReplayRequest, error) {
	var j struct {
		Cancel   string   `json:"cancel"`
		Streams  []string `json:"streams"`
		From     string   `json:"from"`
		To       string   `json:"to"`
		Interval string   `json:"interval"`
		Outputs  []string `json:"outputs"`
		Quota    string   `json:"quota"`
	}
	if err := parseRequest(data, &j, replayExample); err != nil {
		return ReplayRequest{}, err
	}
	r := ReplayRequest{Cancel: j.Cancel, Streams: j.Streams, Outputs: j.Outputs, Quota: j.Quota}
	if r.Cancel != "" {
		return ReplayRequest{Cancel: r.Cancel}, nil
	}
	if len(r.Streams) == 0 {
		return r, badRequest("streams is missing: a request is like %s", replayExample)
	}
	for _, at := range []struct {
		name, text string
		to         *time.Time
	}{{"from", j.From, &r.From}, {"to", j.To, &r.To}} {
		t, err := source.ParseTime(at.text)
		if err != nil {
			return r, badRequest("%s %.40q is not in RFC 3339, like 2026-01-02T03:04:05.200Z, or not between 1970 and 2199", at.name, at.text)
		}
		*at.to = t
	}
	if j.Interval != "" {
		d, err := time.ParseDuration(j.Interval)
		if err != nil {
			return r, badRequest(`interval %.40q is not a duration like "1s" or "200ms"`, j.Interval)
		}
		r.Interval = d
	}
	return r, nil
}

// replayEndpoint is the endpoint of requests for replay jobs. The cvfeeder that gets one runs the
// job.
func (s *service) replayEndpoint(ctx context.Context) *endpoint {
	return &endpoint{
		name: "replay", subject: ReplaySubject, queue: micro.DefaultQueueGroup, request: replayExample,
		handle: func(m *nats.Msg) error {
			err := s.replay(ctx, m)
			if err != nil {
				s.refuse(m.Reply, err)
			}
			return err
		},
	}
}

// replay has a goroutine begin or cancel a job, because that takes writes to NATS.
func (s *service) replay(ctx context.Context, m *nats.Msg) error {
	if s.opts.Replay == nil {
		return &Error{Code: CodeNotFound, Text: "this cvfeeder takes no replays"}
	}
	if err := s.bursts.Take(askerOf(m.Reply)); err != nil {
		return err
	}
	r, err := parseReplayRequest(m.Data)
	if err != nil {
		return err
	}
	reply := m.Reply
	return s.later(ctx, reply, func(ctx context.Context) error {
		answer, err := s.opts.Replay(ctx, r)
		if err != nil {
			return err
		}
		return s.say(reply, answer)
	})
}
