package kinesistest

import (
	"encoding/json"
	"os"
	"sync"
	"time"
)

// A requestLine is the fake service's record of a request. Client is the value of
// AWS_SDK_UA_APP_ID in the client's environment.
type requestLine struct {
	Time      time.Time `json:"time"`
	Client    string    `json:"client,omitempty"`
	Operation string    `json:"operation"`
	Stream    string    `json:"stream,omitempty"`
	Start     time.Time `json:"start,omitzero"`
	End       time.Time `json:"end,omitzero"`
	Images    int       `json:"images"`
	Status    int       `json:"status"`
	Code      string    `json:"code,omitempty"`
	Fault     string    `json:"fault,omitempty"`
}

// A RequestFile writes request lines to a file. Each is written by one call, so that even
// if the process is killed, the file has no partial lines.
type RequestFile struct {
	mu   sync.Mutex
	file *os.File
	err  error // the first
}

// NewRequestFile opens a file for appending, and creates it if it is missing.
func NewRequestFile(path string) (*RequestFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &RequestFile{file: f}, nil
}

// Add writes the line of a request. It may be the Observe of [Options].
func (l *RequestFile) Add(r Request) {
	line, err := json.Marshal(requestLine{
		Time: r.Time, Client: r.Client, Operation: r.Operation, Stream: r.Stream, Start: r.Start, End: r.End,
		Images: len(r.Images), Status: r.Status, Code: r.Code, Fault: r.Fault,
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.err == nil {
		_, err = l.file.Write(append(line, '\n'))
	}
	if l.err == nil {
		l.err = err
	}
}

// Close closes the file. It returns the first error of writing or closing.
func (l *RequestFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.file.Close(); l.err == nil {
		l.err = err
	}
	return l.err
}
