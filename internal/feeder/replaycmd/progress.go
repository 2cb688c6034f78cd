package replaycmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/confirm"
	"github.com/cvfeeder/cvfeeder/internal/replay"
)

const (
	barWidth = 30
	// lineEvery is how often a line of JSON is written where there is no terminal.
	lineEvery = 5 * time.Second
)

// A progress shows how far a job has come: a bar on a terminal, lines of JSON elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	began    time.Time
	first    *replay.Progress // when it began
	last     time.Time        // when a line was written
	status   replay.Status
}

func newProgress(out io.Writer, now time.Time) *progress {
	return &progress{out: out, terminal: confirm.IsTerminal(out), began: now}
}

// show shows the job as it stands.
func (p *progress) show(j *replay.Job) { p.at(j, time.Now()) }

// at is show at a given present.
func (p *progress) at(j *replay.Job, now time.Time) {
	state := j.Progress()
	if p.first == nil {
		p.first = &state
	}
	if !p.terminal && j.Status == p.status && now.Sub(p.last) < lineEvery {
		return
	}
	p.last, p.status = now, j.Status
	rate := 0.0
	if took := now.Sub(p.began).Seconds(); took > 0 && state.Ended > p.first.Ended {
		rate = float64(state.Ended-p.first.Ended) / took
	}
	left := time.Duration(-1)
	if rate > 0 {
		left = time.Duration(float64(state.Slots-min(state.Ended, state.Slots)) / rate * float64(time.Second)).Round(time.Second)
	}
	if p.terminal {
		p.bar(j, state, rate, left)
		return
	}
	p.line(j, state, rate, left)
}

func (p *progress) bar(j *replay.Job, state replay.Progress, rate float64, left time.Duration) {
	part := share(state)
	full := int(part * barWidth)
	eta := "unknown"
	if left >= 0 {
		eta = left.String()
	}
	_, _ = fmt.Fprintf(p.out, "\r\033[K[%s%s] %5.1f%%  %d of %d slots  %d published  %.0f/s  ETA %s  %s",
		strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*part, state.Ended, state.Slots, state.Published, rate, eta, j.Status)
}

func share(s replay.Progress) float64 {
	if s.Slots == 0 {
		return 0
	}
	return float64(min(s.Ended, s.Slots)) / float64(s.Slots)
}

func (p *progress) line(j *replay.Job, state replay.Progress, rate float64, left time.Duration) {
	line := map[string]any{
		"job": j.ID, "status": j.Status, "slots": state.Slots, "ended": state.Ended, "outcomes": state.Outcomes, "slots_per_second": int(rate),
	}
	if left >= 0 {
		line["eta_seconds"] = left.Seconds()
	}
	if j.Error != "" {
		line["error"] = j.Error
	}
	if text, err := json.Marshal(line); err == nil {
		_, _ = fmt.Fprintf(p.out, "%s\n", text)
	}
}

// end ends the bar's line.
func (p *progress) end() {
	if p.terminal && p.first != nil {
		_, _ = fmt.Fprintln(p.out)
	}
}
