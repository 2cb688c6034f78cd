package kinesistest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// endpointPath begins the path of data endpoints that rotate.
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
// changes at a time of its own.
func (st *stream) endpoint(now time.Time) string {
	every := st.faults.Rotate.Milliseconds()
	if every == 0 {
		return ""
	}
	phase := st.media.rng.derive(ofRotation).below(every)
	return endpointPath + strconv.FormatInt((now.UnixMilli()+phase)/every, 10)
}

// checkEndpoint refuses requests sent to anything but the stream's present endpoint, in
// one of the ways of dead endpoints.
func (s *Server) checkEndpoint(c *call) error {
	if c.endpoint == c.stream.endpoint(c.record.Time) {
		return nil
	}
	c.record.Fault = "stale-endpoint"
	if c.endpoint == "" {
		return NoImages() // as the regional endpoint
	}
	switch c.stream.media.rng.derive(ofRotation, hashOf(c.endpoint)).below(4) {
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
