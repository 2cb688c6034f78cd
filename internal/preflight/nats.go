package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/interest"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
)

// probeName stands for the stream in the subject of a test message.
const probeName = "cvfeeder-check"

// closeTime limits how long closing a connection may take.
const closeTime = 5 * time.Second

// checkNATS tries each server.
func (c *checker) checkNATS(ctx context.Context) {
	if c.cfg.NATS.URL == config.Embedded {
		c.pass("nats", "the server is embedded: there is nothing to try before it runs")
		return
	}
	for i, server := range strings.Split(c.cfg.NATS.URL, ",") {
		c.checkServer(ctx, strings.TrimSpace(server), i == 0)
	}
}

// checkServer tries one server: the first one completely, the others only in what may
// differ between servers of a cluster.
func (c *checker) checkServer(ctx context.Context, server string, first bool) {
	opts := c.natsOptions()
	opts.URL = server
	what := "nats " + dial.Redact(server)
	conn, err := dial.Dial(opts)
	if err != nil {
		c.fail(what, feeder.Usage(err))
		return
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		_ = conn.Close(closing) // only test messages can be lost
	}()
	if err := within(ctx, c.opts.Wait, conn.WaitConnected); err != nil {
		c.fail(what, err)
		return
	}
	c.pass(what, "connected, max_payload %s", bytesText(float64(conn.MaxPayload())))
	if first {
		c.checkPermissions(ctx, what, conn)
		c.checkStore(ctx, conn)
	}
	c.checkSize(ctx, what, conn, opts)
}

