package pipeline

import (
	"image"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/quality"
)

// A sight is how the pictures of a stream are looked at: workers measure some of them while they
// have their pixels, and the delivery judges these in the order of their slots.
type sight struct {
	next atomic.Int64 // the slot from which on a picture is looked at

	mu   sync.Mutex
	mask *quality.Mask // of the camera's masks, for pictures of the size; nil for none
	size image.Point

	// What follows is of the delivery only.
	at      source.Slot // of the last picture that was judged; 0 before the first
	quality publish.Quality
}

// due tells whether a picture is to be looked at, and takes it for granted that it is. It may have
// gone back, too.
func (s *sight) due(at source.Slot, every time.Duration) bool {
	for {
		next := s.next.Load()
		if at < source.Slot(next) && at.Add(every) >= source.Slot(next) {
			return false
		}
		if s.next.CompareAndSwap(next, int64(at.Add(every))) {
			return true
		}
	}
}

// hidden returns the blocks of the camera's own picture of a size in pixels that its masks hide, nil
// for none.
func (s *sight) hidden(c *transform.Camera, size image.Point) *quality.Mask {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size != size {
		s.mask, s.size = nil, size
		if hidden := c.Masked(size); hidden != nil {
			s.mask = quality.SparseMask(hidden, (size.X+7)/8, (size.Y+7)/8)
		}
	}
	return s.mask
}

// fewest is of how many frames one is looked at, at most: to look takes up to 6% of the time of
// making a tensor.
const fewest = 3

// looks tells whether a job's picture is to be looked at, and takes it for granted that it is.
func (j *job) looks() bool {
	return j.sight != nil && j.sight.due(j.frame.Slot, max(j.camera.Health.Every(), fewest*j.camera.Grid.Interval()))
}

// look measures a picture of a size in pixels. It returns nil if there is no brightness of it.
func (j *job) look(luma *image.Gray, size image.Point) *quality.Look {
	if luma == nil {
		return nil
	}
	l, ok := quality.Measure(luma, j.sight.hidden(j.camera.Camera, size))
	if !ok {
		return nil
	}
	return &l
}

// judge judges a job's picture, if it was looked at, and logs what has begun, and what is over.
func (s *stream) judge(j *job) {
	if j.result.look == nil {
		return
	}
	at := j.frame.Slot.Time()
	for _, c := range s.Health.Look(at, j.result.look) {
		args := []any{"condition", string(c.Condition), "since", source.SlotAt(c.Since).String(), "at", source.SlotAt(c.At).String()}
		switch {
		case c.Relearned:
			s.log.Warn("the camera's view is taken for the usual one from now on", args...)
		case c.Over:
			s.log.Info("the camera sees well again", append(args, "lasted", c.At.Sub(c.Since))...)
		default:
			s.log.Warn("the camera does not see well: "+c.Condition.Means(), args...)
		}
	}
	now := s.Health.State(at)
	s.sight.at = j.frame.Slot
	s.sight.quality = publish.Quality{
		Mean: now.Mean, Contrast: now.Contrast, Sharpness: now.Sharpness, Clipped: now.Clipped,
		Difference: now.Difference, Similarity: now.Similarity,
	}
	for _, c := range now.Conditions {
		s.sight.quality.Conditions = append(s.sight.quality.Conditions, string(c.Condition))
	}
}

// describe adds to a message how good its picture is, or the last one before it that was looked at.
func (s *stream) describe(j *job, m publish.Message) {
	age := j.frame.Slot.Sub(s.sight.at)
	if j.sight == nil || s.sight.at == 0 || age < 0 || age > s.Health.Patience() {
		return
	}
	q := s.sight.quality
	q.Age = age
	m.Header[publish.HeaderQuality] = []string{q.String()}
}
