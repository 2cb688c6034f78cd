package pipeline

import (
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/metrics"
	"github.com/cvfeeder/cvfeeder/metrics/status"
	"github.com/cvfeeder/cvfeeder/transform"
)

// Status returns how every stream stands, by name, for the status page.
func (p *Pipeline) Status() []status.Stream {
	var all []status.Stream
	now := time.Now()
	for _, s := range p.sorted() {
		all = append(all, s.status(now))
	}
	return all
}

func (s *stream) state() metrics.Stream {
	return metrics.Stream{Name: s.Name, Stats: s.ledger.Stats(), Lag: s.poller.State().Lag, Overlap: s.poller.State().Overlap}
}

func (s *stream) status(now time.Time) status.Stream {
	st := status.Stream{
		Stream: s.state(), Interval: s.Grid.Interval(), Grace: s.Poll.Grace, To: s.Poll.To, History: s.history,
	}
	for i, o := range s.Outputs {
		st.Outputs = append(st.Outputs, status.Output{Name: o.Name, Subject: s.Subjects[i], Spec: describe(o)})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.Problem = s.problem; st.Problem != "" {
		st.ProblemSince = s.began
	}
	if s.stalled(now) {
		st.StalledSince = s.moved
	}
	return st
}

// describe tells what an output looks like: 640x640 letterbox rgb float32 nchw.
func describe(o *transform.Output) string {
	size := "as large as the picture"
	if o.Spec.Width > 0 {
		size = fmt.Sprintf("%dx%d %s", o.Spec.Width, o.Spec.Height, o.Spec.Fit)
	}
	return fmt.Sprintf("%s, %s %s %s", size, o.Spec.Color, o.Spec.DType, o.Spec.Layout)
}
