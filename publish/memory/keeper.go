package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/transform"
)

// remakeWait is how long after a ring could not be made it is tried again.
const remakeWait = 5 * time.Second

// A Keeper keeps a ring in its directory, and makes a new one where that was removed, replaced or
// damaged. It is safe for concurrent use.
type Keeper struct {
	opts    Options
	ring    atomic.Pointer[Ring]
	remade  atomic.Uint64
	earlier atomic.Uint64 // tensors without a slot, of the rings before

	looking sync.Mutex
	lacks   error // why there is no new ring
	tried   time.Time
	closed  bool
}

// Keep opens a ring. The error is that of [Open].
func Keep(ctx context.Context, o Options) (*Keeper, error) {
	ring, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	k := &Keeper{opts: o}
	k.ring.Store(ring)
	return k, nil
}

// Slot implements [transform.Shared].
func (k *Keeper) Slot(n int) (transform.Slot, bool) { return k.ring.Load().Slot(n) }

// Host is that of the ring, which may be another one after [Keeper.Look].
func (k *Keeper) Host() string { return k.ring.Load().Host() }

// Stats are those of the ring. Remade counts the rings that were made after the first one.
func (k *Keeper) Stats() Stats {
	s := k.ring.Load().Stats()
	s.None += k.earlier.Load()
	s.Remade = k.remade.Load()
	return s
}

// Look tells whether readers find the tensors, and mends what it can. It is to be called every
// second or so. The error says what was wrong, and why it could not be mended.
func (k *Keeper) Look(ctx context.Context) error {
	k.looking.Lock()
	defer k.looking.Unlock()
	if k.closed {
		return nil
	}
	err := k.lacks
	if err == nil {
		if err = k.ring.Load().Look(); !errors.Is(err, ErrGone) {
			return err
		}
		old := k.ring.Load()
		_ = old.Close() // what is left of it, the next start removes
		k.lacks = err
	} else if time.Since(k.tried) < remakeWait {
		return err
	}
	k.tried = time.Now()
	if again := k.remake(ctx); again != nil {
		return fmt.Errorf("%w; it cannot be made anew: %w", err, again)
	}
	k.lacks = nil
	return err
}

// remake opens a new ring in place of one that is closed.
func (k *Keeper) remake(ctx context.Context) error {
	if _, err := Check(k.opts); err != nil { // costs less than trying
		return err
	}
	ring, err := Open(ctx, k.opts)
	if err != nil {
		return err
	}
	k.earlier.Add(k.ring.Load().Stats().None)
	k.ring.Store(ring)
	k.remade.Add(1)
	return nil
}

// Close closes the ring.
func (k *Keeper) Close() error {
	k.looking.Lock()
	defer k.looking.Unlock()
	k.closed = true
	return k.ring.Load().Close()
}
