package kinesistest

import "errors"

// What stands for no answer.
var (
	errReset = errors.New("connection reset")
	errHang  = errors.New("never answered") // and the connection stays open
)

// A damage is what happens to an answer on its way.
type damage struct{ cut, stall, slow, trickle bool }

// admit decides whether a request that the service could answer is answered: nil says
// yes. points are what it costs of the limits.
func (s *Server) admit(c *call, points int) error {
	if s.opts.Intercept != nil {
		if response := s.opts.Intercept(*c.record); response != nil {
			return response
		}
	}
	faults, traffic := s.faultsOf(c), s.traffic
	if c.stream != nil {
		traffic = c.stream.traffic
	}
	c.rng = traffic.next(c.record.Operation)
	if faults.Throttle && s.throttled(c, traffic, faults, points) {
		c.record.Fault = "throttle"
		return Throttled()
	}
	if err := failure(c, faults); err != nil {
		return err
	}
	c.damage = damage{
		cut:     c.rng.derive(ofCuts).chance(faults.Cuts),
		stall:   c.rng.derive(ofStalls).chance(faults.Stalls),
		slow:    c.rng.derive(ofSlow).chance(faults.Slow),
		trickle: c.rng.derive(ofTrickle).chance(faults.Trickle),
	}
	c.slowBy = faults.SlowBy
	return nil
}

// faultsOf returns the faults that a call may meet.
func (s *Server) faultsOf(c *call) Faults {
	if c.stream != nil {
		return c.stream.faults
	}
	return s.opts.Faults
}

// failure has some requests fail without a reason.
func failure(c *call, faults Faults) error {
	happens := func(of uint64, share float64, name string) bool {
		if !c.rng.derive(of).chance(share) {
			return false
		}
		c.record.Fault = name
		return true
	}
	operation := c.record.Operation
	switch {
	case happens(ofHangs, faults.hangs(operation), "hang"):
		return errHang
	case happens(ofResets, faults.Resets, "reset"):
		return errReset
	case happens(ofErrors, faults.Errors, "error"):
		if c.rng.derive(ofErrors, 1).chance(0.5) {
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

// hangs returns the share of an operation's requests that are never answered.
func (f Faults) hangs(operation string) float64 {
	switch operation {
	case "DescribeStream":
		return f.HangDescribe
	case "GetDataEndpoint":
		return f.HangEndpoint
	case "ListStreams":
		return f.HangList
	case "ListFragments":
		return f.HangFragments
	case "GetImages":
		return f.HangImages
	}
	return 0
}
