package web

import (
	"net"
	"net/http"
	"sync"
)

// mostConnections is how many connections are open at a time. Beyond, one is closed for each
// new one, so that health is answered whatever the others hold.
const mostConnections = 256

// connections are the open connections of a server.
type connections struct {
	mu   sync.Mutex
	all  map[net.Conn]*connection
	last uint64
}

// A connection is one with what it does.
type connection struct {
	number uint64 // the older, the smaller
	active bool   // it has a request
}

// changed implements [http.Server.ConnState].
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	var over net.Conn
	switch state {
	case http.StateNew:
		// The new one, which has sent nothing yet, is not a candidate.
		if len(c.all) >= mostConnections {
			over = c.worst()
			delete(c.all, over)
		}
		c.last++
		c.all[conn] = &connection{number: c.last}
	case http.StateClosed, http.StateHijacked:
		delete(c.all, conn)
	default:
		if is := c.all[conn]; is != nil {
			is.active = state == http.StateActive
		}
	}
	c.mu.Unlock()
	if over != nil {
		_ = over.Close()
	}
}

// worst returns the oldest connection that waits for a request, or else the oldest of all.
func (c *connections) worst() (worst net.Conn) {
	for conn, is := range c.all {
		was := c.all[worst]
		if was == nil || was.active && !is.active || was.active == is.active && is.number < was.number {
			worst = conn
		}
	}
	return worst
}
