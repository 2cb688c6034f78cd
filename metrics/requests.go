package metrics

import (
	"maps"
	"slices"
	"sync"
)

// alwaysCodes are the answers of GetImages that have a series from the start, so that a
// rate includes the first of them.
var alwaysCodes = []string{"OK", "ClientLimitExceededException"}

// requests counts the GetImages requests of each stream.
type requests struct {
	mu      sync.Mutex
	streams map[string]*requested
}

type requested struct {
	images uint64
	codes  map[string]uint64
}

func (r *requests) add(stream, code string, images int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streams[stream]
	if s == nil {
		s = &requested{codes: map[string]uint64{}}
		if r.streams == nil {
			r.streams = map[string]*requested{}
		}
		r.streams[stream] = s
	}
	s.images += uint64(max(images, 0))
	s.codes[code]++
}

func (r *requests) forget(stream string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.streams, stream)
}

// read returns the images that each of the streams has requested, by index, and its
// requests, by code and index.
func (r *requests) read(streams []Stream) (images []uint64, codes map[string][]uint64) {
	images, codes = make([]uint64, len(streams)), map[string][]uint64{}
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
		images[i] = s.images
		for code, n := range s.codes {
			if codes[code] == nil {
				codes[code] = make([]uint64, len(streams))
			}
			codes[code][i] = n
		}
	}
	return images, codes
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
