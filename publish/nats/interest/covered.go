package interest

import (
	"context"
	"slices"
	"strings"
)

// Coverage says who listens to a subject, and whether another subject would do.
type Coverage struct {
	// Some listen, and Others among them do not listen to the other subject, too.
	Some, Others bool
}

// A reader is a subscriber, by the server that it is connected to, and the number of its
// connection there.
type reader struct {
	server string
	client uint64
}

// readers are those who would get a message.
type readers struct {
	prefix, except string
	known          map[reader]bool
	// others says that somebody would get it, too, who is no plain subscriber: a JetStream
	// stream, another account, or a queue group, of which it is not known who would.
	others bool
}

// Covered tells whether those who listen to the subject have also subscribed, over the same
// connection, to the subject other, by a name or a pattern that begins with the prefix. Streams
// of JetStream are others, but for the given one. The errors are those of [Asker.Listeners].
func (a *Asker) Covered(ctx context.Context, subject, other, prefix, except string) (Coverage, error) {
	// In this order: whoever subscribes to the other subject first is not taken for one who has
	// not.
	plain, err := a.readers(ctx, subject, "", except)
	if err != nil {
		return Coverage{}, err
	}
	if plain.others || len(plain.known) == 0 {
		return Coverage{Some: plain.others, Others: plain.others}, nil
	}
	both, err := a.readers(ctx, other, prefix, except)
	for one := range plain.known {
		if !both.known[one] {
			return Coverage{Some: true, Others: true}, err
		}
	}
	return Coverage{Some: true}, err
}

// readers returns who gets messages on a subject, by a subscription with the prefix.
func (a *Asker) readers(ctx context.Context, subject, prefix, except string) (*readers, error) {
	w := newWay(except)
	w.readers = &readers{prefix: prefix, except: except, known: map[reader]bool{}}
	return w.readers, a.trace(ctx, subject, w, w.whole)
}

// see takes note of an event at a server.
func (r *readers) see(server string, e event) {
	switch {
	case e.Type == "in", e.Type == "sm", e.Type == "js" && e.Stream == r.except:
	case e.Type != "eg" || e.Queue != "" || e.Account != "":
		r.others = true
	case e.Kind != kindClient:
		r.others = r.others || e.Hop == "" // somebody behind a server that does not trace
	case e.Error == "" && strings.HasPrefix(e.Sub, r.prefix):
		r.known[reader{server, e.Client}] = true
	}
}

// Covered is that of [Asker] for the consumers of the stream.
func (c *Consumers) Covered(ctx context.Context, subject, other, prefix string) (Coverage, error) {
	all, err := c.now(ctx)
	var found Coverage
	for _, filters := range all {
		if !slices.ContainsFunc(filters, func(f string) bool { return matches(f, subject) }) {
			continue
		}
		found.Some = true
		found.Others = found.Others || !slices.ContainsFunc(filters, func(f string) bool { return strings.HasPrefix(f, prefix) && matches(f, other) })
	}
	return found, err
}
