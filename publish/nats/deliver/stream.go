package deliver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
)

// Defaults of [StreamOptions].
const (
	DefaultKeep     = 8
	DefaultMaxBytes = 8 << 30

	// dedupe is how long the server remembers the ids of messages that it does not
	// hold any more.
	dedupe = 10 * time.Minute
)

// A Kind is a kind of stream for tensors.
type Kind int

const (
	// Ring holds the newest messages of each subject, in memory.
	Ring Kind = iota
	// Durable holds messages on disk until they are consumed, and rejects new ones
	// when it is full.
	Durable
)

// StreamOptions describe the JetStream stream that a [Stored] publishes into. The stream
// is created if it does not exist. An existing stream is never changed.
type StreamOptions struct {
	// Kind says what the stream is for. Default: [Ring].
	Kind Kind
	// Name of the stream. Default: [dial.DefaultStream].
	Name string
	// Subjects of the stream, which can have wildcards.
	Subjects []string
	// Replicas is the number of servers that hold the stream. Default: 1.
	Replicas int
	// Keep is the number of messages of each subject that a ring holds. Default:
	// [DefaultKeep].
	Keep int
	// MaxBytes bounds the size of the stream. Default: [DefaultMaxBytes] for a durable
	// stream, no bound for a ring.
	MaxBytes int64
	// Limits keeps the messages of a durable stream after they were consumed, until
	// somebody purges them. Default: the stream is a work queue, from which consumed
	// messages are deleted.
	Limits bool
}

// Config returns the JetStream config of the stream.
func (o StreamOptions) Config() jetstream.StreamConfig {
	o.Name = cmp.Or(o.Name, dial.DefaultStream)
	o.Replicas = max(o.Replicas, 1)
	if o.Kind == Durable {
		return o.durable()
	}
	return o.ring()
}

func (o StreamOptions) ring() jetstream.StreamConfig {
	o.MaxBytes = cmp.Or(o.MaxBytes, -1)
	cfg := o.stream()
	cfg.Description = "cvfeeder: the newest tensors"
	cfg.Storage, cfg.Discard, cfg.MaxMsgsPerSubject = jetstream.MemoryStorage, jetstream.DiscardOld, int64(cmp.Or(o.Keep, DefaultKeep))
	return cfg
}

func (o StreamOptions) durable() jetstream.StreamConfig {
	o.MaxBytes = cmp.Or(o.MaxBytes, DefaultMaxBytes)
	cfg := o.stream()
	cfg.Description = "cvfeeder: tensors until they are consumed"
	cfg.Storage, cfg.Discard, cfg.Retention = jetstream.FileStorage, jetstream.DiscardNew, jetstream.WorkQueuePolicy
	if o.Limits {
		cfg.Description, cfg.Retention = "cvfeeder: tensors", jetstream.LimitsPolicy
	}
	return cfg
}

func (o StreamOptions) stream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: o.Name, Subjects: o.Subjects, Replicas: o.Replicas, MaxBytes: o.MaxBytes,
		MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1, Duplicates: dedupe,
	}
}

// ensure returns the stream. It creates it if it does not exist, and checks it if it does.
func ensure(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := findOrCreate(ctx, js, want)
	if err != nil {
		return nil, err
	}
	return stream, Compare(stream.CachedInfo().Config, want)
}

func findOrCreate(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, _, err := dial.Ensure(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		return js.Stream(ctx, want.Name)
	}, func(ctx context.Context) (jetstream.Stream, error) {
		return js.CreateStream(ctx, want)
	})
	return stream, err
}

// A difference is what makes an existing stream unfit.
type difference struct {
	name    string
	what    []string // "max_bytes is 1, not 2"
	options []string // of "nats stream edit"
	anew    bool
}

func (d *difference) text() string {
	way := fmt.Sprintf("nats stream edit %s %s", d.name, strings.Join(d.options, " "))
	if d.anew {
		way = fmt.Sprintf("nats stream rm %s (deletes what it holds), and cvfeeder creates it again", d.name)
	}
	return fmt.Sprintf("%s: run: %s; or choose another name with delivery.stream.name", strings.Join(d.what, ", "), way)
}

