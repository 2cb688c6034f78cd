// Package dial keeps connections to NATS.
//
// [Dial] starts a [Conn]: some connections for tensors and one for everything else. They
// reconnect whenever they break.
//
//	conn, err := dial.Dial(dial.Options{URL: "nats://127.0.0.1:4222"})
//	if err != nil {
//		return err // the options are wrong
//	}
//	defer conn.Close(ctx)
//	if err := conn.WaitConnected(ctx); err != nil {
//		return err // errors.Is(err, dial.ErrRefused): the credentials are not accepted
//	}
//
// Other packages use a Conn: publish/nats/deliver publishes tensors, publish/nats/lease
// shares streams between replicas, publish/nats/frames answers requests, and
// publish/nats/preflight checks what the server allows. Programs that read tensors need
// publish/consume, and only the [Options] of this package.
//
// Tensors have connections of their own because the client (nats.go) holds a lock while
// it writes a message of megabytes. Gap events, leases and everything else that must be
// prompt use the control connection, and the state that metrics need is kept outside of
// that lock.
//
// Importers can rely on [Options], [TLS], [Dial], the methods of [Conn] up to Close,
// and the errors. [Connection] and [DataConnection] are for the packages named above,
// and change with them.
//
// The package is larger than most because a connection, its socket, its heartbeat and
// the turns on it share the state that says whether it is up.
package dial

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cvfeeder/cvfeeder/internal/payloads"
)

// DefaultAddress is where NATS servers listen unless told otherwise.
const DefaultAddress = "127.0.0.1:4222"

// DefaultURL is the default of [Options.URL].
const DefaultURL = "nats://" + DefaultAddress

// DefaultStream is the default name of the JetStream stream of tensors.
const DefaultStream = "cvfeeder"

const (
	dialTimeout          = 2 * time.Second
	defaultWriteTimeout  = 4 * time.Second
	defaultReconnectWait = 500 * time.Millisecond
)

// Options are the options of [Dial] and [Connect]. The zero value connects to
// [DefaultURL].
type Options struct {
	// URL is the server's, or a list of several, separated by commas. Default:
	// [DefaultURL].
	URL string
	// Server is a server in this process, such as one of publish/nats/embedded, which
	// is reached without a socket. If it is set, URL is not used. Default: none.
	Server nats.InProcessConnProvider
	// Credentials is the path of a .creds file, or of a file with the seed of a user's
	// nkey. It is read again for each connection. The nkey itself must stay the same.
	// Default: none.
	Credentials string
	// TLS is for servers that use it. Default: TLS is not required, and if a server has
	// it, the system's authorities are trusted.
	TLS TLS
	// Name is how the server shows the connections, followed by the name of each.
	// Default: cvfeeder.
	Name string
	// InboxPrefix is how the subjects of answers begin, such as _INBOX.alice for a user who may
	// subscribe to no others. Default: _INBOX.
	InboxPrefix string
	// WriteTimeout is how long a message may take to be written, and how long the
	// server may take to confirm it, before the connection is replaced. Default: 4s.
	WriteTimeout time.Duration
	// ReconnectWait is the time between attempts to connect, plus a jitter of up to a
	// fifth. Default: 500ms.
	ReconnectWait time.Duration
	// Chunk splits messages that are larger than the server accepts. Default: they are
	// dropped.
	Chunk bool
	// DataConnections is how many connections carry tensors; a stream always uses
	// the same one. Default: 1.
	DataConnections int
	// Logger gets the events of the connections. Default: they are discarded.
	Logger *slog.Logger
	// OnConnect is called each time a connection for tensors comes up, with the
	// server's max_payload in bytes, which may have changed. Calls do not overlap, and
	// delay other events of the connection. Default: none.
	OnConnect func(maxPayload int)
	// OnDenied is called with a [*PermissionError], once for each connection, when the
	// server refuses a message or a subscription, and again once after each
	// [Conn.Granted]. Default: it is logged.
	OnDenied func(error)

	// NoDirectWrites publishes all messages through the client (nats.go), which copies
	// them. Default: on connections without TLS and WebSocket, large messages are
	// written to the socket directly.
	NoDirectWrites bool

	// NoDirectReads has a subscription receive all messages through the client (nats.go),
	// which copies them. Default: on connections without TLS and WebSocket, large
	// tensors are received from the socket straight into their memory.
	NoDirectReads bool

	large   *payloads.Store
	lenient bool // what the server denies is only logged
	reopens bool // a connection that the client gives up is made again
}

// silent returns the options without OnConnect.
func (o Options) silent() Options {
	o.OnConnect = nil
	return o
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

// servers returns the URLs in the form that the client expects.
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

// display returns the server to show in logs, without secrets.
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
