// Package replay runs jobs that read ranges of the past of many streams: which part of a job is
// done is kept in its record, so that whoever takes it over goes on there.
//
// A job is run by one process at a time, which holds its record: each write names the revision
// that it replaces, and a process whose write fails has lost the job and stops. The record of a
// job that nobody has written for a while is taken over by the next one who asks for it.
//
// The package knows no broker and no source: see [Store] and [Outing].
package replay

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Status says how a job stands.
type Status string

// The statuses. All but done and cancelled can go on.
const (
	Running   Status = "running"
	Paused    Status = "paused"    // stopped by whoever ran it
	Failed    Status = "failed"    // stopped by an error
	Done      Status = "done"      // all slots of all streams have ended
	Cancelled Status = "cancelled" // for good
)

// Statuses returns all of them.
func Statuses() []Status { return []Status{Running, Paused, Failed, Done, Cancelled} }

// Over tells whether the job will never go on.
func (s Status) Over() bool { return s == Done || s == Cancelled }

// A Job is the record of a replay job.
type Job struct {
	ID      string    `json:"id"`
	Status  Status    `json:"status"`
	Created time.Time `json:"created"`
	// From and To are the range: To is the first instant that does not belong to it.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Outputs are the outputs that are made, empty for all of each stream.
	Outputs []string `json:"outputs,omitempty"`
	// Quota is the share of each stream's quota that is used, from 0 to 1.
	Quota float64 `json:"quota"`
	// By is who runs it: "command" or "feeder".
	By string `json:"by"`
	// Owner is the process that runs it, "" for none.
	Owner string `json:"owner,omitempty"`
	// Error is why it failed.
	Error string `json:"error,omitempty"`
	// Estimate is what it was expected to take.
	Estimate Estimate `json:"estimate"`
	// Streams are the parts of the job.
	Streams []Part `json:"streams"`
}

// A Part is one stream of a job.
type Part struct {
	Stream   string        `json:"stream"`
	Interval time.Duration `json:"interval_ns"`
	// Cursor is the first slot that has not ended, 0 at the beginning.
	Cursor source.Slot `json:"cursor"`
	// Ended counts the slots before the cursor by outcome.
	Ended map[string]uint64 `json:"ended,omitempty"`
	// Done says that all slots have ended and that the end was announced.
	Done bool `json:"done"`
}

// A Progress is how far a job has come.
type Progress struct {
	// Slots are those of the job, and Ended those that have ended.
	Slots, Ended uint64
	// Published counts those whose tensors were delivered.
	Published uint64
	// Outcomes counts all that have ended by outcome.
	Outcomes map[string]uint64
}

// Progress returns that of a job.
func (j *Job) Progress() Progress {
	p := Progress{Outcomes: map[string]uint64{}}
	for _, part := range j.Streams {
		p.Slots += j.slots(part)
		for outcome, n := range part.Ended {
			p.Outcomes[outcome] += n
			p.Ended += n
		}
	}
	p.Published = p.Outcomes[source.Published.String()]
	return p
}

func (j *Job) slots(p Part) uint64 {
	grid, err := source.NewGrid(p.Interval)
	if err != nil {
		return 0
	}
	return uint64(grid.Count(grid.Ceil(source.SlotAt(j.From)), grid.Ceil(source.SlotAt(j.To))))
}

// slotsBefore returns how many slots of a part are before its cursor.
func (j *Job) slotsBefore(p *Part) uint64 {
	grid, err := source.NewGrid(p.Interval)
	if err != nil || p.Cursor == 0 {
		return 0
	}
	return uint64(grid.Count(grid.Ceil(source.SlotAt(j.From)), grid.Ceil(p.Cursor)))
}

// Names returns the names of the job's streams.
func (j *Job) Names() []string {
	names := make([]string, len(j.Streams))
	for i, p := range j.Streams {
		names[i] = p.Stream
	}
	return names
}

// ErrBadJob is the error of a job that cannot be.
var ErrBadJob = errors.New("bad replay job")

// Check returns an error that wraps [ErrBadJob] for a job that cannot be, at a given present.
func (j *Job) Check(now time.Time) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrBadJob, fmt.Sprintf(format, args...))
	}
	switch {
	case len(j.Streams) == 0:
		return bad("it has no streams")
	case !j.From.Before(j.To):
		return bad("from is %v, which is not before to, %v", j.From.Format(time.RFC3339), j.To.Format(time.RFC3339))
	case j.To.After(now):
		return bad("to is %v, which is in the future: a replay is of what has been recorded", j.To.Format(time.RFC3339))
	case j.Quota <= 0 || j.Quota > 1:
		return bad("quota is %v%%; more than 0%%, at most 100%%", 100*j.Quota)
	case !ValidID(j.ID):
		return bad("the id is %.64q; 1 to %d of a-z, 0-9 and -", j.ID, maxID)
	}
	for _, t := range []time.Time{j.From, j.To} {
		if err := source.CheckTime(t); err != nil {
			return bad("%v", err)
		}
	}
	for _, p := range j.Streams {
		if _, err := source.NewGrid(p.Interval); err != nil {
			return bad("%s: %v", p.Stream, err)
		}
		if j.slots(p) == 0 {
			return bad("%s has no slot between from and to: its interval is %v", p.Stream, p.Interval)
		}
	}
	return nil
}

const maxID = 32

// NewID returns the id of a new job, which begins with the day, so that lists are in order.
func NewID(now time.Time) string {
	return now.UTC().Format("20060102") + "-" + strings.ToLower(rand.Text()[:8])
}

// ValidID tells whether a text can be the id of a job: it is a token of subjects.
func ValidID(id string) bool {
	return id != "" && len(id) <= maxID && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// read reads a record.
func read(record []byte) (*Job, error) {
	var j Job
	if err := json.Unmarshal(record, &j); err != nil {
		return nil, fmt.Errorf("the record of a replay job cannot be read: %w", err)
	}
	return &j, nil
}

// clone returns a copy that shares nothing that changes.
func (j *Job) clone() *Job {
	c := *j
	c.Streams = slices.Clone(j.Streams)
	for i := range c.Streams {
		ended := map[string]uint64{}
		for o, n := range c.Streams[i].Ended {
			ended[o] = n
		}
		c.Streams[i].Ended = ended
	}
	return &c
}
