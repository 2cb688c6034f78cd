// Package publish defines the messages that carry tensors and gaps, and the contract
// of what delivers them.
//
// A message has a subject, headers and an identity. [NewMessage] makes one from a
// [transform.Tensor], [NewGapMessage] and [NewInlineGap] announce slots that have no
// tensor, and [Split] cuts a message that is too large for the server into parts.
//
// In the other direction, [Message.Kind] says how to read a message: with
// [ParseEnvelope], [ParseInlineGap] or [ParseGap], or with a [Joiner], which undoes
// Split. Programs that only want tensors need publish/consume and publish/tensor, which
// do all of this.
//
// A [Delivery] brings messages to a broker. Those for NATS are in publish/nats/deliver.
//
// # Stability
//
// Importers can rely on the format of the messages: a change that an existing consumer
// would misread changes [Version]. Headers may be added, and consumers ignore those that
// they do not know. The functions and types of this package change only with the major
// version, with two exceptions: [Delivery] may gain methods, and [Position] serves
// publish/nats and changes with it.
//
// The package imports the standard library, source and transform only.
//
// The package is larger than most packages of this module, because it holds the whole
// format: the code that writes a header must be read beside the code that parses it.
package publish

import (
	"fmt"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Message is what is sent to the broker.
type Message struct {
	Subject string
	// Header holds the Cvf- headers and Nats-Msg-Id, one value each.
	Header map[string][]string
	// Data is the tensor's bytes. It is the tensor's own memory, and not used after
	// Publish has returned.
	Data []byte
	// Share, where set, lets other processes of this host read Data, and returns where it is for
	// those who are told so on a subject, "" if they cannot: see publish/memory.
	Share func(subject string) (place string)
	// Memory, unless "", is where the data of a received message is: see [FromMemory].
	Memory string
	// Release, unless nil, is to be called when Data is no longer read, on a message that was
	// received in memory.
	Release func()
	// Expires is the time after which the message is of no use; zero means never. It is
	// not sent.
	Expires time.Time
}

// A LostError says that the broker has lost messages on a subject that it had
// acknowledged. They have to be published again before anything else.
type LostError struct {
	Subject string
	// From is the first slot of what was lost.
	From source.Slot
}

// Error implements error.
func (e *LostError) Error() string {
	return fmt.Sprintf("what was stored on subject %s from %v on is lost", e.Subject, e.From)
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
