package bursts

import (
	"maps"

	"github.com/cvfeeder/cvfeeder/publish"
)

// Mark returns a message that says which burst it belongs to.
func Mark(id string, m publish.Message) publish.Message {
	m.Header = maps.Clone(m.Header)
	m.Header[publish.HeaderBurst] = []string{id}
	return m
}
