package dial

import "errors"

// Errors that callers may want to tell apart.
var (
	// ErrRefused says that the server refuses the credentials, or a permission.
	ErrRefused = errors.New("NATS refuses the credentials")
	// ErrNotConnected says that there is no connection to a server at the moment.
	ErrNotConnected = errors.New("not connected to NATS")
	// ErrStream says that a JetStream stream or a key-value bucket does not fit, or
	// cannot be created. A retry does not help.
	ErrStream = errors.New("JetStream stream")

	errClosed = errors.New("the connection was closed")
	errBusy   = errors.New("earlier messages are still being written")
)
