package ondemand

import "context"

// An Origin is where a frame on request came from.
type Origin string

// The origins.
const (
	// Made: it was fetched for this request.
	Made Origin = "made"
	// Shared: it was already being fetched for another request.
	Shared Origin = "shared"
	// Cached: it had been fetched before.
	Cached Origin = "cached"
)

type originKey struct{}

// Watch returns a context for one request of a frame, and a function that returns where
// the frame came from: "" if it was not asked for.
func Watch(ctx context.Context) (context.Context, func() Origin) {
	origin := new(Origin)
	return context.WithValue(ctx, originKey{}, origin), func() Origin { return *origin }
}

func note(ctx context.Context, o Origin) {
	if origin, ok := ctx.Value(originKey{}).(*Origin); ok {
		*origin = o
	}
}
