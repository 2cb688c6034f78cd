package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/natspub"
)

// probeName stands for the stream in the subject of a test message.
const probeName = "cvfeeder-check"

// checkNATS tries each of the servers.
func (c *checker) checkNATS(ctx context.Context) {
	if c.cfg.NATS.URL == config.Embedded {
		c.pass("nats", "a server within the process: nothing to try before it runs")
		return
	}
	for i, server := range strings.Split(c.cfg.NATS.URL, ",") {
		c.checkServer(ctx, strings.TrimSpace(server), i == 0)
	}
}

// checkServer tries one server: the first one wholly, and others as far as they may
// differ.
func (c *checker) checkServer(ctx context.Context, server string, first bool) {
	opts := c.natsOptions()
	opts.URL, opts.DataConnections = server, dataConnections()
	opts.Chunk = c.cfg.Delivery.Oversize == "chunk"
	what := "nats " + natspub.Redact(server)
	conn, err := natspub.Dial(opts)
	if err != nil {
		c.fail(what, usage(err))
		return
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		_ = conn.Close(closing) // nothing that matters is left to be sent
	}()
	if err := within(ctx, c.flags.wait, conn.WaitConnected); err != nil {
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

func (c *checker) checkPermissions(ctx context.Context, what string, conn *natspub.Conn) {
	if err := conn.CheckPermissions(ctx, needs(c.cfg)); err != nil {
		c.fail(what, err)
		return
	}
	c.pass(what, "the user may do what delivery.mode %s needs", c.cfg.Delivery.Mode)
	if err := conn.CheckPermissions(ctx, natspub.NeedsService()); err != nil {
		c.note(what, "there will be no NATS service to ask for frames: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// checkStore looks at what JetStream has to hold.
func (c *checker) checkStore(ctx context.Context, conn *natspub.Conn) {
	mode, group := c.cfg.Delivery.Mode, c.cfg.Cluster.Group
	if mode != modeLive {
		template, err := publish.ParseSubject(c.cfg.Delivery.Subject)
		if err != nil {
			c.fail("jetstream", usage(err))
			return
		}
		o := streamOptions(c.cfg, template)
		state, err := conn.CheckStream(ctx, o, mode == modeDurable)
		c.checkState(ctx, conn, state, err, natspub.NeedsCreate(o.Name))
	}
	bucket := natspub.CursorBucket
	switch {
	case group != "":
		bucket = natspub.LeaseBucket
	case mode != modeDurable:
		return
	}
	state, err := conn.CheckBucket(ctx, bucket)
	c.checkState(ctx, conn, state, err, natspub.NeedsCreate(c.cfg.Delivery.Stream.Name, bucket))
}

// checkState tells what there is, or whether it can be made.
func (c *checker) checkState(ctx context.Context, conn *natspub.Conn, s natspub.StoreState, err error, needs natspub.Needs) {
	what := "jetstream " + s.Name
	switch {
	case errors.Is(err, natspub.ErrStream):
		c.fail(what, usage(err))
	case err != nil:
		c.fail(what, err)
	case s.Exists:
		c.pass(what, "is there: %s", s.Config)
	default:
		if err := conn.CheckPermissions(ctx, needs); err != nil {
			c.fail(what, fmt.Errorf("is not there, and has to be made: %w", err))
			return
		}
		c.note(what, "is not there and will be made: %s", s.Config)
	}
}

// checkSize sends a message as large as the largest tensor to a subscriber.
func (c *checker) checkSize(ctx context.Context, what string, conn *natspub.Conn, opts natspub.Options) {
	size, which, err := c.largest()
	if err != nil {
		return // told already
	}
	if limit := conn.MaxPayload(); size > limit && c.cfg.Delivery.Oversize == "chunk" {
		c.note(what, "tensors of %s go in parts of up to %s", bytesText(float64(size)), bytesText(float64(limit)))
		size = limit
	}
	if err := conn.CheckSize(size); err != nil {
		c.fail(what, usage(fmt.Errorf("%s: %w", which, err)))
		return
	}
	reader := opts
	reader.DataConnections = 1
	where := "a subscriber there"
	if c.flags.reader.URL != "" {
		reader.URL, where = c.flags.reader.URL, "a subscriber at "+natspub.Redact(c.flags.reader.URL)
		if c.flags.reader.Credentials != "" {
			reader.Credentials = c.flags.reader.Credentials
		}
	}
	subject, err := c.probeSubject(ctx, conn, reader)
	switch {
	case err != nil:
		c.fail(what, err)
		return
	case subject == "":
		c.note(what, "no subject that the user may publish to can be subscribed to: name a reader with --reader and --reader-creds to have the way of a large message tried")
		return
	}
	err = within(ctx, 2*c.flags.wait, func(ctx context.Context) error { return conn.Probe(ctx, reader, subject, size) })
	switch {
	case errors.Is(err, natspub.ErrNotArrived):
		c.fail(what, usage(fmt.Errorf("%s: a message of %s does not arrive at %s: a server on the way takes less; raise max_payload there, too (the hub of a leaf node), "+
			"or make the tensor smaller, or use delivery.oversize: chunk: %w", which, bytesText(float64(size)), where, err)))
	case err != nil:
		c.fail(what, err)
	default:
		c.pass(what, "a message of %s, as large as the largest tensor, arrives at %s, over each of %s",
			bytesText(float64(size)), where, count(opts.DataConnections, "connection"))
		if c.flags.reader.URL == "" {
			c.note(what, "behind another server, such as a hub, it may still be too large: try with --reader URL")
		}
	}
}

// probeSubject returns a subject that the one may publish to and the other may
// subscribe to, which no stream stores; "" where there is none.
func (c *checker) probeSubject(ctx context.Context, conn *natspub.Conn, reader natspub.Options) (string, error) {
	other, err := natspub.Dial(reader)
	if err != nil {
		return "", usage(err)
	}
	defer func() { _ = other.Close(context.WithoutCancel(ctx)) }() // nothing was sent
	if err := within(ctx, c.flags.wait, other.WaitConnected); err != nil {
		return "", fmt.Errorf("the reader: %w", err)
	}
	subjects := []string{natspub.ProbeInbox()}
	if template, err := publish.ParseSubject(c.cfg.Delivery.Subject); err == nil && c.cfg.Delivery.Mode == modeLive {
		subjects = append(subjects, template.Subject(probeName, "probe"))
	}
	subjects = append(subjects, publish.GapSubject(probeName))
	for _, subject := range subjects {
		if conn.CheckPermissions(ctx, natspub.Needs{Publish: []string{subject}}) == nil &&
			other.CheckPermissions(ctx, natspub.Needs{Subscribe: []string{subject}}) == nil {
			return subject, nil
		}
	}
	return "", nil
}

// within calls f with some time for it.
func within(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}
