package publish

import (
	"fmt"
	"strings"
)

// MaxServerPayload is the largest max_payload that a NATS server can be configured
// with, in bytes.
const MaxServerPayload = 64 << 20

// Size returns how many bytes of m count against a NATS server's max_payload: those of
// the payload and of the header block.
func Size(m Message) int { return len(m.Data) + HeaderSize(m.Header) }

// TraceOverhead is how much [HeaderTraceparent] adds to a message's size, in bytes.
const TraceOverhead = len(HeaderTraceparent) + len(": 00-") + 32 + len("-") + 16 + len("-01\r\n")

// HeaderSize returns the size of the header block in bytes, 0 if there are no headers.
// The block is the line "NATS/1.0", a line "Name: value" for each value, and an empty
// line, each ended by CR LF.
func HeaderSize(h map[string][]string) int {
	if len(h) == 0 {
		return 0
	}
	const separators = len(": ") + len("\r\n")
	size := len("NATS/1.0\r\n") + len("\r\n")
	for name, values := range h {
		for _, v := range values {
			size += len(name) + len(strings.Trim(v, " \t\r\n")) + separators
		}
	}
	return size
}

// A SizeError says that a message is larger than the server accepts.
type SizeError struct {
	// Size is the size of the message, payload and headers, in bytes.
	Size int
	// Limit is the server's max_payload in bytes.
	Limit int
}

// Error implements error. The text gives both numbers and says what can be done.
func (e *SizeError) Error() string {
	ways := "make the tensor smaller: dtype float16 or uint8, or a smaller size"
	if e.Size <= MaxServerPayload {
		ways = fmt.Sprintf("set max_payload to at least %d in the NATS server's config, or %s", e.Size, ways)
	}
	return fmt.Sprintf("a message of %d bytes (tensor and headers) is larger than the NATS server's max_payload of %d bytes: %s",
		e.Size, e.Limit, ways)
}

// CheckSize returns a [*SizeError] if a message of size bytes, as counted by [Size], is
// larger than the server's limit.
func CheckSize(size, limit int) error {
	if size > limit {
		return &SizeError{Size: size, Limit: limit}
	}
	return nil
}
