package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

func (d checker) checkStreams(c *Config) {
	if len(c.Streams) == 0 && !d.Failed("streams") {
		d.Report("streams", `there are no streams; name at least one, for example "- {name: front-door, outputs: [detector]}"`)
	}
	names := make([]string, len(c.Streams))
	for i := range c.Streams {
		s, path := &c.Streams[i], fmt.Sprintf("streams[%d]", i)
		if d.Failed(path) {
			continue
		}
		d.checkIdentity(s, c.AWS, path)
		d.checkTimes(s, path)
		d.checkPoll(s, path)
		d.checkLimits(s.Limits, c.Price, path+".limits")
		d.checkBurst(s.Burst, path+".burst")
		d.checkHealth(s.Health, path+".health")
		d.checkRequest(s.Request, path+".request")
		d.checkMasks(s, path+".masks")
		d.checkLens(s.Lens, path+".lens")
		d.checkReferences(s, c.Outputs, path+".outputs")
		d.checkOriginals(s, c.Outputs, path+".outputs")
		names[i] = s.Name
	}
	d.checkDistinct("stream", names, func(i int) string { return fmt.Sprintf("streams[%d]", i) })
}

// The names and ARNs of streams are what the service's model says. It has ARNs of other
// resources, too, and those may be as long as maxARN characters.
var (
	streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,256}$`)
	streamARN  = regexp.MustCompile(`^arn:[a-z0-9-]+:kinesisvideo:([a-z0-9-]+):[0-9]+:stream/([a-zA-Z0-9_.-]{1,256})/[0-9]+$`)
)

const maxARN = 1024

// checkIdentity checks that a stream has exactly one of name, ARN and prefix. It sets the
// name and region of a stream from its ARN.
func (d checker) checkIdentity(s *Stream, a AWS, path string) {
	var given []string
	for _, key := range []string{"name", "arn", "prefix"} {
		if d.IsSet(path + "." + key) {
			given = append(given, key)
		}
	}
	switch {
	case len(given) == 0:
		d.Report(path, "the stream has no name; set name, arn or prefix")
	case len(given) > 1:
		d.Report(path+"."+given[1], "%s is set as well; use only one of name, arn and prefix", given[0])
	case given[0] == "name" && !d.Failed(path+".name") && !streamName.MatchString(s.Name):
		d.Report(path+".name", "%q cannot be the name of a stream; 1 to 256 of a-z A-Z 0-9 _ . -", s.Name)
	case given[0] == "prefix" && !d.Failed(path+".prefix") && !streamName.MatchString(s.Prefix):
		d.Report(path+".prefix", "no stream's name can start with %q; 1 to 256 of a-z A-Z 0-9 _ . -", s.Prefix)
	case given[0] == "arn" && !d.Failed(path+".arn"):
		m := streamARN.FindStringSubmatch(s.ARN)
		if m == nil || len(s.ARN) > maxARN {
			d.Report(path+".arn", "%q is not the ARN of a stream; arn:aws:kinesisvideo:REGION:ACCOUNT:stream/NAME/CREATED", s.ARN)
			return
		}
		s.Region, s.Name = m[1], m[2]
		if a.Endpoint != "" && a.Region != "" && a.Region != s.Region {
			d.Report(path+".arn", "the stream is in region %s, but aws.endpoint is for %s; one endpoint serves one region", s.Region, a.Region)
		}
	}
}

// The limits of the grace, for which frames wait for a missing one before them, and of how
// late one may turn up.
const (
	minGrace = time.Second
	maxGrace = 10 * time.Minute
	maxLate  = 24 * time.Hour
)

func (d checker) checkTimes(s *Stream, path string) {
	if _, err := source.NewGrid(s.Interval); err != nil {
		d.Report(path+".interval", "%v", err)
	}
	if overlap := time.Duration(s.Overlap); overlap > poll.MaxOverlap {
		d.Report(path+".overlap", "%v is more than half of the longest window, so more than half of the images would be asked for again; auto, or at most %v", overlap, poll.MaxOverlap)
	}
	if s.Grace < minGrace || s.Grace > maxGrace {
		d.Report(path+".grace", "%v is out of range; from %v to %v", s.Grace, minGrace, maxGrace)
	}
	if s.Late < 0 || s.Late > maxLate {
		d.Report(path+".late", "%v is out of range; from 0 to %v", s.Late, maxLate)
	}
	if s.From.Kind == StartAt && !s.To.Time.IsZero() && !s.To.Time.After(s.From.Time) {
		d.Report(path+".to", "%s is not after from, which is %s; use a later time", s.To.Time.Format(time.RFC3339), s.From.Time.Format(time.RFC3339))
	}
	if s.Prefix != "" && !s.To.Time.IsZero() {
		d.Report(path+".to", "a prefix keeps finding new streams, so it cannot have an end; name the streams instead")
	}
	if lag := time.Duration(s.Lag); s.Freshness > 0 && lag >= s.Freshness {
		d.Report(path+".freshness", "with a lag of %v every slot would be stale; use more than the lag, or 0 to keep all", lag)
	}
}

// maxLookback is how far back a stream can begin when somebody starts to listen, and
// maxLinger how long it is read after the last one has gone.
const (
	maxLookback = 24 * time.Hour
	maxLinger   = time.Hour
)

func (d checker) checkPoll(s *Stream, path string) {
	if s.Lookback < 0 || s.Lookback > maxLookback {
		d.Report(path+".lookback", "%v is out of range; from 0 to %v", s.Lookback, maxLookback)
	}
	if s.Linger < 0 || s.Linger > maxLinger {
		d.Report(path+".linger", "%v is out of range; from 0 to %v", s.Linger, maxLinger)
	}
	if s.Poll != PollSubscribed && s.Lookback > 0 {
		d.Report(path+".lookback", "this is for poll: subscribed, and poll is %s; remove it, or set poll", s.Poll)
	}
	if s.Freshness > 0 && s.Lookback >= s.Freshness {
		d.Report(path+".lookback", "frames of %v ago would be stale, as freshness is %v; use less than that", s.Lookback, s.Freshness)
	}
	if s.Active != "" && s.From.Kind == StartAt {
		d.Report(path+".active", "a range, with from: TIME, is read at any time; remove active, or use from: resume")
	}
	if s.Poll != PollAlways && s.From.Kind == StartAt {
		d.Report(path+".poll", "a range, with from: TIME, is read whether anybody listens or not; remove poll, or use from: resume")
	}
}

// maxBurst is how long a burst may be. What is longer is a replay.
const maxBurst = 10 * time.Minute

func (d checker) checkBurst(b Burst, path string) {
	if b.Most < 0 || b.Most > maxBurst {
		d.Report(path+".most", "%v is out of range; from 0, which refuses bursts, to %v", b.Most, maxBurst)
	}
	if b.Most == 0 {
		return
	}
	if _, err := source.NewGrid(b.Interval); err != nil {
		d.Report(path+".interval", "%v", err)
	}
	for _, part := range []struct {
		key string
		d   time.Duration
	}{{"before", b.Before}, {"after", b.After}} {
		if part.d < 0 || part.d > b.Most {
			d.Report(path+"."+part.key, "%v is out of range; from 0 to most, which is %v", part.d, b.Most)
			return
		}
	}
	if b.Before+b.After > b.Most {
		d.Report(path+".most", "before and after are %v together, which is more than %v; allow more, or make them shorter", b.Before+b.After, b.Most)
	}
}

// The limits of a camera's health: what lasts for an hour without being told is not worth much.
const (
	maxHealthEvery = 10 * time.Minute
	maxHealthAfter = time.Hour
)

func (d checker) checkHealth(h Health, path string) {
	switch {
	case h.Every != 0 && (h.Every < source.MinInterval || h.Every > maxHealthEvery):
		d.Report(path+".every", "%v is out of range; from %v to %v, or 0 to look at no picture", h.Every, source.MinInterval, maxHealthEvery)
	case h.Every == 0:
		for _, key := range []string{"after", "black", "covered", "frozen", "turned", "relearn", "blurred", "flickering"} {
			if d.IsSet(path + "." + key) {
				d.Report(path+"."+key, "no picture is looked at, as every is 0; remove it, or set every")
			}
		}
	}
	if h.After > maxHealthAfter {
		d.Report(path+".after", "%v is out of range; from 0 to %v", h.After, maxHealthAfter)
	}
	if h.Turned == 0 && d.IsSet(path+".relearn") && !d.IsSet(path+".every") {
		d.Report(path+".relearn", "it is not looked for whether the camera was turned, as turned is 0%%; remove it, or set turned")
	}
}

func (d checker) checkRequest(r Request, path string) {
	if r.Size.Width > poll.MaxWidth || r.Size.Height > poll.MaxHeight {
		d.Report(path+".size", `%dx%d is larger than GetImages allows; at most %dx%d, or "" for the picture's own size`,
			r.Size.Width, r.Size.Height, poll.MaxWidth, poll.MaxHeight)
	}
	if r.Format == FormatPNG && d.IsSet(path+".quality") {
		d.Report(path+".quality", "a PNG has no quality; remove it, or use format jpeg")
	}
}

