package pacing

// A Share is how much of a limit to use when others use the same limit and show only
// by throttling. It is halved when throttled, and regained a step at a time (additive
// increase, multiplicative decrease: the AIMD of TCP). A new Share is all of the limit.
// Its users synchronize their calls.
type Share struct {
	// Min is the least share that is kept, above 0 and at most 1.
	Min float64
	// Step is what each success regains.
	Step float64

	value float64 // 0 stands for 1
}

// Value returns the share, from Min to 1.
func (s *Share) Value() float64 {
	if s.value == 0 {
		return 1
	}
	return s.value
}

// Throttled halves the share.
func (s *Share) Throttled() { s.value = max(s.Value()/2, s.Min) }

// Succeeded adds a step to the share.
func (s *Share) Succeeded() { s.value = min(s.Value()+s.Step, 1) }
