package kinesistest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// streams is the directory of the service.
type streams struct {
	sorted        []*stream
	byName, byARN map[string]*stream
}

func (s *streams) add(st *stream) {
	at, _ := slices.BinarySearchFunc(s.sorted, st.Name, func(a *stream, name string) int {
		return cmp.Compare(a.Name, name)
	})
	s.sorted = slices.Insert(s.sorted, at, st)
	s.byName[st.Name], s.byARN[st.arn] = st, st
}

// find returns the stream that a request names in one of the two ways.
func (s *streams) find(name, arn string) (*stream, error) {
	switch {
	case name == "" && arn == "":
		return nil, invalidArgument("Either StreamName or StreamARN must be specified.")
	case name != "" && arn != "":
		return nil, invalidArgument("Only one of StreamName and StreamARN may be specified.")
	}
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

// withPrefix returns the streams whose names begin with prefix, by name.
func (s *streams) withPrefix(prefix string) []*stream {
	var found []*stream
	for _, st := range s.sorted {
		if strings.HasPrefix(st.Name, prefix) {
			found = append(found, st)
		}
	}
	return found
}
