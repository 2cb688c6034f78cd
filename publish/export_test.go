package publish

// NewSmallJoiner returns a [Joiner] with smaller limits than the usual ones.
func NewSmallJoiner(maxBytes int64, maxSubjects int) *Joiner {
	return &Joiner{maxBytes: maxBytes, maxSubjects: maxSubjects}
}
