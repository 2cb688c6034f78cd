package preflight

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // the formats of pictures
	_ "image/png"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/forecast"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

const (
	// maxConcurrent is how many streams are tried at the same time. Each takes several
	// requests, and the account may make 300 a second.
	maxConcurrent = 16
	// maxPictures is how many streams a picture is fetched from. Pictures cost money.
	maxPictures = 20
	// maxShown is how many streams without a problem are reported one by one.
	maxShown = 20
	// lookBack is the age at which media must be visible.
	lookBack = 20 * time.Second
)

// connect makes the client of AWS and tries the credentials. It returns false where there
// are none.
func (c *checker) connect(ctx context.Context) bool {
	client, err := kinesis.New(ctx, kinesis.Options{Region: c.plan.Region, Endpoint: c.cfg.AWS.Endpoint, Attempts: 3})
	if err != nil {
		c.fail("aws", feeder.Usage(err))
		return false
	}
	c.client = client
	who, err := client.Credentials(ctx)
	if err != nil {
		c.fail("aws", err)
		return false
	}
	until := ""
	if !who.Expires.IsZero() {
		until = ", valid until " + who.Expires.UTC().Format(time.RFC3339)
	}
	c.pass("aws", "credentials of %s, region %s%s", who.Source, who.Region, until)
	return true
}

// checkAWS tries the credentials and all streams.
func (c *checker) checkAWS(ctx context.Context) {
	if !c.connect(ctx) {
		return
	}
	c.findStreams(ctx)

	results := make([]streamResult, len(c.streams))
	var all errgroup.Group
	all.SetLimit(maxConcurrent)
	for i, s := range c.streams {
		all.Go(func() error {
			results[i] = c.tryStream(ctx, s.Stream, i < maxPictures)
			return nil
		})
	}
	_ = all.Wait() // none of them returns an error
	good := 0
	for i, r := range results {
		c.streams[i].picture, c.streams[i].retention, c.streams[i].media.Lists = r.picture, r.retention, r.lists
		what := "stream " + c.streams[i].Name
		if r.err != nil {
			c.fail(what, r.err)
			continue
		}
		if good++; good <= maxShown {
			c.pass(what, "%s", r.text)
		}
		for _, note := range r.notes {
			c.note(what, "%s", note)
		}
	}
	if good > maxShown {
		c.pass("streams", "%s more", grouped(float64(good-maxShown)))
	}
	if off := c.client.ClockOffset(); off.Abs() > time.Second {
		c.note("clock", "the host's clock differs by %v from the service's, by whose time frames are asked for: set it, for example with NTP", off.Abs().Round(time.Second))
	}
}

// findStreams replaces the prefixes with the streams that they match.
func (c *checker) findStreams(ctx context.Context) {
	var all []checked
	have := map[string]bool{}
	for _, s := range c.cfg.Streams {
		if s.Prefix == "" {
			all = append(all, checked{Stream: s, media: forecast.Assumed})
			have[publish.SubjectToken(s.Name)] = true
		}
	}
	for _, s := range c.cfg.Prefixes() {
		names, err := c.client.List(ctx, s.Prefix)
		if err != nil {
			c.fail("prefix "+s.Prefix, err)
			continue
		}
		if len(names) == 0 {
			c.note("prefix "+s.Prefix, "matches no stream in this account and region: nothing will be read until there is one")
			c.unmatched = append(c.unmatched, checked{Stream: s, media: forecast.Assumed})
			continue
		}
		c.pass("prefix "+s.Prefix, "matches %s", count(len(names), "stream"))
		for _, name := range names {
			if token := publish.SubjectToken(name); !have[token] {
				have[token] = true
				found := s
				found.Name, found.Prefix = name, ""
				all = append(all, checked{Stream: found, media: forecast.Assumed})
			}
		}
	}
	c.streams = all
}

// A streamResult is the result of trying one stream.
type streamResult struct {
	text    string
	notes   []string
	picture []byte
	// retention is how long the stream keeps its media, and lists tells whether its
	// fragments may be listed.
	retention time.Duration
	lists     bool
	err       error
}

// tryStream makes the requests that "cvfeeder run" will make, but fetches a picture only
// if picture is true.
func (c *checker) tryStream(ctx context.Context, s config.Stream, picture bool) streamResult {
	stream := c.client.Stream(feeder.ClientOptions(s, nil))
	if err := stream.Check(ctx); err != nil {
		return streamResult{err: err}
	}
	retention := stream.Retention()
	r := streamResult{text: fmt.Sprintf("ACTIVE, retention %v", retention), notes: beyondRetention(s, retention), retention: retention}
	if _, err := stream.DataEndpoint(ctx); err != nil {
		return streamResult{err: err}
	}
	if !picture {
		return r
	}
	end := source.SlotAt(c.client.Now().Add(-lookBack).Truncate(s.Interval))
	w := poll.Window{Start: end.Add(-poll.MaxFragment), End: end, Interval: poll.MaxFragment}
	for img, err := range stream.Images(ctx, w) {
		switch {
		case errors.Is(err, poll.ErrEmptyWindow):
		case err != nil:
			return streamResult{err: err}
		case img.Err == nil:
			r.picture = img.Data
		}
	}
	if size, format, err := image.DecodeConfig(bytes.NewReader(r.picture)); err == nil {
		r.text += fmt.Sprintf(", pictures: %s, %dx%d, %s", format, size.Width, size.Height, bytesText(float64(len(r.picture))))
	} else {
		r.notes = append(r.notes, fmt.Sprintf("there is no media from %v ago: is the camera on?", lookBack))
	}
	_, err := stream.Fragments(ctx, end, end)
	r.lists = err == nil
	if errors.Is(err, source.ErrRefused) {
		r.notes = append(r.notes, "the optional permission kinesisvideo:ListFragments is missing: without it, more images are requested")
	}
	if warm, err := stream.Warm(ctx); err == nil && warm {
		r.text += ", WARM"
		r.notes = append(r.notes, warmNote(retention))
	}
	return r
}

// warmFor is how long AWS charges for media in the warm tier, at least.
const warmFor = 30 * 24 * time.Hour

// warmNote says what the warm tier costs besides the images, by the developer guide of Kinesis
// Video Streams ("Tiered Storage").
func warmNote(retention time.Duration) string {
	note := "the media is stored in the WARM tier: AWS charges its ingestion by 1000 fragments, so longer fragments cost less, and its storage for 30 days at least"
	if retention < warmFor {
		note += fmt.Sprintf("; with a retention of %v, days are paid in which it is gone: use at least %v, or the HOT tier", retention, warmFor)
	}
	return note
}

// beyondRetention returns notes on settings that ask for older media than the stream
// keeps.
func beyondRetention(s config.Stream, retention time.Duration) []string {
	var notes []string
	if age := time.Since(s.From.Time); s.From.Kind == config.StartAt && age > retention {
		notes = append(notes, fmt.Sprintf("from is %s, but the stream's retention is %v: older slots will end as no_media",
			s.From.Time.Format(time.RFC3339), retention))
	}
	if s.Grace > retention {
		notes = append(notes, fmt.Sprintf("grace is %v, longer than the stream's retention of %v", s.Grace, retention))
	}
	return notes
}
