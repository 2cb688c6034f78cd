// Package config reads the config file of cvfeeder.
//
// A file needs streams and outputs; everything else has a default:
//
//	streams:
//	  - name: front-door
//	    outputs: [detector]
//	outputs:
//	  detector: {preset: yolo}
//
// docker/cvfeeder.yaml shows every key with its default.
//
//	cfg, err := config.Load("cvfeeder.yaml", os.LookupEnv)
//	if err != nil {
//		fmt.Fprintln(os.Stderr, err) // one line for each problem: file:line:column: key: …
//		os.Exit(2)
//	}
//
// Reading is strict: an unknown or duplicate key, a wrong type or unit and a
// combination that cannot work are errors, all of them reported at once. ${VAR} in a value stands for the environment variable, and
// $${ for a literal ${; it is expanded after the YAML is read, so that what is in
// the variable stays one value. Keys are not expanded. YAML's anchors, aliases and
// merge keys (<<: *base) work, which keeps many similar streams short.
package config

import (
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/transform"
)

// The comments of the fields are what the JSON schema and docs/configuration.md say
// of the keys.

// Config is the whole file, with its defaults filled in.
type Config struct {
	// AWS says how to reach Kinesis Video Streams.
	AWS AWS `yaml:"aws"`
	// NATS says how to reach the broker.
	NATS NATS `yaml:"nats"`
	// Delivery says what is promised of the messages.
	Delivery Delivery `yaml:"delivery"`
	// State is the directory for cursors, from which streams go on after a restart,
	// where NATS does not keep them; empty keeps none.
	State string `yaml:"state"`
	// HTTP is the server of metrics, health and status page.
	HTTP HTTP `yaml:"http"`
	// Log says what is logged to standard error.
	Log Log `yaml:"log"`
	// Cluster shares the streams between replicas.
	Cluster Cluster `yaml:"cluster"`
	// Price is for the plan of "cvfeeder check".
	Price Price `yaml:"price"`
	// Streams are the cameras, at least one.
	Streams []Stream `yaml:"streams" jsonschema:"required,minItems=1"`
	// Outputs are the kinds of tensor by name, at least one.
	Outputs map[string]Output `yaml:"outputs" jsonschema:"required"`
}

// Finite reports whether every stream has an end, so that the process ends with them.
func (c *Config) Finite() bool {
	return !slices.ContainsFunc(c.Streams, func(s Stream) bool { return s.To.Time.IsZero() })
}

// Prefixes returns those of the streams that stand for all whose names start with a
// prefix.
func (c *Config) Prefixes() []Stream {
	return slices.DeleteFunc(slices.Clone(c.Streams), func(s Stream) bool { return s.Prefix == "" })
}

// AWS says how to reach Kinesis Video Streams.
type AWS struct {
	// Region is the AWS region; empty leaves it to the SDK's own chain, which
	// also finds the credentials.
	Region string `yaml:"region"`
	// Endpoint is the URL of the control plane where it is not the region's own:
	// a VPC endpoint or the fake service.
	Endpoint string `yaml:"endpoint"`
}

// NATS says how to reach the broker.
type NATS struct {
	// URL is a comma-separated list of servers, or "embedded" for one within the
	// process.
	URL string `yaml:"url"`
	// Credentials is the path of a .creds file, or of one with an nkey's seed.
	Credentials string `yaml:"credentials"`
	// TLS names PEM files.
	TLS TLS `yaml:"tls"`
}

// Embedded in place of the NATS URL runs a server within the process.
const Embedded = "embedded"

// TLS holds the paths of PEM files.
type TLS struct {
	// CA is the file of the authorities that are trusted in place of the
	// system's.
	CA string `yaml:"ca"`
	// Cert is the file of the client's certificate.
	Cert string `yaml:"cert"`
	// Key is the file of the certificate's key.
	Key string `yaml:"key"`
}

// Delivery says what is promised of the messages.
type Delivery struct {
	// Mode is what carries the messages: live (core NATS, at most once), ring (JetStream
	// in memory) or durable (JetStream on disk, every slot once).
	Mode Mode `yaml:"mode" jsonschema:"enum=live,enum=ring,enum=durable"`
	// Subject is the template of a tensor's subject, with {stream} and {output}.
	Subject string `yaml:"subject"`
	// Stream is the JetStream stream of the modes ring and durable.
	Stream JetStream `yaml:"stream"`
	// Gaps says how a gap is announced: an event on a subject of its own, an
	// empty message among the tensors, or not at all.
	Gaps Gaps `yaml:"gaps" jsonschema:"enum=events,enum=inline,enum=none"`
	// Oversize says what becomes of a tensor that is larger than the server takes:
	// an error at the start, or messages that hold a part each.
	Oversize Oversize `yaml:"oversize" jsonschema:"enum=reject,enum=chunk"`
	// Inflight bounds the memory of pictures and tensors between fetching and
	// delivery: their bytes, and two fifths more for the garbage collector.
	Inflight Bytes `yaml:"inflight"`
}

// JetStream describes the stream that tensors are stored in.
type JetStream struct {
	// Name is the name of the JetStream stream, which is made where it does not exist.
	Name string `yaml:"name"`
	// Keep is how many messages a ring holds of each subject.
	Keep int `yaml:"keep" jsonschema:"minimum=1"`
	// Retention says when a durable stream lets a message go: when it was consumed
	// (workqueue), or not before somebody purges it (limits).
	Retention Retention `yaml:"retention" jsonschema:"enum=workqueue,enum=limits"`
	// MaxBytes bounds a durable stream; when it is full, nothing more is asked of
	// the cameras.
	MaxBytes Bytes `yaml:"max_bytes"`
	// Replicas is the number of NATS servers that hold the stream: 1 or 3, or 5.
	Replicas int `yaml:"replicas" jsonschema:"minimum=1,maximum=5"`
}

