package publish

import (
	"fmt"
	"strings"
)

// MaxServerPayload is the largest max_payload that a NATS server can be given,
// in bytes.
const MaxServerPayload = 64 << 20

// Size returns the bytes of m that count against a NATS server's max_payload: the
// payload and the header block.
func Size(m Message) int { return len(m.Data) + HeaderSize(m.Header) }

// TraceOverhead is what [HeaderTraceparent] adds to a message's size, in bytes.
const TraceOverhead = len(HeaderTraceparent) + len(": 00-") + 32 + len("-") + 16 + len("-01\r\n")

// HeaderSize returns the bytes of the header block: the line "NATS/1.0", a line
// "Name: value" a header and an empty line, each ended by CR LF; 0 where there
// are no headers.
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

// A SizeError says that a message is larger than the server takes.
type SizeError struct {
	// Size is that of the message, payload and headers, in bytes.
	Size int
	// Limit is the server's max_payload in bytes.
	Limit int
}

// Error implements error. The text names both numbers and the ways out.
func (e *SizeError) Error() string {
	ways := "make the tensor smaller: dtype float16 or uint8, or a smaller size"
	if e.Size <= MaxServerPayload {
		ways = fmt.Sprintf("set max_payload to at least %d in the NATS server's config, or %s", e.Size, ways)
	}
	return fmt.Sprintf("a message of %d bytes (tensor and headers) is larger than the NATS server's max_payload of %d bytes: %s",
		e.Size, e.Limit, ways)
}

// CheckSize returns a [*SizeError] where a message of size bytes, as counted by
// [Size], is larger than a server's limit.
func CheckSize(size, limit int) error {
	if size > limit {
		return &SizeError{Size: size, Limit: limit}
	}
	return nil
}