// checkOriginals checks that no output passes on pictures as they are of a stream whose pictures
// are changed before anything is made of them.
func (d checker) checkOriginals(s *Stream, outputs map[string]Output, path string) {
	var key string
	switch {
	case len(s.Masks) > 0:
		key = "masks"
	case s.Lens.Model != LensNone:
		key = "lens"
	default:
		return
	}
	for i, name := range s.Outputs {
		if o, known := outputs[name]; known && o.Encode == transform.EncodeOriginal {
			d.Report(fmt.Sprintf("%s[%d]", path, i), "the output %q passes on the original picture, without the stream's %s; use encode: jpeg in its place, or remove one of them", name, key)
		}
	}
}

// checkReferences checks that the outputs of a stream exist.
func (d checker) checkReferences(s *Stream, outputs map[string]Output, path string) {
	known := strings.Join(slices.Sorted(maps.Keys(outputs)), ", ")
	switch {
	case len(outputs) == 0:
		return // reported by checkOutputs
	case len(s.Outputs) == 0 && !d.Failed(path):
		d.Report(path, "the stream has no outputs; at least one of: %s", known)
	}
	for i, name := range s.Outputs {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch _, ok := outputs[name]; {
		case d.Failed(at):
		case !ok:
			d.Report(at, "there is no output %q; one of: %s", name, known)
		case slices.Contains(s.Outputs[:i], name):
			d.Report(at, "the output %q is already in the list; remove one", name)
		}
	}
}
