package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

// A checker reports what the type of a key does not say: combinations, references and
// limits.
type checker struct{ *strictyaml.Document }

func (d checker) check(c *Config) {
	d.checkAWS(c.AWS)
	d.checkNATS(c.NATS)
	if _, err := publish.ParseSubject(c.Delivery.Subject); err != nil {
		d.Report("delivery.subject", "%v", err)
	}
	if name := c.Delivery.Stream.Name; name == "" || strings.ContainsAny(name, " \t\r\n.*>/\\") {
		d.Report("delivery.stream.name", "%q cannot be the name of a JetStream stream; no spaces, dots, wildcards or slashes, for example cvfeeder", name)
	}
	if c.Delivery.Mode.Stored() && c.NATS.URL == Embedded && c.State == "" {
		d.Report("delivery.mode", "the embedded server needs a directory to store messages in; set state")
	}
	if c.Delivery.Inflight == 0 {
		d.Report("delivery.inflight", "no frame fits into 0 bytes; for example 64MiB")
	}
	if c.HTTP.Listen != "" {
		if err := checkAddress(c.HTTP.Listen); err != nil {
			d.Report("http.listen", "%v", err)
		}
	}
	d.checkCluster(c)
	d.checkStreams(c)
	d.checkOutputs(c)
}

// The limits of a lease: NATS counts whole seconds, and three renewals have to fit in.
const (
	minLease = 3 * time.Second
	maxLease = 10 * time.Minute
)

func (d checker) checkCluster(c *Config) {
	lease := c.Cluster.Lease
	if lease < minLease || lease > maxLease || lease%time.Second != 0 {
		d.Report("cluster.lease", "%v is not allowed; whole seconds from %v to %v", lease, minLease, maxLease)
	}
	switch {
	case c.Cluster.Group == "":
		if lease != defaults().Cluster.Lease {
			d.Report("cluster.lease", "has no effect without a group; set cluster.group as well")
		}
	case c.NATS.URL == Embedded:
		d.Report("cluster.group", "other replicas cannot reach the embedded server; name a server in nats.url")
	case c.State != "":
		d.Report("cluster.group", "the replicas keep their cursors in NATS, in the bucket cvf_lease; remove state")
	}
}

func (d checker) checkAWS(a AWS) {
	if a.Endpoint == "" {
		return
	}
	u, err := url.Parse(a.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		d.Report("aws.endpoint", "%q is not the URL of an endpoint; for example http://127.0.0.1:4567", a.Endpoint)
	}
}

func (d checker) checkNATS(n NATS) {
	if n.URL != Embedded {
		d.checkServers(n.URL)
	}
	for _, file := range []struct{ key, path string }{
		{"credentials", n.Credentials}, {"tls.ca", n.TLS.CA}, {"tls.cert", n.TLS.Cert}, {"tls.key", n.TLS.Key},
	} {
		if n.URL == Embedded && file.path != "" {
			d.Report("nats."+file.key, "the embedded server takes neither credentials nor TLS; remove it, or name a server in nats.url")
		}
	}
	switch {
	case n.URL == Embedded:
	case n.TLS.Cert != "" && n.TLS.Key == "":
		d.Report("nats.tls.cert", "the certificate has no key; set nats.tls.key as well")
	case n.TLS.Key != "" && n.TLS.Cert == "":
		d.Report("nats.tls.key", "the key has no certificate; set nats.tls.cert as well")
	}
	if n.Credentials != "" && strings.Contains(n.URL, "@") {
		d.Report("nats.credentials", "nats.url already names a user; use one or the other")
	}
}

// checkServers checks the list of servers. A URL may hold a password and is not
// shown.
func (d checker) checkServers(list string) {
	const want = "nats://host:4222, tls://…, ws://… or wss://…, separated by commas, or embedded"
	for i, server := range strings.Split(list, ",") {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		switch {
		case err != nil || u.Hostname() == "":
			d.Report("nats.url", "server %d of the list is not a URL; %s", i+1, want)
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			d.Report("nats.url", "server %d of the list has the scheme %q; %s", i+1, u.Scheme, want)
		}
	}
}

func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf(`%q is not host:port; for example %s, or "" to turn it off`, address, DefaultListen)
	}
	return nil
}

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
		d.checkRequest(s.Request, path+".request")
		d.checkReferences(s, c.Outputs, path+".outputs")
		names[i] = s.Name
	}
	d.checkDistinct("stream", names, func(i int) string { return fmt.Sprintf("streams[%d]", i) })
}

