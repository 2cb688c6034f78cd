package publish

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// ReplayPrefix begins the subjects of replay jobs: cvf.r.<job>.<stream>.<output>.
const ReplayPrefix = "cvf.r."

// ReplaySubject returns the template of the subjects of a job, whose id is a token of a subject.
func ReplaySubject(job string) (SubjectTemplate, error) {
	return ParseSubject(ReplayPrefix + SubjectToken(job) + "." + streamField + "." + outputField)
}

// ForReplay returns a tensor or an inline gap as a message of a replay job. Its identity is
// another one than that of the same slot in a live stream, or in another job.
func ForReplay(m Message, job string) Message {
	m.Header = maps.Clone(m.Header)
	m.Header[HeaderReplay] = []string{headerText(job)}
	if id := m.Header[HeaderMsgID]; len(id) == 1 {
		m.Header[HeaderMsgID] = []string{id[0] + replayed(headerText(job))}
	}
	return m
}

// replayed ends the identity of a message of a job.
func replayed(job string) string {
	if job == "" {
		return ""
	}
	return "/replay/" + job
}

// An End says that a replay job has nothing more on a subject.
type End struct {
	// Stream and Output are those of the subject, and Job is the id of the job.
	Stream, Output, Job string
	// To is the first slot that does not belong to the job's range.
	To source.Slot
	// Streams is how many streams the job has: so many ends come for each output.
	Streams int
}

// NewEnd returns the message of an end. Its payload is empty. It comes after all other messages
// of the job on its subject.
func NewEnd(subject string, e End, o *transform.Output) Message {
	return ForReplay(Message{Subject: subject, Header: map[string][]string{
		HeaderVersion: {Version},
		HeaderStream:  {headerText(e.Stream)},
		HeaderOutput:  {headerText(o.Name)},
		HeaderTime:    {e.To.String()},
		HeaderEnd:     {strconv.Itoa(e.Streams)},
		HeaderSpec:    {headerText(o.Fingerprint)},
		HeaderMsgID:   {MessageID(e.Stream, e.To, o.Name, o.Fingerprint)},
	}}, e.Job)
}

// ParseEnd reads the headers of an end: see [Message.Kind].
func ParseEnd(h map[string][]string) (End, error) {
	f := fields{header: h}
	f.version()
	e := End{Stream: f.text(HeaderStream), Output: f.text(HeaderOutput), Job: f.text(HeaderReplay), To: f.slot(HeaderTime), Streams: f.count(HeaderEnd)}
	if f.err != nil {
		return End{}, fmt.Errorf("end of a replay: %w", f.err)
	}
	return e, nil
}
