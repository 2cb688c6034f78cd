package dial

import "errors"

// Errors that callers may want to tell apart.
var (
	// ErrRefused: the server is there, but refuses the credentials, or a permission.
	ErrRefused = errors.New("NATS refuses the credentials")
	// ErrNotConnected: there is no connection to a server at the moment.
	ErrNotConnected = errors.New("not connected to NATS")
	// ErrStream: a JetStream stream, or a key-value bucket, is not what is needed, or
	// cannot be made. Trying again does not help.
	ErrStream = errors.New("JetStream stream")

	errClosed = errors.New("the connection was closed")
	errBusy   = errors.New("earlier messages are still being written")
)
