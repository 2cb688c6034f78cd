// Package natspub delivers messages over NATS.
//
// [Dial] connects, or keeps trying; [Conn.Live] is the publisher of the delivery
// mode "live". [StartServer] runs a NATS server in this process, and [Subscribe]
// reads what others publish.
//
//	conn, err := natspub.Dial(natspub.Options{URL: "nats://127.0.0.1:4222"})
//	if err != nil {
//		return err
//	}
//	defer conn.Close(ctx)
//	err = conn.Live().Publish(ctx, publish.NewMessage("cvf.t.front-door.detector", tensor))
//	var drop *publish.DropError
//	if errors.As(err, &drop) {
//		// not delivered, and it will not be: drop.Reason tells why
//	}
//
// The package is the only one that imports the NATS client and server. Tensors
// have a connection of their own, because the client holds a lock while it
// writes a message of megabytes: gap events and all that must answer promptly go
// over a second one, and what metrics need is kept outside of that lock.
package natspub

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Defaults of [Options].
const (
	DefaultURL           = "nats://127.0.0.1:4222"
	defaultWriteTimeout  = 4 * time.Second
	defaultReconnectWait = 500 * time.Millisecond
	dialTimeout          = 2 * time.Second
)

// Errors that callers may want to tell apart.
var (
	// ErrRefused: the server is there, but refuses the credentials.
	ErrRefused = errors.New("NATS refuses the credentials")
	// ErrNotConnected: there is no connection to a server at the moment.
	ErrNotConnected = errors.New("not connected to NATS")
)

// Options are those of a connection. The zero value connects to [DefaultURL].
type Options struct {
	// URL is that of the server, or of several, separated by commas.
	URL string
	// Server is one in this process, which is then spoken to without a socket.
	// URL is not used. Default: none.
	Server *Server
	// Name is what the server shows for the connections, with the connection's
	// own name behind it. Default: cvfeeder.
	Name string
	// WriteTimeout is how long a message may take to go out, and how long the
	// server may take to confirm it, before the connection is given up and made
	// anew. Default: 4s.
	WriteTimeout time.Duration
	// ReconnectWait is the time between attempts to connect, to which a jitter of
	// a fifth is added. Default: 500ms.
	ReconnectWait time.Duration
	// Chunk splits messages that are larger than the server takes. Default: they are
	// dropped, or refused.
	Chunk bool
	// Logger is told what happens to the connections. Default: nobody.
	Logger *slog.Logger
	// OnConnect is called each time the connection for tensors has been made,
	// with the server's max_payload in bytes, which may be another one than
	// before. Calls do not overlap, and hold up other news of the connection.
	// Default: none.
	OnConnect func(maxPayload int)
}

func (o Options) withDefaults() Options {
	if o.URL == "" {
		o.URL = DefaultURL
	}
	if o.Name == "" {
		o.Name = "cvfeeder"
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = defaultWriteTimeout
	}
	if o.ReconnectWait <= 0 {
		o.ReconnectWait = defaultReconnectWait
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// CheckURL returns an error that tells what is wrong with a URL for
// [Options.URL].
func CheckURL(url string) error {
	_, err := Options{URL: url}.withDefaults().servers()
	return err
}

// servers returns the URLs as the client takes them.
func (o Options) servers() ([]string, error) {
	var servers []string
	for s := range strings.SplitSeq(o.URL, ",") {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, err := url.Parse(s)
		switch {
		case err != nil:
			// Without the URL, which may hold a password.
			var cause *url.Error
			if errors.As(err, &cause) {
				err = cause.Err
			}
			return nil, fmt.Errorf("NATS URL: %w (expected one like %s)", err, DefaultURL)
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			return nil, fmt.Errorf("NATS URL %s: scheme %q is not one of nats, tls, ws, wss", u.Redacted(), u.Scheme)
		case u.Hostname() == "":
			return nil, fmt.Errorf("NATS URL %s: no host (expected one like %s)", u.Redacted(), DefaultURL)
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// display returns where the options lead to, without passwords.
func (o Options) display() string {
	if o.Server != nil {
		return "embedded"
	}
	servers, err := o.servers()
	if err != nil {
		return "invalid"
	}
	for i, s := range servers {
		if u, err := url.Parse(s); err == nil {
			servers[i] = u.Redacted()
		}
	}
	return strings.Join(servers, ",")
}
