package publish

// The values of [DropError.Reason].
const (
	// DropDisconnected: there is no connection to the broker.
	DropDisconnected = "disconnected"
	// DropTooLarge: the message is larger than the broker takes.
	DropTooLarge = "too_large"
	// DropSlow: the broker does not take messages as fast as they come.
	DropSlow = "slow"
	// DropFull: the broker has no room.
	DropFull = "full"
	// DropRefused: the broker refuses the message for a reason of its own.
	DropRefused = "refused"
	// DropClosed: the publisher was closed.
	DropClosed = "closed"
)

// DropReasons returns all of them.
func DropReasons() []string {
	return []string{DropDisconnected, DropTooLarge, DropSlow, DropFull, DropRefused, DropClosed}
}
