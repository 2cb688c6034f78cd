package publish

// The values of [DropError.Reason].
const (
	// DropDisconnected: there is no connection to the broker.
	DropDisconnected = "disconnected"
	// DropTooLarge: the message is larger than the broker accepts.
	DropTooLarge = "too_large"
	// DropSlow: the broker accepts messages more slowly than they are made.
	DropSlow = "slow"
	// DropFull: the broker has no room for the message.
	DropFull = "full"
	// DropRefused: the broker rejected the message for any other reason.
	DropRefused = "refused"
	// DropClosed: the connection was closed.
	DropClosed = "closed"
)

// DropReasons returns all values of [DropError.Reason].
func DropReasons() []string {
	return []string{DropDisconnected, DropTooLarge, DropSlow, DropFull, DropRefused, DropClosed}
}