// Compare returns an error that wraps [dial.ErrStream], and says what to do, if an
// existing stream differs from the wanted one in a way that matters.
func Compare(have, want jetstream.StreamConfig) error {
	d := &difference{name: want.Name}
	differ := func(same bool, what string, has, wants any, option string) {
		if same {
			return
		}
		d.what = append(d.what, fmt.Sprintf("%s is %v, not %v", what, has, wants))
		if option == "" {
			d.anew = true
		} else {
			d.options = append(d.options, fmt.Sprintf("--%s=%v", option, wants))
		}
	}
	differ(have.Storage == want.Storage, "storage", have.Storage, want.Storage, "")
	differ(have.Retention == want.Retention, "retention", have.Retention, want.Retention, "")
	differ(have.Discard == want.Discard, "discard", policy(have.Discard), policy(want.Discard), "discard")
	differ(holdsAll(have.Subjects, want.Subjects), "subjects", strings.Join(have.Subjects, ","), strings.Join(want.Subjects, ","), "subjects")
	differ(have.Replicas == want.Replicas, "replicas", have.Replicas, want.Replicas, "replicas")
	differ(have.MaxBytes == want.MaxBytes, "max_bytes", have.MaxBytes, want.MaxBytes, "max-bytes")
	differ(have.MaxMsgsPerSubject == want.MaxMsgsPerSubject, "max_msgs_per_subject",
		have.MaxMsgsPerSubject, want.MaxMsgsPerSubject, "max-msgs-per-subject")
	differ(have.MaxMsgs == want.MaxMsgs, "max_msgs", have.MaxMsgs, want.MaxMsgs, "max-msgs")
	differ(have.MaxAge == want.MaxAge || want.Discard == jetstream.DiscardOld, "max_age", have.MaxAge, want.MaxAge, "max-age")
	differ(have.MaxMsgSize == want.MaxMsgSize, "max_msg_size", have.MaxMsgSize, want.MaxMsgSize, "max-msg-size")
	differ(have.Duplicates >= want.Duplicates, "duplicate window", have.Duplicates, want.Duplicates, "dupe-window")
	differ(!have.NoAck, "no_ack", have.NoAck, want.NoAck, "")
	if len(d.what) == 0 {
		return nil
	}
	return fmt.Errorf("%w %s is not what the config needs: %s", dial.ErrStream, want.Name, d.text())
}

func policy(p jetstream.DiscardPolicy) string {
	if p == jetstream.DiscardNew {
		return "new"
	}
	return "old"
}

// holdsAll tells whether all wanted subjects are among those that a stream has, compared
// as text.
func holdsAll(have, want []string) bool {
	for _, s := range want {
		if !slices.Contains(have, s) && !slices.Contains(have, ">") {
			return false
		}
	}
	return true
}

// StreamError returns an error that says what to do about an error of JetStream.
func StreamError(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, err error) error {
	var api *jetstream.APIError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, dial.ErrStream), errors.Is(err, dial.ErrRefused), errors.Is(err, dial.ErrNotConnected):
		return err
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount),
		errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w %s: the NATS server, or the account, has no JetStream: turn it on (nats-server -js), or use delivery.mode: live: %w",
			dial.ErrStream, want.Name, err)
	case !errors.As(err, &api):
		return fmt.Errorf("%w %s: %w", dial.ErrStream, want.Name, err)
	}
	way := ""
	switch api.ErrorCode {
	case codeOverlap:
		other := "another one"
		if name, e := js.StreamNameBySubject(ctx, want.Subjects[0]); e == nil {
			other = "stream " + name
		}
		way = fmt.Sprintf(": %s has %s already: name that one with delivery.stream.name, or choose another delivery.subject",
			other, strings.Join(want.Subjects, ","))
	case codeNoStorage, codeNoResources:
		way = ": the server has less room than that: lower delivery.stream.max_bytes, or raise the server's max_file_store or max_memory_store"
	case codeNoCluster:
		way = ": the server is not in a cluster: set delivery.stream.replicas to 1"
	}
	return fmt.Errorf("%w %s could not be made%s: %w", dial.ErrStream, want.Name, way, err)
}

// Error codes of JetStream that have no name in the client.
const (
	codeNoResources jetstream.ErrorCode = 10023
	codeNoStorage   jetstream.ErrorCode = 10047
	codeOverlap     jetstream.ErrorCode = 10065
	codeNoCluster   jetstream.ErrorCode = 10074
	codeStoreFailed jetstream.ErrorCode = 10077
)
