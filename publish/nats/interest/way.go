package interest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// The kinds of connections to which a server passes a message on.
const (
	kindClient  = 0
	kindRouter  = 1
	kindGateway = 2
	kindLeaf    = 4
)

// A trace is what one server tells of a message.
type trace struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Request struct {
		Header map[string][]string `json:"header"`
	} `json:"request"`
	Events []event `json:"events"`
}

// An event is something that happens to a message, or would.
type event struct {
	Type string `json:"type"`
	// Kind is that of the connection that the message goes to, if it does.
	Kind int `json:"kind"`
	// Hop is the server at its other end, if there is one.
	Hop    string `json:"hop"`
	Stream string `json:"stream"`
	Error  string `json:"error"`
	// Client is the number of a subscriber's connection, Sub what it has subscribed to, and
	// Queue its queue group. Account is set if it is another one.
	Client  uint64 `json:"cid"`
	Sub     string `json:"sub"`
	Queue   string `json:"queue"`
	Account string `json:"acc"`
}

// A way is the servers that a message would pass through.
type way struct {
	except  string          // the stream that does not count
	reaches bool            // somebody
	told    map[string]bool // by hop, "" for the first server: whether it has answered
	readers *readers        // nil if nobody wants to know them
}

func newWay(except string) *way { return &way{except: except, told: map[string]bool{"": false}} }

// whole tells whether every server on the way has answered.
func (w *way) whole() bool {
	return !slices.Contains(slices.Collect(maps.Values(w.told)), false)
}

// add takes note of a server's answer.
func (w *way) add(data []byte) error {
	var t trace
	if err := json.Unmarshal(data, &t); err != nil {
		return fmt.Errorf("%w: a trace cannot be read: %w", ErrSilent, err)
	}
	hop := ""
	if hops := t.Request.Header[headerHop]; len(hops) > 0 {
		hop = hops[0]
	}
	w.told[hop] = true
	for _, e := range t.Events {
		w.see(e)
		if w.readers != nil {
			w.readers.see(t.Server.ID, e)
		}
	}
	return nil
}

func (w *way) see(e event) {
	switch e.Type {
	case "in", "sm": // it comes in, its subject is mapped
	case "js":
		w.reaches = w.reaches || e.Stream != w.except && e.Error == ""
	case "eg":
		w.leaves(e)
	default: // it goes to another account
		w.reaches = true
	}
}

// leaves takes note of a connection that the message would be passed on to.
func (w *way) leaves(e event) {
	switch e.Kind {
	case kindRouter, kindGateway, kindLeaf:
		if e.Hop == "" { // a server that does not trace: somebody behind it wants the message
			w.reaches = true
		} else if !w.told[e.Hop] {
			w.told[e.Hop] = false
		}
	case kindClient:
		w.reaches = w.reaches || e.Error == ""
	}
}