var (
	streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,256}$`)
	streamARN  = regexp.MustCompile(`^arn:[a-z0-9-]+:kinesisvideo:([a-z0-9-]+):[0-9]{12}:stream/([a-zA-Z0-9_.-]{1,256})/[0-9]+$`)
)

// checkIdentity checks that a stream is named in one way, and takes its name from
// its ARN.
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
		if m == nil {
			d.Report(path+".arn", "%q is not the ARN of a stream; arn:aws:kinesisvideo:REGION:ACCOUNT:stream/NAME/CREATED", s.ARN)
			return
		}
		s.Region, s.Name = m[1], m[2]
		if a.Endpoint != "" && a.Region != "" && a.Region != s.Region {
			d.Report(path+".arn", "the stream is in region %s, but aws.endpoint is for %s; one endpoint serves one region", s.Region, a.Region)
		}
	}
}

// The limits of the grace: frames after a missing one wait for so long.
const (
	minGrace = time.Second
	maxGrace = 10 * time.Minute
)

func (d checker) checkTimes(s *Stream, path string) {
	if _, err := source.NewGrid(s.Interval); err != nil {
		d.Report(path+".interval", "%v", err)
	}
	if overlap := time.Duration(s.Overlap); overlap > poll.MaxFragment {
		d.Report(path+".overlap", "%v is longer than any fragment, and every window pays for it; auto, or at most %v", overlap, poll.MaxFragment)
	}
	if s.Grace < minGrace || s.Grace > maxGrace {
		d.Report(path+".grace", "%v is out of range; from %v to %v", s.Grace, minGrace, maxGrace)
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

func (d checker) checkRequest(r Request, path string) {
	if r.Size.Width > poll.MaxWidth || r.Size.Height > poll.MaxHeight {
		d.Report(path+".size", `%dx%d is larger than GetImages allows; at most %dx%d, or "" for the picture's own size`,
			r.Size.Width, r.Size.Height, poll.MaxWidth, poll.MaxHeight)
	}
	if r.Format == FormatPNG && d.IsSet(path+".quality") {
		d.Report(path+".quality", "a PNG has no quality; remove it, or use format jpeg")
	}
}

// checkReferences checks the outputs that a stream names.
func (d checker) checkReferences(s *Stream, outputs map[string]Output, path string) {
	known := strings.Join(slices.Sorted(maps.Keys(outputs)), ", ")
	switch {
	case len(outputs) == 0:
		return // reported once for all
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

func (d checker) checkOutputs(c *Config) {
	if len(c.Outputs) == 0 && !d.Failed("outputs") {
		d.Report("outputs", `there are no outputs; define at least one, for example "detector: {preset: yolo}"`)
	}
	names := slices.Sorted(maps.Keys(c.Outputs))
	for _, name := range names {
		path := "outputs." + name
		if strings.TrimSpace(name) == "" {
			d.Report(path, "the output has no name")
		}
		spec := c.Outputs[name].Spec()
		for _, problem := range fieldErrors(spec.Validate()) {
			d.Report(path+"."+problem.Key, "%v", problem.Err)
		}
	}
	d.checkDistinct("output", names, func(i int) string { return "outputs." + names[i] })
}

// fieldErrors takes the errors apart that [transform.Spec.Validate] joins.
func fieldErrors(err error) []*transform.FieldError {
	var fields []*transform.FieldError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			fields = append(fields, fieldErrors(e)...)
		}
		return fields
	}
	var field *transform.FieldError
	if errors.As(err, &field) {
		fields = append(fields, field)
	}
	return fields
}

// checkDistinct reports the names that would share NATS subjects.
func (d checker) checkDistinct(kind string, names []string, path func(i int) string) {
	first := map[string]int{}
	for i, name := range names {
		if name == "" {
			continue // reported already
		}
		token := publish.SubjectToken(name)
		other, taken := first[token]
		switch {
		case !taken:
			first[token] = i
		case names[other] == name:
			d.Report(path(i), "the %s %q is already %s; remove one", kind, name, path(other))
		default:
			d.Report(path(i), "the %s %q would share its NATS subjects with %q, as both become %s in them; rename one", kind, name, names[other], token)
		}
	}
}
