package kinesistest

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
)

// endpointPath begins the path of data endpoints that do not live for ever.
const endpointPath = "/e/"

// splitEndpoint splits the path of a request into the endpoint's own path, such as /e/28,
// and the operation's.
func splitEndpoint(path string) (endpoint, operation string) {
	rest, ok := strings.CutPrefix(path, endpointPath)
	if !ok {
		return "", path
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return path[:len(endpointPath)+i], rest[i:]
	}
	return "", path
}

// endpoint returns the path of the stream's data endpoint at now. Each stream's endpoint
// changes at a time of its own, and whenever the stream is created again.
func (st *stream) endpoint(now time.Time) string {
	every := st.faults.Rotate.Milliseconds()
	if every == 0 && st.faults.Recreate == 0 {
		return ""
	}
	turn := st.created(now).UnixMilli() // grows, as what is added to it does
	if every > 0 {
		turn += (now.UnixMilli() + st.media.rng.derive(ofRotation).below(every)) / every
	}
	return endpointPath + strconv.FormatInt(turn, 10)
}

// How a dead endpoint answers, as [Faults.DeadAnswers] numbers it.
const (
	deadLoudly   = iota // in any way that says so
	deadNotFound        // as without media
	deadRefusing        // as for an impossible window
	deadEmpty           // with an empty list
	deadNoMedia         // with NO_MEDIA for each slot
	deadAnyhow          // in any of all these ways
	mostDeadWays = deadAnyhow
)

// checkEndpoint refuses requests sent to anything but the stream's present endpoint, in
// one of the ways of dead endpoints. slots are those of the page that is asked for.
func (s *Server) checkEndpoint(c *call, slots []source.Slot) error {
	if c.endpoint == c.stream.endpoint(c.record.Time) {
		return nil
	}
	c.record.Fault = "stale-endpoint"
	if c.endpoint == "" {
		return NoImages() // as the regional endpoint
	}
	random := c.stream.media.rng.derive(ofRotation, hashOf(c.endpoint))
	way := c.stream.faults.DeadAnswers
	if way == deadAnyhow {
		way = int(random.derive(1).below(deadAnyhow))
	}
	if way == deadLoudly {
		return loudly(random)
	}
	return silently(way, c.record.Operation, slots)
}

// loudly returns an answer that says that the endpoint does not serve the stream.
func loudly(random rng) error {
	switch random.below(4) {
	case 0:
		return &ErrorResponse{Status: http.StatusNotFound, Code: "UnknownOperationException", Message: "There is no such operation here."}
	case 1:
		return &ErrorResponse{Status: http.StatusForbidden, Code: "AccessDeniedException", Message: "This endpoint does not serve the stream."}
	case 2:
		return NoImages()
	default:
		return errReset
	}
}

// silently returns an answer that a client may take for one about the media.
func silently(way int, operation string, slots []source.Slot) error {
	list := "Images"
	if operation == "ListFragments" {
		list = "Fragments"
	}
	switch way {
	case deadNotFound:
		return noFragments(false)
	case deadRefusing:
		return invalidArgument("The request is not valid for this stream.")
	case deadNoMedia:
		var body bytes.Buffer
		entries := make([]entry, len(slots))
		for i, slot := range slots {
			entries[i] = entry{slot: slot, stamp: slot.Time(), error: "NO_MEDIA"}
		}
		if len(slots) > 0 && writeImages(&body, entries, "") == nil {
			return &ErrorResponse{Status: http.StatusOK, Body: body.String()}
		}
	}
	return &ErrorResponse{Status: http.StatusOK, Body: `{"` + list + `":[]}`}
}