func (c *checker) checkPermissions(ctx context.Context, what string, conn *dial.Conn) {
	if err := preflight.CheckPermissions(ctx, conn, c.plan.Needs); err != nil {
		c.fail(what, err)
		return
	}
	c.pass(what, "the user has the permissions that delivery.mode %s needs", c.cfg.Delivery.Mode)
	if err := preflight.CheckPermissions(ctx, conn, preflight.NeedsService()); err != nil {
		c.note(what, "frames on request will not be served: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	} else if err := preflight.CheckPermissions(ctx, conn, preflight.NeedsRanges()); err != nil {
		c.note(what, "ranges on request will not be served: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	c.checkInterest(ctx, what, conn)
}

// checkInterest asks the server who listens, if a stream is read only while somebody does.
func (c *checker) checkInterest(ctx context.Context, what string, conn *dial.Conn) {
	for _, s := range c.cfg.Streams {
		if s.Poll != config.PollSubscribed {
			continue
		}
		name := s.Name
		if s.Prefix != "" {
			name = s.Prefix + probeName
		}
		_, err := interest.New(conn.Control()).Listeners(ctx, c.plan.Subject.Subject(name, s.Outputs[0]), "")
		if errors.Is(err, interest.ErrOld) {
			err = feeder.Usage(err)
		}
		if err != nil {
			c.fail(what, fmt.Errorf("streams with poll: subscribed would be read all the time: %w", err))
			return
		}
		c.pass(what, "the server tells who listens, which poll: subscribed needs")
		return
	}
}

// checkStore checks the JetStream stream and the key-value bucket that the mode uses.
func (c *checker) checkStore(ctx context.Context, conn *dial.Conn) {
	mode, group := c.cfg.Delivery.Mode, c.cfg.Cluster.Group
	if mode.Stored() {
		state, err := preflight.CheckStream(ctx, conn, c.plan.Stream)
		c.checkState(ctx, conn, state, err, preflight.NeedsCreate(c.plan.Stream.Name))
	}
	bucket := deliver.CursorBucket
	switch {
	case group != "":
		bucket = lease.Bucket
	case mode != config.ModeDurable:
		return
	}
	state, err := preflight.CheckBucket(ctx, conn, bucket)
	c.checkState(ctx, conn, state, err, preflight.NeedsCreate(c.cfg.Delivery.Stream.Name, bucket))
}

// checkState reports whether a stream or bucket exists, or whether it can be created.
func (c *checker) checkState(ctx context.Context, conn *dial.Conn, s preflight.StoreState, err error, needs preflight.Needs) {
	what := "jetstream " + s.Name
	switch {
	case errors.Is(err, dial.ErrStream):
		c.fail(what, feeder.Usage(err))
	case err != nil:
		c.fail(what, err)
	case s.Exists:
		c.pass(what, "exists: %s", s.Config)
	default:
		if err := preflight.CheckPermissions(ctx, conn, needs); err != nil {
			c.fail(what, fmt.Errorf("does not exist and cannot be created: %w", err))
			return
		}
		c.note(what, "does not exist and will be created: %s", s.Config)
	}
}

// checkSize sends a message as large as the largest tensor to a subscriber of its own.
func (c *checker) checkSize(ctx context.Context, what string, conn *dial.Conn, opts dial.Options) {
	size, which, err := c.largest()
	if err != nil {
		return // reported already
	}
	if limit := conn.MaxPayload(); size > limit && c.cfg.Delivery.Oversize == config.OversizeChunk {
		c.note(what, "the largest tensors, of %s, will be sent in parts of up to %s", bytesText(float64(size)), bytesText(float64(limit)))
		size = limit
	}
	if err := conn.CheckSize(size); err != nil {
		c.fail(what, feeder.Usage(fmt.Errorf("%s: %w", which, err)))
		return
	}
	reader := opts
	reader.DataConnections = 1
	where := "a subscriber on the same server"
	if c.opts.Reader != "" {
		reader.URL, where = c.opts.Reader, "a subscriber at "+dial.Redact(c.opts.Reader)
		if c.opts.ReaderCredentials != "" {
			reader.Credentials = c.opts.ReaderCredentials
		}
	}
	subject, err := c.probeSubject(ctx, conn, reader)
	switch {
	case err != nil:
		c.fail(what, err)
		return
	case subject == "":
		c.note(what, "no large message was tried: the user may not subscribe to any subject that it may publish to; name a reader with --reader and --reader-creds")
		return
	}
	err = within(ctx, 2*c.opts.Wait, func(ctx context.Context) error { return preflight.Probe(ctx, conn, reader, subject, size) })
	switch {
	case errors.Is(err, preflight.ErrNotArrived):
		c.fail(what, feeder.Usage(fmt.Errorf("%s: a message of %s does not arrive at %s: a server on the way, such as the hub of a leaf node, accepts only smaller messages; "+
			"raise max_payload there, too, make the tensor smaller, or set delivery.oversize to chunk: %w", which, bytesText(float64(size)), where, err)))
	case err != nil:
		c.fail(what, err)
	default:
		c.pass(what, "a message of %s, as large as the largest tensor, arrives at %s over each of %s",
			bytesText(float64(size)), where, count(opts.DataConnections, "connection"))
		if c.opts.Reader == "" {
			c.note(what, "it may still be too large for another server on the way to readers, such as a hub: try with --reader URL")
		}
	}
}

// probeSubject returns a subject that conn may publish to, the reader may subscribe to
// and no JetStream stream stores; or "" if there is none.
func (c *checker) probeSubject(ctx context.Context, conn *dial.Conn, reader dial.Options) (string, error) {
	other, err := dial.Dial(reader)
	if err != nil {
		return "", feeder.Usage(err)
	}
	defer func() { _ = other.Close(context.WithoutCancel(ctx)) }() // nothing was sent
	if err := within(ctx, c.opts.Wait, other.WaitConnected); err != nil {
		return "", fmt.Errorf("the reader: %w", err)
	}
	subjects := []string{preflight.ProbeInbox()}
	if template, err := publish.ParseSubject(c.cfg.Delivery.Subject); err == nil && !c.cfg.Delivery.Mode.Stored() {
		subjects = append(subjects, template.Subject(probeName, "probe"))
	}
	subjects = append(subjects, publish.GapSubject(probeName))
	for _, subject := range subjects {
		if preflight.CheckPermissions(ctx, conn, preflight.Needs{Publish: []string{subject}}) == nil &&
			preflight.CheckPermissions(ctx, other, preflight.Needs{Subscribe: []string{subject}}) == nil {
			return subject, nil
		}
	}
	return "", nil
}

// within calls f with a context that ends after the limit.
func within(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}
