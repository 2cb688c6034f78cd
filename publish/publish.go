// Package publish says how a tensor looks on the wire: its subject, its headers
// and its identity.
//
// [NewMessage] wraps a [transform.Tensor], [NewGapMessage] and [NewInlineGap] tell of
// slots without one, and [Split] cuts a message that is too large for the server.
// For consumers, [Message.Kind] tells them apart, a [Joiner] undoes Split, and
// [ParseEnvelope], [ParseGap] and [ParseInlineGap] are the ways back; publish/tensor
// does all of it.
// A [Delivery] brings messages to a broker, as its mode promises; those for NATS are in
// publish/nats/deliver. The package imports the standard library only.
//
// It is larger than most packages because each piece of the wire
// format has a file of its own.
package publish

import (
	"context"
	"fmt"
	"time"
)

// A Message is what goes over the wire.
type Message struct {
	Subject string
	// Header holds the Cvf- headers and Nats-Msg-Id, one value each.
	Header map[string][]string
	// Data is the tensor's bytes. It is the tensor's own memory: the publisher
	// does not keep it once Publish has returned.
	Data []byte
	// Expires is from when on the message is of no use; zero is never. It is not
	// sent.
	Expires time.Time
}

// A Publisher delivers messages.
//
// Publish returns nil when the mode's promise is kept for the message: handed to
// the connection (live) or acknowledged by the broker (ring, durable). It returns
// a [*DropError] when the message was given up, and any other error only where
// going on makes no sense. It may be called by many goroutines, and keeps the
// order of calls that follow each other.
type Publisher interface {
	Publish(ctx context.Context, m Message) error
}

// A DropError says that a message was not delivered and will not be.
type DropError struct {
	// Reason is a short, stable name for metrics, such as [DropSlow].
	Reason string
	// Err is the cause.
	Err error
}

// Error implements error.
func (e *DropError) Error() string { return fmt.Sprintf("message dropped (%s): %v", e.Reason, e.Err) }

// Unwrap returns the cause.
func (e *DropError) Unwrap() error { return e.Err }
