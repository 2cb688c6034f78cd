package kinesistest

import (
	"cmp"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// A directory holds the streams of the service.
type directory struct {
	mu      sync.RWMutex
	sorted  []*stream // by name
	byName  map[string]*stream
	removed map[string]*stream // by name
}

func newDirectory(o Options) (*directory, error) {
	d := &directory{byName: map[string]*stream{}, removed: map[string]*stream{}}
	for _, s := range o.Streams {
		if err := d.add(s, o); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *directory) add(given Stream, o Options) error {
	st, err := newStream(given, o)
	if err != nil {
		return fmt.Errorf("stream %q: %w", given.Name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byName[st.Name] != nil {
		return fmt.Errorf("stream %q: the name is taken already", st.Name)
	}
	d.sorted = slices.Insert(d.sorted, d.index(st.Name), st)
	d.byName[st.Name] = st
	return nil
}

// index returns the index of the first stream whose name is not less than name.
func (d *directory) index(name string) int {
	at, _ := slices.BinarySearchFunc(d.sorted, name, func(a *stream, name string) int { return cmp.Compare(a.Name, name) })
	return at
}

func (d *directory) remove(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := d.byName[name]
	if st == nil {
		return false
	}
	at := d.index(name)
	d.sorted = slices.Delete(d.sorted, at, at+1)
	delete(d.byName, name)
	d.removed[name] = st
	return true
}

// find returns the stream that a request names, either by name or by ARN.
func (d *directory) find(name, arn string, now time.Time) (*stream, error) {
	switch {
	case name == "" && arn == "":
		return nil, invalidArgument("Either StreamName or StreamARN must be specified.")
	case name != "" && arn != "":
		return nil, invalidArgument("Only one of StreamName and StreamARN may be specified.")
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if arn != "" {
		name = path.Base(path.Dir(arn))
	}
	st := d.byName[name]
	if st == nil || arn != "" && arn != st.arn(now) {
		return nil, noStream(cmp.Or(arn, name))
	}
	return st, nil
}

func noStream(name string) *ErrorResponse {
	return &ErrorResponse{
		Status:  http.StatusNotFound,
		Code:    "ResourceNotFoundException",
		Message: fmt.Sprintf("The requested stream %s is not found or not active.", name),
	}
}

// known returns the stream of that name, or the last one that had the name, or nil.
func (d *directory) known(name string) *stream {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return cmp.Or(d.byName[name], d.removed[name])
}

// withPrefix returns up to limit streams that there are at now, whose names begin with
// prefix and come after the given name, in order of their names, and whether there are
// more.
func (d *directory) withPrefix(prefix, after string, limit int, now time.Time) (found []*stream, more bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, st := range d.sorted[d.index(max(prefix, after)):] {
		switch {
		case !strings.HasPrefix(st.Name, prefix):
			return found, false
		case st.Name == after || st.status(now) == deleted:
		case len(found) == limit:
			return found, true
		default:
			found = append(found, st)
		}
	}
	return found, false
}

// AddStream adds a stream while the service is running. It returns an error if the name
// is taken or an option makes no sense. Its media has been there since [Stream.Since],
// which need not be now.
func (s *Server) AddStream(st Stream) error {
	if err := s.streams.add(st, s.opts); err != nil {
		return fmt.Errorf("fake Kinesis Video service: %w", err)
	}
	return nil
}

// RemoveStream deletes the stream of that name and its media, and returns whether there
// was one. [Server.Media] remembers it until the name is used again.
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

// SetStatus sets the status of the stream of that name: "ACTIVE", "UPDATING", "CREATING" or
// "DELETING". It returns whether there is such a stream. While a stream is CREATING or
// DELETING, all that the service does is describe and list it.
func (s *Server) SetStatus(name, set string) bool {
	s.streams.mu.RLock()
	defer s.streams.mu.RUnlock()
	st := s.streams.byName[name]
	if st != nil {
		st.set.Store(status(set))
	}
	return st != nil
}
