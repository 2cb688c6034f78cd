package kinesistest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// streams is the directory of the service.
type streams struct {
	mu            sync.RWMutex
	sorted        []*stream
	byName, byARN map[string]*stream
	former        map[string]*stream // those removed, by name
}

func newStreams(o Options) (*streams, error) {
	all := &streams{byName: map[string]*stream{}, byARN: map[string]*stream{}, former: map[string]*stream{}}
	for _, s := range o.Streams {
		if err := all.add(s, o); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s *streams) add(given Stream, o Options) error {
	st, err := newStream(given, o)
	if err != nil {
		return fmt.Errorf("stream %q: %w", given.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName[st.Name] != nil {
		return fmt.Errorf("stream %q: the name is taken already", st.Name)
	}
	s.sorted = slices.Insert(s.sorted, s.after(st.Name), st)
	s.byName[st.Name], s.byARN[st.arn] = st, st
	return nil
}

// after returns the index of the first stream whose name is not below name.
func (s *streams) after(name string) int {
	at, _ := slices.BinarySearchFunc(s.sorted, name, func(a *stream, name string) int { return cmp.Compare(a.Name, name) })
	return at
}

func (s *streams) remove(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.byName[name]
	if st == nil {
		return false
	}
	at := s.after(name)
	s.sorted = slices.Delete(s.sorted, at, at+1)
	delete(s.byName, name)
	delete(s.byARN, st.arn)
	s.former[name] = st
	return true
}

// find returns the stream that a request names in one of the two ways.
func (s *streams) find(name, arn string) (*stream, error) {
	switch {
	case name == "" && arn == "":
		return nil, invalidArgument("Either StreamName or StreamARN must be specified.")
	case name != "" && arn != "":
		return nil, invalidArgument("Only one of StreamName and StreamARN may be specified.")
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := s.byName[name]
	if arn != "" {
		st = s.byARN[arn]
	}
	if st == nil {
		return nil, &Fault{
			Status:  http.StatusNotFound,
			Code:    "ResourceNotFoundException",
			Message: fmt.Sprintf("The requested stream %s is not found or not active.", name+arn),
		}
	}
	return st, nil
}

// known returns the stream of that name, or the last one that had it, or nil.
func (s *streams) known(name string) *stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return cmp.Or(s.byName[name], s.former[name])
}

// withPrefix returns up to limit streams whose names begin with prefix and come
// after the given name, in their order, and whether there are more.
func (s *streams) withPrefix(prefix, after string, limit int) (found []*stream, more bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, st := range s.sorted[s.after(max(prefix, after)):] {
		switch {
		case !strings.HasPrefix(st.Name, prefix):
			return found, false
		case st.Name == after:
		case len(found) == limit:
			return found, true
		default:
			found = append(found, st)
		}
	}
	return found, false
}

// AddStream adds a stream while the service is running. It returns an error where
// the name is taken or an option makes no sense. Its media has been there since
// [Stream.Since], which need not be now.
func (s *Server) AddStream(st Stream) error {
	if err := s.streams.add(st, s.opts); err != nil {
		return fmt.Errorf("fake Kinesis Video service: %w", err)
	}
	return nil
}

// RemoveStream deletes the stream of that name with its media, and tells whether
// there was one. [Server.Media] remembers it until the name is used again.
func (s *Server) RemoveStream(name string) bool { return s.streams.remove(name) }

// Streams returns the names of the streams, sorted.
func (s *Server) Streams() []string {
	s.streams.mu.RLock()
	defer s.streams.mu.RUnlock()
	names := make([]string, len(s.streams.sorted))
	for i, st := range s.streams.sorted {
		names[i] = st.Name
	}
	return names
}
