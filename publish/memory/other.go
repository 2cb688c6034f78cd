//go:build !linux

package memory

import (
	"context"

	"github.com/cvfeeder/cvfeeder/transform"
)

// Options are those of [Open].
type Options struct {
	Dir       string
	Bytes     int64
	SlotBytes int
	Group     string
	Grace     time.Duration
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
	None               uint64
}

// Host returns "".
func (*Ring) Host() string { return "" }

// Stats returns none.
func (*Ring) Stats() Stats { return Stats{} }

// Slot implements [transform.Shared].
func (*Ring) Slot(int) (transform.Slot, bool) { return nil, false }

// Close does nothing.
func (*Ring) Close() error { return nil }

// A Reader reads what feeders have put into one directory.
type Reader struct{}

// NewReader returns a reader of nothing.
func NewReader(string) *Reader { return &Reader{} }

// Host returns [ErrUnsupported].
func (*Reader) Host() (string, error) { return "", ErrUnsupported }

// Hold returns [ErrUnsupported].
func (*Reader) Hold(Place) (*Hold, error) { return nil, ErrUnsupported }

// Close does nothing.
func (*Reader) Close() {}

// A Hold keeps a tensor in memory.
type Hold struct{ Data []byte }

// Release does nothing.
func (*Hold) Release() {}
