package main

import (
	"encoding/json"
	"os"
	"sync"
	"time"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
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

// A requestLog writes request lines to a file. Each is written by one call, so that even
// if the process is killed, the file has no partial lines.
type requestLog struct {
	mu   sync.Mutex
	file *os.File
	err  error // the first
}

// newRequestLog opens a file for appending.
func newRequestLog(path string) (*requestLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &requestLog{file: f}, nil
}

func (l *requestLog) add(r kinesistest.Request) {
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
func (l *requestLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.file.Close(); l.err == nil {
		l.err = err
	}
	return l.err
}
