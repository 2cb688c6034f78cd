package preflight

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // pictures are one or the other
	_ "image/png"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

const (
	// checkAtOnce is how many streams are tried at the same time: each takes several
	// requests, of which the account has 300 a second.
	checkAtOnce = 16
	// maxPictures is for how many streams a picture is fetched, which costs money.
	maxPictures = 20
	// maxShown is how many streams without a problem get a line of their own.
	maxShown = 20
	// lookBack is the age at which media must be visible.
	lookBack = 20 * time.Second
)

// checkAWS tries the credentials, and all streams.
func (c *checker) checkAWS(ctx context.Context) {
	client, err := kinesis.New(ctx, kinesis.Options{Region: c.plan.Region, Endpoint: c.cfg.AWS.Endpoint, Attempts: 3})
	if err != nil {
		if !errors.Is(err, source.ErrRefused) {
			err = feeder.Usage(err)
		}
		c.fail("aws", err)
		return
	}
	c.client = client
	who, err := client.Credentials(ctx)
	if err != nil {
		c.fail("aws", err)
		return
	}
	until := ""
	if !who.Expires.IsZero() {
		until = ", good until " + who.Expires.UTC().Format(time.RFC3339)
	}
	c.pass("aws", "credentials of %s, region %s%s", who.Source, who.Region, until)
	c.findStreams(ctx)

	results := make([]streamResult, len(c.streams))
	var all errgroup.Group
	all.SetLimit(checkAtOnce)
	for i, s := range c.streams {
		all.Go(func() error {
			results[i] = c.tryStream(ctx, s.Stream, i < maxPictures)
			return nil
		})
	}
	_ = all.Wait() // none of them returns an error
	well := 0
	for i, r := range results {
		c.streams[i].picture = r.picture
		what := "stream " + c.streams[i].Name
		if r.err != nil {
			c.fail(what, r.err)
			continue
		}
		if well++; well <= maxShown {
			c.pass(what, "%s", r.text)
		}
		for _, note := range r.notes {
			c.note(what, "%s", note)
		}
	}
	if well > maxShown {
		c.pass("streams", "and %s more", grouped(float64(well-maxShown)))
	}
}

// findStreams replaces the prefixes by the streams that they find.
func (c *checker) findStreams(ctx context.Context) {
	var all []checked
	have := map[string]bool{}
	for _, s := range c.cfg.Streams {
		if s.Prefix == "" {
			all = append(all, checked{Stream: s})
			have[publish.SubjectToken(s.Name)] = true
		}
	}
	for _, s := range c.cfg.Prefixes() {
		names, err := c.client.List(ctx, s.Prefix)
		if err != nil {
			c.fail("prefix "+s.Prefix, err)
			continue
		}
		c.pass("prefix "+s.Prefix, "finds %s", count(len(names), "stream"))
		for _, name := range names {
			if token := publish.SubjectToken(name); !have[token] {
				have[token] = true
				found := s
				found.Name, found.Prefix = name, ""
				all = append(all, checked{Stream: found})
			}
		}
	}
	c.streams = all
}

// A streamResult is what was found out about one stream.
type streamResult struct {
	text    string
	notes   []string
	picture []byte
	err     error
}

// tryStream makes the requests that "cvfeeder run" will make. A picture is asked for
// only where wanted.
func (c *checker) tryStream(ctx context.Context, s config.Stream, picture bool) streamResult {
	stream := c.client.Stream(feeder.ClientOptions(s, nil))
	if err := stream.Check(ctx); err != nil {
		return streamResult{err: needing("DescribeStream", err)}
	}
	keeps := stream.Retention()
	r := streamResult{text: fmt.Sprintf("ACTIVE, keeps %v", keeps), notes: outlived(s, keeps)}
	if _, err := stream.DataEndpoint(ctx); err != nil {
		return streamResult{err: needing("GetDataEndpoint", err)}
	}
	if !picture {
		return r
	}
	end := source.SlotAt(time.Now().Add(-lookBack).Truncate(s.Interval))
	w := poll.Window{Start: end.Add(-poll.MaxFragment), End: end, Interval: poll.MaxFragment}
	for img, err := range stream.Images(ctx, w) {
		switch {
		case errors.Is(err, poll.ErrEmptyWindow):
		case err != nil:
			return streamResult{err: needing("GetImages", err)}
		case img.Err == nil:
			r.picture = img.Data
		}
	}
	if size, format, err := image.DecodeConfig(bytes.NewReader(r.picture)); err == nil {
		r.text += fmt.Sprintf(", pictures are %s of %dx%d, %s", format, size.Width, size.Height, bytesText(float64(len(r.picture))))
	} else {
		r.notes = append(r.notes, fmt.Sprintf("there is no media of %v ago: is the camera on?", lookBack))
	}
	if _, err := stream.Fragments(ctx, end, end); errors.Is(err, source.ErrRefused) {
		r.notes = append(r.notes, "without the permission kinesisvideo:ListFragments, which is optional, more images are asked for")
	}
	return r
}

// needing adds the name of the missing permission to an error that refuses it.
func needing(operation string, err error) error {
	if errors.Is(err, source.ErrRefused) {
		return fmt.Errorf("%s is refused: allow kinesisvideo:%s on the stream's ARN: %w", operation, operation, err)
	}
	return err
}

// outlived returns notes on what the config asks for that the stream no longer keeps.
func outlived(s config.Stream, keeps time.Duration) []string {
	var notes []string
	if age := time.Since(s.From.Time); s.From.Kind == config.StartAt && age > keeps {
		notes = append(notes, fmt.Sprintf("from is %s, but the stream keeps %v: what is older comes out as no_media",
			s.From.Time.Format(time.RFC3339), keeps))
	}
	if s.Grace > keeps {
		notes = append(notes, fmt.Sprintf("a grace of %v is longer than the %v that the stream keeps", s.Grace, keeps))
	}
	return notes
}
