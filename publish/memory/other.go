//go:build !linux

package memory

import (
	"context"
	"errors"
	"time"

	"github.com/cvfeeder/cvfeeder/transform"
)

// Options are those of [Open].
type Options struct {
	Dir       string
	Bytes     int64
	SlotBytes int
	Group     string
	Grace     time.Duration
	Writable  bool
}

// A Ring is memory for tensors that other processes can read.
type Ring struct{}

// Open returns [ErrUnsupported].
func Open(context.Context, Options) (*Ring, error) { return nil, ErrUnsupported }

// Check returns [ErrUnsupported].
func Check(Options) (note string, err error) { return "", ErrUnsupported }

// Stats are those of a [Ring] at one instant.
type Stats struct {
	Slots, Held, Taken int
	None, Remade       uint64
}

// Host returns "".
func (*Ring) Host() string { return "" }

// Stats returns none.
func (*Ring) Stats() Stats { return Stats{} }

// Slot implements [transform.Shared].
func (*Ring) Slot(int) (transform.Slot, bool) { return nil, false }

// Look finds nothing.
func (*Ring) Look() error { return nil }

// Close does nothing.
func (*Ring) Close() error { return nil }

// ErrGone is never returned.
var ErrGone = errors.New("gone")

// A Reader reads what feeders have put into one directory.
type Reader struct{}

// NewReader returns a reader of nothing.
func NewReader(string) *Reader { return &Reader{} }

// Host returns [ErrUnsupported].
func (*Reader) Host() (string, error) { return "", ErrUnsupported }

// Hold returns [ErrUnsupported].
func (*Reader) Hold(Place) (*Hold, error) { return nil, ErrUnsupported }

// Sweep does nothing.
func (*Reader) Sweep() bool { return false }

// Close does nothing.
func (*Reader) Close() {}

// Await returns [ErrUnsupported].
func (*Reader) Await(...string) (*Awaited, error) { return nil, ErrUnsupported }

// An Awaited is what a subscription has not received yet.
type Awaited struct{}

// Host returns "".
func (*Awaited) Host() string { return "" }

// Current returns false.
func (*Awaited) Current() bool { return false }

// Again returns [ErrUnsupported].
func (*Awaited) Again() error { return ErrUnsupported }

// Received does nothing.
func (*Awaited) Received(string, *Hold) {}

// Close does nothing.
func (*Awaited) Close() {}

// A Hold keeps a tensor in memory.
type Hold struct{ Data []byte }

// Release does nothing.
func (*Hold) Release() {}
