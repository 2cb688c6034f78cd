package frames

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/sanitize"
	"github.com/cvfeeder/cvfeeder/source"
)

// Codes of an [Error], which are those of HTTP.
const (
	CodeBadRequest  = "400"
	CodeForbidden   = "403" // the NATS server does not allow the answer
	CodeNotFound    = "404" // unknown stream or output, or no media
	CodeTooLarge    = "413" // for the server's max_payload
	CodeUndecodable = "422"
	CodeCancelled   = "499" // by the requester, or it reads nothing
	CodeBusy        = "429" // also where a limit is met: the text tells which, and when to ask again
	CodeInternal    = "500"
	CodeUpstream    = "502" // the service that has the frames failed
	CodeStopping    = "503"
	CodeTimeout     = "504"
)

const maxRequest = 4 << 10 // bytes

// An Error is sent as the answer to a request.
type Error struct {
	Code, Text string
	// Wait, unless 0, is after how long the same request may be answered.
	Wait time.Duration
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

var errStopping = &Error{Code: CodeStopping, Text: "cvfeeder is stopping"}

// A Request asks for the tensor of one slot.
type Request struct {
	Stream string
	// Time is in the slot: the slot begins at or before it.
	Time   time.Time
	Output string

	asker string // see askerOf
}

// serviceError returns err as an Error whose text is one line, because it is sent in a
// header.
func serviceError(err error) *Error {
	e := &Error{Code: CodeInternal, Text: err.Error()}
	var own *Error
	if errors.As(err, &own) {
		*e = *own
	}
	e.Text = sanitize.Text(strings.Join(strings.Fields(e.Text), " "))
	return e
}

const frameExample = `{"stream": "cam-1", "time": "2026-01-02T03:04:05Z", "output": "detector"}`

func parseFrameRequest(data []byte) (Request, error) {
	var r struct {
		Stream string `json:"stream"`
		Time   string `json:"time"`
		Output string `json:"output"`
	}
	if err := parseRequest(data, &r, frameExample); err != nil {
		return Request{}, err
	}
	for _, field := range []struct{ name, value string }{{"stream", r.Stream}, {"time", r.Time}, {"output", r.Output}} {
		if field.value == "" {
			return Request{}, badRequest("%s is missing: a request is like %s", field.name, frameExample)
		}
	}
	at, err := source.ParseSlot(r.Time)
	if err != nil {
		return Request{}, badRequest("time %.40q is not in RFC 3339, like 2026-01-02T03:04:05.200Z, or not between 1970 and 2199", r.Time)
	}
	return Request{Stream: r.Stream, Time: at.Time(), Output: r.Output}, nil
}

// parseRequest reads a request, which is one JSON object.
func parseRequest(data []byte, into any, example string) error {
	if len(data) > maxRequest {
		return badRequest("the request has %d bytes, more than %d: it is like %s", len(data), maxRequest, example)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil && d.More() {
		err = errors.New("there is more behind the object")
	}
	switch {
	case errors.Is(err, io.EOF):
		return badRequest("the request is empty: it is like %s", example)
	case err != nil:
		return badRequest("the request is not understood: %v: it is like %s", err, example)
	}
	return nil
}

func badRequest(format string, args ...any) error {
	return &Error{Code: CodeBadRequest, Text: fmt.Sprintf(format, args...)}
}
