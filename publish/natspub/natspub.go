// Package natspub delivers messages over NATS.
//
// [Dial] connects, or keeps trying; [Conn.Live] is the publisher of the delivery
// mode "live". [StartServer] runs a NATS server in this process.
//
// Whoever consumes tensors has [Subscribe] for all that is published from now on,
// [SubscribeNewest] for no more than the newest of each camera, and [Consume] for
// what JetStream keeps until it is acknowledged: each has a loop over deliveries.
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
	// ErrRefused: the server is there, but refuses the credentials, or a permission.
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
	// Credentials is the path of a .creds file, or of a file with the seed of a
	// user's nkey. It is read again for each connection; the nkey itself must
	// stay the same. Default: none.
	Credentials string
	// TLS is for servers that speak it. Default: none is asked for, and the
	// system's authorities are trusted where a server has it.
	TLS TLS
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
	// DataConnections is how many connections carry tensors; a stream always uses
	// the same. Default: 1.
	DataConnections int
	// Logger is told what happens to the connections. Default: nobody.
	Logger *slog.Logger
	// OnConnect is called each time a connection for tensors has been made,
	// with the server's max_payload in bytes, which may be another one than
	// before. Calls do not overlap, and hold up other news of the connection.
	// Default: none.
	OnConnect func(maxPayload int)
	// OnDenied is called with a [*PermissionError], once for each connection, when
	// the server has refused to take a message or a subscription. Default: it is
	// logged.
	OnDenied func(error)
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
	o.DataConnections = max(o.DataConnections, 1)
	if o.ReconnectWait <= 0 {
		o.ReconnectWait = defaultReconnectWait
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
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
			return nil, fmt.Errorf("NATS URL %s: scheme %q is not one of nats, tls, ws, wss", redact(s), u.Scheme)
		case u.Hostname() == "":
			return nil, fmt.Errorf("NATS URL %s: no host (expected one like %s)", redact(s), DefaultURL)
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// display returns where the options lead to, without secrets.
func (o Options) display() string {
	if o.Server != nil {
		return "embedded"
	}
	return Redact(o.URL)
}

// Redact returns a URL for [Options.URL] without the passwords and tokens in it.
func Redact(url string) string {
	servers, err := Options{URL: url}.withDefaults().servers()
	if err != nil {
		return "invalid"
	}
	for i, s := range servers {
		servers[i] = redact(s)
	}
	return strings.Join(servers, ",")
}

func redact(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return "invalid"
	}
	if _, ok := u.User.Password(); u.User != nil && !ok {
		u.User = url.User("xxxxx") // a user without a password is a token
	}
	return u.Redacted()
}
