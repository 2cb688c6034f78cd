package publish

import (
	"context"
	"errors"

	"github.com/cvfeeder/cvfeeder/transform"
)

// A Route is where the tensors of one of a stream's outputs go.
type Route struct {
	Output  *transform.Output
	Subject string
}

// ErrUnwatched says that a message reached the broker, and nobody listened to it there.
var ErrUnwatched = errors.New("nobody listens")

// ErrRepeated says that a message was not published, because its slot has been published on the
// subject by somebody else in this process.
var ErrRepeated = errors.New("published already")

// A Delivery brings messages to a broker in one of the delivery modes. Its methods
// are safe for concurrent use. Calls that follow each other on one subject arrive in
// that order, whatever the sizes of the messages.
//
// Every implementation passes the suite of publish/publishtest.
type Delivery interface {
	// Publish returns nil only when m counts as delivered: in the modes with
	// acknowledgements, when the broker has acknowledged it. m.Data is not used after
	// Publish returns.
	//
	// The error is [ErrUnwatched] if nobody listens to the subject, [ErrRepeated] if the slot
	// has been published there by somebody else, a [*DropError] if the
	// message was given up, and ctx's error if ctx ended first. It is a [*LostError] if
	// messages are lost that were acknowledged before: m is not published. After any other
	// error there is no point in publishing more.
	Publish(ctx context.Context, m Message) error
	// Gap announces g to consumers, after everything that was published before it on
	// the routes of its stream. It does nothing if the delivery announces no gaps.
	// Its errors are those of Publish but for ErrUnwatched.
	Gap(ctx context.Context, g Gap, routes []Route) error
	// Confirm returns nil when everything that Publish and Gap returned nil for has
	// reached the broker. Only then may cursors be saved.
	Confirm(ctx context.Context) error
	// Watched returns false only if nobody is known to listen to the subject, and a message
	// could be delivered if somebody did. Messages for it then need not be made.
	Watched(subject string) bool
	// Interest asks the broker whether a message on the subject would reach anybody: a
	// subscriber or, in the modes that store messages, a consumer. It publishes none. The
	// error says that the broker cannot tell: it is a [*DropError] if it cannot be reached.
	Interest(ctx context.Context, subject string) (bool, error)
}
