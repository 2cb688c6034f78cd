package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/source/poll"
)

// currency matches what is taken for the name of a currency: USD, EUR, €.
var currency = regexp.MustCompile(`^[\pL\p{Sc}]{1,8}$`)

// A checker reports problems that the type of a key cannot rule out: those of references,
// of limits, and of keys that do not go together.
type checker struct{ *strictyaml.Document }

func (d checker) check(c *Config) {
	d.checkAWS(c.AWS)
	d.checkNATS(c.NATS)
	if _, err := publish.ParseSubject(c.Delivery.Subject); err != nil {
		d.Report("delivery.subject", "%v", err)
	}
	d.checkStreamName("delivery.stream.name", c.Delivery.Stream.Name, dial.DefaultStream)
	d.checkStreamName("replay.stream", c.Replay.Stream, DefaultReplayStream)
	if c.Replay.Quota == 0 && !d.Failed("replay.quota") {
		d.Report("replay.quota", "with 0%% no job would read anything; for example 50%%")
	}
	if c.Replay.Stream == c.Delivery.Stream.Name {
		d.Report("replay.stream", "it is that of delivery.stream.name; replays need a stream of their own")
	}
	if c.Delivery.Mode.Stored() && c.NATS.URL == Embedded && c.State == "" {
		d.Report("delivery.mode", "the embedded server needs a directory to store messages in; set state")
	}
	if c.Delivery.Inflight == 0 {
		d.Report("delivery.inflight", "no frame fits into 0 bytes; for example 64MiB")
	}
	if c.Decoder.MaxSize == (Size{}) {
		d.Report("decoder.max_size", "no picture fits into no size; for example %dx%d", poll.MaxWidth, poll.MaxHeight)
	}
	if c.HTTP.Listen != "" {
		if err := checkAddress(c.HTTP.Listen); err != nil {
			d.Report("http.listen", "%v", err)
		}
	}
	if name := c.Price.Currency; !currency.MatchString(name) {
		d.Report("price.currency", "%q is not a currency; for example USD or CNY", name)
	}
	d.checkLimits(c.Limits, c.Price, "limits")
	d.checkLink("http.runbook", c.HTTP.Runbook)
	d.checkLink("http.grafana", c.HTTP.Grafana)
	d.checkCluster(c)
	d.checkStreams(c)
	d.checkOutputs(c)
	d.checkMemory(c)
}

// checkStreamName reports what cannot be the name of a JetStream stream.
func (d checker) checkStreamName(key, name, example string) {
	if name == "" || strings.ContainsAny(name, " \t\r\n.*>/\\") {
		d.Report(key, "%q cannot be the name of a JetStream stream; no spaces, dots, wildcards or slashes, for example %s", name, example)
	}
}

// checkLimits reports limits that cannot be kept.
func (d checker) checkLimits(l Limits, p Price, path string) {
	if l.MoneyPerMonth > 0 && p.PerMillionImages == 0 {
		d.Report(path+".money_per_month", "images cost nothing, as price.per_million_images is 0; set the price, or use images_per_day")
	}
	if !l.Any() && l.Then == ThenSlow {
		d.Report(path+".then", "there is no limit; set images_per_day or money_per_month, or remove it")
	}
}

// checkLink reports what is no address of a page. The page would run a javascript: address.
func (d checker) checkLink(key, link string) {
	u, err := url.Parse(link)
	if link != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
		d.Report(key, "not the address of a page, such as https://grafana.example/d/cvfeeder-stream, without a user and a password")
	}
}

// maxLease is the longest cluster.lease: for so long, nobody reads the streams of a
// replica that has died.
const maxLease = 10 * time.Minute

func (d checker) checkCluster(c *Config) {
	period := c.Cluster.Lease
	if period < lease.MinDuration || period > maxLease || period%time.Second != 0 {
		d.Report("cluster.lease", "%v is not allowed; whole seconds from %v to %v", period, lease.MinDuration, maxLease)
	}
	switch {
	case c.Cluster.Group == "":
		if period != lease.DefaultDuration {
			d.Report("cluster.lease", "has no effect without a group; set cluster.group as well")
		}
	case c.NATS.URL == Embedded:
		d.Report("cluster.group", "other replicas cannot reach the embedded server; name a server in nats.url")
	case c.State != "":
		d.Report("cluster.group", "the replicas keep their cursors in NATS, in the bucket %s; remove state", lease.Bucket)
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
	if err := publish.CheckReplyPrefix(n.ReplyPrefix); err != nil {
		d.Report("nats.reply_prefix", "%v", err)
	}
	if n.Credentials != "" && strings.Contains(n.URL, "@") {
		d.Report("nats.credentials", "nats.url already names a user; use one or the other")
	}
}

// checkServers checks the list of servers. It shows no URL, as one may hold a password.
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
