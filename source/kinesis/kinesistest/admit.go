package kinesistest

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// errReset stands for no answer: the connection is reset.
var errReset = errors.New("connection reset")

// A manner is how an answer goes wrong on its way.
type manner struct{ cut, slow, trickle bool }

// admit decides what becomes of a request that the service could answer: nil lets
// it. points are what it takes of the limits.
func (s *Server) admit(c *call, points int) error {
	if s.opts.Intercept != nil {
		if fault := s.opts.Intercept(*c.record); fault != nil {
			return fault
		}
	}
	faults, own := s.opts.Faults, s.traffic
	if c.stream != nil {
		faults, own = c.stream.faults, c.stream.traffic
	}
	c.rolls = own.next(c.record.Operation)
	if faults.Throttle && !s.pay(c, own, faults, points) {
		c.record.Fault = "throttle"
		return Throttled()
	}
	if err := s.mishap(c, faults); err != nil {
		return err
	}
	c.manner = manner{
		cut:     c.rolls.on(ofCuts).falls(faults.Cuts),
		slow:    c.rolls.on(ofSlow).falls(faults.Slow),
		trickle: c.rolls.on(ofTrickle).falls(faults.Trickle),
	}
	c.slowBy = faults.SlowBy
	return nil
}

func (s *Server) pay(c *call, own *traffic, faults Faults, points int) bool {
	ofStream, ofAccount := tolls(c.record.Operation, points)
	return own.pay(ofStream, faults.Others, c.record.Time) && s.traffic.pay(ofAccount, 0, c.record.Time)
}

// mishap has some requests fail that deserve better.
func (s *Server) mishap(c *call, faults Faults) error {
	happens := func(of uint64, share float64, name string) bool {
		if !c.rolls.on(of).falls(share) {
			return false
		}
		c.record.Fault = name
		return true
	}
	operation := c.record.Operation
	switch {
	case happens(ofResets, faults.Resets, "reset"):
		return errReset
	case happens(ofErrors, faults.Errors, "error"):
		if c.rolls.on(ofErrors, 1).falls(0.5) {
			return Unavailable()
		}
		return Broken()
	case operation == "GetDataEndpoint" && happens(ofEndpoint, faults.ThrottleEndpoint, "throttle"):
		return Throttled()
	case operation == "GetImages" && happens(ofNoImages, faults.NoImages, "no-images"):
		return NoImages()
	}
	return nil
}

// endpointPath begins the path of data endpoints that rotate.
const endpointPath = "/e/"

// splitEndpoint takes the endpoint's own path, such as /e/28, off the path of a
// request.
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

// endpoint returns the path of the stream's data endpoint at now: it changes, for
// each stream at a time of its own.
func (st *stream) endpoint(now time.Time) string {
	every := st.faults.Rotate.Milliseconds()
	if every == 0 {
		return ""
	}
	phase := st.media.rolls.on(ofRotation).below(every)
	return endpointPath + strconv.FormatInt((now.UnixMilli()+phase)/every, 10)
}

// atEndpoint refuses requests that were sent to an endpoint that is dead or is not
// one, in one of the ways of such endpoints.
func (s *Server) atEndpoint(c *call) error {
	if c.endpoint == c.stream.endpoint(c.record.Time) {
		return nil
	}
	c.record.Fault = "stale-endpoint"
	if c.endpoint == "" {
		return NoImages() // as the regional endpoint
	}
	switch c.stream.media.rolls.on(ofRotation, hashOf(c.endpoint)).below(4) {
	case 0:
		return &Fault{Status: http.StatusNotFound, Code: "UnknownOperationException", Message: "There is no such operation here."}
	case 1:
		return &Fault{Status: http.StatusForbidden, Code: "AccessDeniedException", Message: "This endpoint does not serve the stream."}
	case 2:
		return NoImages()
	default:
		return errReset
	}
}
