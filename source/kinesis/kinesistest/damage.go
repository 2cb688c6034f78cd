package kinesistest

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// reset closes the connection without an answer.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2, or no connection at all
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // so that the client is told of a reset, not of an end
	}
	_ = conn.Close()
}

// sendDamaged sends the answer with the damage that the call was given, and logs it.
func (s *Server) sendDamaged(w http.ResponseWriter, c *call, reply answer) {
	var buf bytes.Buffer
	_ = reply(&buf) // writing to a buffer never fails
	body := buf.Bytes()
	// Half of the answers say how long they are.
	if c.rng.derive(ofCuts, 1).chance(0.5) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	names := strings.FieldsFunc(c.record.Fault, func(r rune) bool { return r == '+' })
	if c.damage.cut || c.damage.stall {
		body = body[:c.rng.derive(ofCuts, 2).below(int64(len(body)))]
		c.record.Images = c.record.Images[:min(len(c.record.Images), wholeImages(body))]
	}
	switch {
	case c.damage.stall:
		names = append(names, "stall")
	case c.damage.cut:
		names = append(names, "cut")
	}
	if c.damage.slow {
		names = append(names, "slow")
	}
	if c.damage.trickle {
		names = append(names, "trickle")
	}
	c.record.Fault = strings.Join(names, "+")
	s.logRequest(*c.record)

	flush := http.NewResponseController(w)
	if c.damage.slow && !wait(c.Context(), c.rng.derive(ofSlow, 1).upTo(c.slowBy)) {
		return
	}
	pieces, pause := 1, time.Duration(0)
	if c.damage.trickle {
		pieces = 10
		pause = c.rng.derive(ofTrickle, 1).upTo(c.slowBy) / time.Duration(pieces)
	}
	for i := range pieces {
		if i > 0 && !wait(c.Context(), pause) {
			return
		}
		_, err := w.Write(body[len(body)*i/pieces : len(body)*(i+1)/pieces])
		if err != nil || flush.Flush() != nil {
			return
		}
	}
	if c.damage.stall {
		<-c.Context().Done() // the client gives up, or the server stops
	}
	if c.damage.cut || c.damage.stall {
		panic(http.ErrAbortHandler)
	}
}

// wholeImages counts the pictures that are complete in the first part of an answer.
func wholeImages(body []byte) int {
	content := []byte(imageContent)
	n := bytes.Count(body, content)
	if last := bytes.LastIndex(body, content); last >= 0 && bytes.IndexByte(body[last+len(content):], '"') < 0 {
		n--
	}
	return n
}

// wait returns false if ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
