// Package web is the HTTP server of metrics, health checks and status page: who may
// see what, and how long a request may take.
//
//	l, err := web.Listen("127.0.0.1:9177")
//	...
//	web.Serve(ctx, l, web.Handler(web.Options{Metrics: m, Ready: ready, Status: page}), log)
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// The deadlines of a request. Writing takes the longest: a CPU profile runs for 30
// seconds, and the page waits for the next frame of a stream.
const (
	headerTime = 5 * time.Second
	bodyTime   = 5 * time.Second
	writeTime  = 2 * time.Minute
	idleTime   = 2 * time.Minute
	// closeTime is how long requests may go on after the server was told to stop.
	closeTime = 5 * time.Second
)

// What a request may have, in bytes: only the login has a body.
const (
	maxHeader = 16 << 10
	maxBody   = 4 << 10
)

// Listen opens the listener at a host:port.
func Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics and health: %w: choose another address with http.listen (--http for the demo), or \"\" for none", err)
	}
	return l, nil
}

// IsLoopback reports whether only this machine can connect to a listener.
func IsLoopback(l net.Listener) bool {
	addr, ok := l.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// Serve answers requests until ctx ends, and then gives those that are running a few
// seconds. It closes the listener.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) {
	open := connections{all: map[net.Conn]*connection{}}
	srv := &http.Server{
		ConnState: open.changed, MaxHeaderBytes: maxHeader,
		Handler: h, ReadHeaderTimeout: headerTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	var down sync.WaitGroup
	down.Go(func() {
		<-ctx.Done()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		if srv.Shutdown(closing) != nil {
			_ = srv.Close()
		}
	})
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		log.Error("metrics and health have stopped", "err", err)
	}
	down.Wait()
}
