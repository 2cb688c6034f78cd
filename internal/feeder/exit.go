package feeder

import (
	"errors"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/source"
)

// The exit codes of the program.
const (
	ExitFailed  = 1 // failed while running
	ExitUsage   = 2 // wrong usage or config
	ExitRefused = 3 // credentials or permission refused
)

// An ExitError is an error that decides the exit code.
type ExitError struct {
	Code int
	Err  error
}

// Error implements error.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the error without its code.
func (e *ExitError) Unwrap() error { return e.Err }

// Usage marks err as wrong usage or a wrong config.
func Usage(err error) error { return &ExitError{ExitUsage, err} }

// ExitCode returns the exit code that err leads to: 0 for nil, and [ExitRefused] where it says
// that AWS or NATS has refused the credentials or a permission, wherever that was noticed.
func ExitCode(err error) int {
	var exit *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	case errors.Is(err, source.ErrRefused), errors.Is(err, dial.ErrRefused):
		return ExitRefused
	}
	return ExitFailed
}
