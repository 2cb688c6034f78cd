package config

import (
	"log/slog"

	"github.com/cvfeeder/cvfeeder/publish"
)

// The types below are those of keys that accept one of a few words. The words are checked
// when a file is read, so a [Config] holds no others.

// A Mode is the way in which messages are delivered.
type Mode string

// The modes of delivery.
const (
	// ModeLive publishes over core NATS: at most once, the newest wins.
	ModeLive Mode = "live"
	// ModeRing keeps the newest messages of each subject in a JetStream stream in
	// memory.
	ModeRing Mode = "ring"
	// ModeDurable keeps messages in a JetStream stream on disk: every slot once.
	ModeDurable Mode = "durable"
)

// Stored reports whether messages are stored in a JetStream stream.
func (m Mode) Stored() bool { return m != ModeLive }

// Poll says when images of a stream are requested.
type Poll string

// When images are requested.
const (
	PollAlways     Poll = "always"
	PollSubscribed Poll = "subscribed" // while somebody listens to one of its outputs
	PollRequest    Poll = "request"    // for requests only
)

// Then says what happens when a limit is met.
type Then string

// What happens when a limit is met.
const (
	ThenStop Then = "stop"
	ThenSlow Then = "slow"
)

// Gaps says how gaps are announced.
type Gaps string

// The ways to announce a gap.
const (
	GapsEvents Gaps = "events" // an event on a subject of its own
	GapsInline Gaps = "inline" // an empty message among the tensors
	GapsNone   Gaps = "none"
)

// Oversize says what happens to a tensor that is larger than the server accepts.
type Oversize string

// What happens to a tensor that is too large.
const (
	OversizeReject Oversize = "reject" // an error at the start
	OversizeChunk  Oversize = "chunk"  // several messages, each with a part
)

// CheckSize returns an error if a message of size bytes cannot be delivered by a server
// that accepts messages of up to limit bytes.
func (o Oversize) CheckSize(size, limit int) error {
	if o == OversizeChunk {
		return nil
	}
	return publish.CheckSize(size, limit)
}

// A Retention says when a durable stream deletes a message.
type Retention string

// The kinds of retention.
const (
	RetentionWorkQueue Retention = "workqueue" // once it is consumed
	RetentionLimits    Retention = "limits"    // only when somebody purges it
)

// A Selector says whose timestamps count.
type Selector string

// The selectors.
const (
	SelectorServer   Selector = "server"   // when the service received the media
	SelectorProducer Selector = "producer" // the camera's own
)

// A PictureFormat is the encoding of the pictures that the service is asked for.
type PictureFormat string

// The encodings.
const (
	FormatJPEG PictureFormat = "jpeg"
	FormatPNG  PictureFormat = "png"
)

// A LogLevel is the lowest level that is logged.
type LogLevel string

// The levels.
const (
	LevelDebug LogLevel = "debug"
	LevelInfo  LogLevel = "info"
	LevelWarn  LogLevel = "warn"
	LevelError LogLevel = "error"
)

// Level implements [slog.Leveler].
func (l LogLevel) Level() slog.Level {
	switch l {
	case LevelDebug:
		return slog.LevelDebug
	case LevelWarn:
		return slog.LevelWarn
	case LevelError:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// A LogFormat is the format of log lines.
type LogFormat string

// The formats of log lines.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)
