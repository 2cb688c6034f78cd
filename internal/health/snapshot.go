package health

import (
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// A Snapshot is what is known at one instant.
type Snapshot struct {
	// At is the instant as time.Now gives it, and Now by the clock of the slots.
	At, Now time.Time
	// Opened says that the streams have begun; before that, Waiting is what for. Stopping
	// says that they end.
	Opened, Stopping bool
	// Waiting is a request to NATS that has not been answered, and why, "" for none.
	Waiting string
	// Down are the connections to NATS that are down, and Deaf that all for tensors are.
	Down []string
	Deaf bool
	// Troubles are the last failures to publish, the newest of each code.
	Troubles []Trouble
	// Lost counts how often NATS had lost what it had stored.
	Lost uint64
	// Prefixes are those by which streams are looked up. Unfound are those of them that have
	// never been looked up, and why.
	Prefixes, Unfound []string
	// Group is what this replica should run, nil where there is no group.
	Group *Group
	// Cores says in a sentence that there are too few cores, "" if there are enough. A process
	// that catches up uses all that there are, too.
	Cores string
	// ClockOffset is how far the host's clock is ahead of that of the slots.
	ClockOffset time.Duration
	// Budget is how much of the limits of all streams together is used.
	Budget  Budget
	Streams []Stream
}

// A Trouble is a failure to publish.
type Trouble struct {
	Code   Code
	At     time.Time
	Detail string
}

// A Group is a replica's part of the group's streams.
type Group struct {
	// Streams are all of the group's. Mine of them are this replica's, and Missing of these
	// do not run.
	Streams, Mine, Missing int
	// Known says that the members of the group are known, and this replica is one of them.
	Known bool
	// Problem is why a stream could last not be acquired, "" if that is long ago.
	Problem string
}

// A Budget is how much is used of what images may cost.
type Budget struct {
	// Spent says that a limit is met, and Slow that less is asked for then, not nothing. Low
	// says that one will be met soon.
	Spent, Slow, Low bool
	// Detail says which, and until when.
	Detail string
}

// A Stream is what is known of a stream.
type Stream struct {
	Name            string
	Stats           source.Stats
	Feed            source.FeedState
	Interval, Grace time.Duration
	// To is the slot at which the stream ends, 0 for never.
	To source.Slot
	// Problem is why it cannot be read at present, nil where it can.
	Problem error
	// Delivering says that NATS has been given something of it, and has not said yet that it
	// is stored.
	Delivering bool
	// InHand says that frames of it have come and are not delivered yet.
	InHand bool
	// Moved is when its endpoint has last moved, zero for never.
	Moved time.Time
	// Budget is how much of the limits is used that it has, or all streams together.
	Budget Budget
}
