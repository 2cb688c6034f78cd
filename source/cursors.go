package source

import "context"

// Cursors keep how far each stream was delivered, from one run of the process to the
// next. Their methods are safe for concurrent use.
//
// Every implementation passes the suite of source/sourcetest.
type Cursors interface {
	// Load returns the cursor last set for a key, by this process or an earlier one,
	// and false if there is none.
	Load(key string) (Slot, bool)
	// Set notes the cursor of a key. It survives the process only after a Flush of the
	// key.
	Set(key string, cursor Slot)
	// Rewind is Set for a cursor that may be before the one that was set: that one was
	// wrong.
	Rewind(key string, cursor Slot)
	// Flush returns nil only when what was set for the keys survives the process. After
	// an error, some of it may not; it stays set, and the next Flush of the key tries
	// again. Flush returns when ctx ends.
	Flush(ctx context.Context, keys ...string) error
}