// HTTP is the server of metrics, health and status page.
type HTTP struct {
	// Listen is its host:port; empty turns it off.
	Listen string `yaml:"listen"`
	// Token is required of every request but the health checks, where set.
	Token string `yaml:"token"`
	// Pprof turns /debug/pprof/ on.
	Pprof bool `yaml:"pprof"`
}

// Log says what is logged to standard error.
type Log struct {
	// Level is the least level that is logged.
	Level LogLevel `yaml:"level" jsonschema:"enum=debug,enum=info,enum=warn,enum=error"`
	// Format is that of the log's lines.
	Format LogFormat `yaml:"format" jsonschema:"enum=text,enum=json"`
}

// Cluster shares the streams between replicas.
type Cluster struct {
	// Group is the name that the replicas have in common; empty owns all streams.
	Group string `yaml:"group"`
	// Lease is how long a replica owns a stream without renewal.
	Lease time.Duration `yaml:"lease"`
}

// Price is for the plan of "cvfeeder check".
type Price struct {
	// PerMillionImages is the price of a million images in your region.
	PerMillionImages float64 `yaml:"per_million_images" jsonschema:"minimum=0"`
}

// Stream is one camera, or all those of a prefix.
type Stream struct {
	// Name is the stream's name, which an ARN has in it.
	Name string `yaml:"name"`
	// ARN is the stream's Amazon resource name, in place of the name.
	ARN string `yaml:"arn"`
	// The ARN's, or empty. It is no key.
	Region string `yaml:"-"`
	// Prefix stands for all streams whose names start with it, those to come
	// included.
	Prefix string `yaml:"prefix"`
	// Interval is the distance of the slots, at least 200ms.
	Interval time.Duration `yaml:"interval"`
	// Selector says whose timestamps count: server (when the service received
	// the media) or producer (what the camera says).
	Selector Selector `yaml:"selector" jsonschema:"enum=server,enum=producer"`
	// Lag is how far behind now to ask; auto learns it.
	Lag AutoDuration `yaml:"lag"`
	// Grace is how long a missing slot may still turn up.
	Grace time.Duration `yaml:"grace"`
	// Overlap is how far before the cursor a window starts; auto learns it.
	Overlap AutoDuration `yaml:"overlap"`
	// From is where to begin: resume goes on at the saved cursor, or else now; now is
	// the newest media; or an RFC 3339 time.
	From Start `yaml:"from"`
	// To is the RFC 3339 time where to end; empty does not. The process exits when all
	// streams have ended.
	To End `yaml:"to"`
	// Freshness is the age at which a slot is dropped as stale; 0 keeps all.
	Freshness time.Duration `yaml:"freshness"`
	// Request says what picture the service makes.
	Request Request `yaml:"request"`
	// Outputs are the names of the outputs that the stream is turned into.
	Outputs []string `yaml:"outputs" jsonschema:"required,minItems=1,uniqueItems=true"`
}

// Request says what picture the service makes.
type Request struct {
	// Format is the picture's encoding.
	Format PictureFormat `yaml:"format" jsonschema:"enum=jpeg,enum=png"`
	// Quality is the JPEG's; a PNG has none.
	Quality int `yaml:"quality" jsonschema:"minimum=1,maximum=100"`
	// Size is what the service stretches the picture to, in pixels; empty keeps
	// the picture's own.
	Size Size `yaml:"size"`
}

// Output is one kind of tensor. See [transform.Spec] for what its keys mean.
type Output struct {
	// Preset is the family of models whose preprocessing the other keys start
	// from.
	Preset string `yaml:"preset" jsonschema:"enum=yolo,enum=imagenet,enum=clip,enum=raw,enum=none"`
	// Size is the tensor's width and height in pixels; empty keeps the picture's.
	Size Size `yaml:"size"`
	// Fit is how the picture is brought to the size: all of it with bars around it,
	// stretched, covering it (centred), or its short side as torchvision does it.
	Fit transform.Fit `yaml:"fit" jsonschema:"enum=letterbox,enum=stretch,enum=crop,enum=short-side"`
	// Resize is the resampling method.
	Resize transform.Resize `yaml:"resize" jsonschema:"enum=opencv-nearest,enum=opencv-linear,enum=opencv-cubic,enum=opencv-area,enum=pillow-bilinear,enum=pillow-bicubic,enum=pillow-lanczos"`
	// Pad is the value of the letterbox's bars.
	Pad uint8 `yaml:"pad"`
	// Color is the order of the channels, or gray for one.
	Color transform.Color `yaml:"color" jsonschema:"enum=rgb,enum=bgr,enum=gray"`
	// ROI is the part of the picture that is used, "x,y,w,h" in its pixels or in
	// fractions of it; empty is all of it.
	ROI ROI `yaml:"roi"`
	// Scale is the factor of a pixel's value, which becomes (pixel*scale - mean) / std
	// in each channel.
	Scale Scale `yaml:"scale"`
	// Mean is subtracted from each channel.
	Mean [3]float64 `yaml:"mean"`
	// Std divides each channel.
	Std [3]float64 `yaml:"std"`
	// DType is the type of the elements; uint8 is not normalized, and the message's
	// headers carry the numbers.
	DType transform.DType `yaml:"dtype" jsonschema:"enum=float32,enum=float16,enum=uint8"`
	// Layout is the order of the dimensions.
	Layout transform.Layout `yaml:"layout" jsonschema:"enum=nchw,enum=nhwc"`
	// Decode says how exact the decoder must be: fast scales JPEGs down while it
	// decodes them, where that loses nothing visible.
	Decode transform.DecodeMode `yaml:"decode" jsonschema:"enum=exact,enum=fast"`
}
