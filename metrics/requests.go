package metrics

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cvfeeder/cvfeeder/source"
)

// alwaysCodes are the answers of GetImages that have a series from the start, so that a
// rate includes the first of them.
var alwaysCodes = []string{"OK", "ClientLimitExceededException"}

// requests counts the GetImages requests of each stream, and the slots that it delivered in
// time.
type requests struct {
	mu      sync.Mutex
	streams map[string]*requested
	// asked and came are the images of all streams, those included that are forgotten.
	asked, came source.Bill
}

type requested struct {
	asked, came source.Bill // images
	codes       map[string]uint64
	inTime      *atomic.Uint64 // nil if the stream is not expected to be in time
}

// of returns the counts of a stream. Its caller holds the lock.
func (r *requests) of(stream string) *requested {
	s := r.streams[stream]
	if s == nil {
		s = &requested{codes: map[string]uint64{}}
		if r.streams == nil {
			r.streams = map[string]*requested{}
		}
		r.streams[stream] = s
	}
	return s
}

func (r *requests) add(stream, code string, asked, came source.Bill) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.of(stream)
	s.asked, s.came = s.asked.Plus(asked), s.came.Plus(came)
	r.asked, r.came = r.asked.Plus(asked), r.came.Plus(came)
	s.codes[code]++
}

// inTime returns the count of the slots that a stream delivered in time.
func (r *requests) inTime(stream string) *atomic.Uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.of(stream)
	if s.inTime == nil {
		s.inTime = new(atomic.Uint64)
	}
	return s.inTime
}

// readInTime returns these counts of the streams, by index, nil for those without.
func (r *requests) readInTime(streams []Stream) []*atomic.Uint64 {
	all := make([]*atomic.Uint64, len(streams))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range streams {
		if s := r.streams[streams[i].Name]; s != nil {
			all[i] = s.inTime
		}
	}
	return all
}

func (r *requests) forget(stream string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.streams, stream)
}

// bill returns the images that a stream, or all for "", has asked for, and those that came.
func (r *requests) bill(stream string) (asked, came source.Bill) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if stream == "" {
		return r.asked, r.came
	}
	if s := r.streams[stream]; s != nil {
		asked, came = s.asked, s.came
	}
	return asked, came
}

// read returns the images that each of the streams has asked for, and those that came, by
// index, and its requests, by code and index.
func (r *requests) read(streams []Stream) (asked, came []source.Bill, codes map[string][]uint64) {
	asked, came, codes = make([]source.Bill, len(streams)), make([]source.Bill, len(streams)), map[string][]uint64{}
	for _, code := range alwaysCodes {
		codes[code] = make([]uint64, len(streams))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range streams {
		s := r.streams[streams[i].Name]
		if s == nil {
			continue
		}
		asked[i], came[i] = s.asked, s.came
		for code, n := range s.codes {
			if codes[code] == nil {
				codes[code] = make([]uint64, len(streams))
			}
			codes[code][i] = n
		}
	}
	return asked, came, codes
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
