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
// Reading is strict: an unknown or duplicate key, a wrong type or unit, and a combination
// that cannot work are errors, and all of them are reported at once. Package strictyaml
// reads the YAML, with ${VAR} for environment variables; this package has the keys, their
// defaults and meanings, and the checks that need more than one of them.
//
// The package is larger than most packages because all keys are in it: a key is a few lines
// in several of its files, and what a key allows often depends on another one.
package config

import (
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/health"
)

// The comments of the fields become the meanings of the keys in the JSON schema and in
// docs/configuration.md: "Grace is how long …" becomes "How long …".

// Config is the whole file, with its defaults filled in.
type Config struct {
	// AWS is how to reach Kinesis Video Streams.
	AWS AWS `yaml:"aws"`
	// NATS is how to reach the broker.
	NATS NATS `yaml:"nats"`
	// Delivery is how messages are delivered, and with which guarantees.
	Delivery Delivery `yaml:"delivery"`
	// Decoder is the limits of decoding pictures.
	Decoder Decoder `yaml:"decoder"`
	// Requests is the limits of requests for frames and for ranges of them, over NATS and from
	// the status page. Each
	// process has its own.
	Requests Requests `yaml:"requests"`
	// Replay is how ranges of the past are replayed: see "cvfeeder replay".
	Replay Replay `yaml:"replay"`
	// State is the directory for cursors, from which streams resume after a restart,
	// unless NATS keeps them, and for what the embedded server stores; empty keeps
	// nothing.
	State string `yaml:"state"`
	// HTTP is the server for metrics, health checks and the status page.
	HTTP HTTP `yaml:"http"`
	// Log is what is logged to standard error.
	Log Log `yaml:"log"`
	// Cluster is how replicas share the streams.
	Cluster Cluster `yaml:"cluster"`
	// Price is what images cost: for the estimate of "cvfeeder check", the status page and
	// limits.
	Price Price `yaml:"price"`
	// Limits are what the images of all streams together may cost.
	Limits Limits `yaml:"limits"`
	// Streams are the cameras, at least one.
	Streams []Stream `yaml:"streams" jsonschema:"required,minItems=1"`
	// Outputs are the kinds of tensor, by name, at least one.
	Outputs map[string]Output `yaml:"outputs" jsonschema:"required"`
}

// Finite reports whether every stream has an end, so that the process ends, too.
func (c *Config) Finite() bool {
	return !slices.ContainsFunc(c.Streams, func(s Stream) bool { return s.To.Time.IsZero() })
}

// Prefixes returns the streams that are given by a prefix.
func (c *Config) Prefixes() []Stream {
	return slices.DeleteFunc(slices.Clone(c.Streams), func(s Stream) bool { return s.Prefix == "" })
}

// AWS is how to reach Kinesis Video Streams.
type AWS struct {
	// Region is the AWS region; empty leaves it to the SDK's default chain, which also
	// finds the credentials.
	Region string `yaml:"region"`
	// Endpoint is the URL of the control plane, if it is not the region's own: a VPC
	// endpoint or the fake service.
	Endpoint string `yaml:"endpoint"`
}

// NATS is how to reach the broker.
type NATS struct {
	// URL is a comma-separated list of servers, or "embedded" for a server inside the
	// process.
	URL string `yaml:"url"`
	// Credentials is the path of a .creds file, or of a file with an nkey seed.
	Credentials string `yaml:"credentials"`
	// TLS is the files for encrypted connections, in PEM format.
	TLS TLS `yaml:"tls"`
	// ReplyPrefix is the first token of the subjects on which requests are answered.
	// Requests that want their answer elsewhere are ignored.
	ReplyPrefix string `yaml:"reply_prefix"`
}

// Embedded is the NATS URL that stands for a server inside the process.
const Embedded = "embedded"

// TLS holds the paths of PEM files.
type TLS struct {
	// CA is the file of trusted certificate authorities; it replaces the system's.
	CA string `yaml:"ca"`
	// Cert is the file of the client certificate.
	Cert string `yaml:"cert"`
	// Key is the file of the client certificate's private key.
	Key string `yaml:"key"`
}

// Delivery is how messages are delivered, and with which guarantees.
type Delivery struct {
	// Mode is how messages are delivered: live (core NATS, at most once), ring (JetStream
	// in memory) or durable (JetStream on disk, every slot once).
	Mode Mode `yaml:"mode" jsonschema:"enum=live,enum=ring,enum=durable"`
	// Subject is the template of the subject of tensors, with {stream} and {output}.
	Subject string `yaml:"subject"`
	// Stream is the JetStream stream of the modes ring and durable.
	Stream JetStream `yaml:"stream"`
	// Gaps is how gaps are announced: events (on a subject of their own), inline (as
	// empty messages among the tensors) or none.
	Gaps Gaps `yaml:"gaps" jsonschema:"enum=events,enum=inline,enum=none"`
	// Oversize is what happens to a tensor that is larger than the server accepts:
	// reject (an error at the start) or chunk (several messages, each with a part).
	Oversize Oversize `yaml:"oversize" jsonschema:"enum=reject,enum=chunk"`
	// Inflight is the limit on the memory of pictures and tensors between fetching and
	// delivery: their bytes and what decoding them takes, plus two fifths for the garbage
	// collector. A picture that takes more than that is decoded while there is no other.
	Inflight Bytes `yaml:"inflight"`
	// Memory is the directory, in a memory file system such as /dev/shm, in which tensors are
	// handed over to consumers of the same host without a copy; empty hands over none.
	Memory string `yaml:"memory"`
	// MemoryBytes is how much memory these tensors take, which is allocated at the start.
	MemoryBytes Bytes `yaml:"memory_bytes"`
	// MemoryGroup is the name or number of the group whose members may read them; empty leaves
	// it to the directory.
	MemoryGroup string `yaml:"memory_group"`
	// MemoryWritable is whether the group may write to these tensors, too, and their file has a
	// second name in the directory above: Triton's system shared memory needs both. Whoever is in
	// the group can then spoil what the others read, and end them and cvfeeder.
	MemoryWritable bool `yaml:"memory_writable"`
}

// Decoder is the limits of decoding pictures.
type Decoder struct {
	// MaxSize is the width and height in pixels of the largest pictures that are decoded;
	// larger ones are undecodable. Large pictures take much memory: see delivery.inflight.
	MaxSize Size `yaml:"max_size"`
}

// Requests is the limits of requests for frames and for ranges of them, over NATS and from
// the status page.
type Requests struct {
	// Rate is how many requests for frames are answered in a second, from all askers
	// together. A burst may have twice as many.
	Rate int `yaml:"rate" jsonschema:"minimum=1,maximum=10000"`
	// RatePerAsker is the same for each asker, that is, for each first two tokens of the
	// subjects on which answers are wanted.
	RatePerAsker int `yaml:"rate_per_asker" jsonschema:"minimum=1,maximum=10000"`
	// ImagesPerDay is how many images of Kinesis Video, which bills them, are spent on
	// requests in a day; a frame takes two. 0 spends none.
	ImagesPerDay int `yaml:"images_per_day" jsonschema:"minimum=0,maximum=1000000000"`
	// ImagesPerHour is how many images are spent in any hour on requests for ranges, from all
	// askers together. They count as images of the day, too. 0 spends none.
	ImagesPerHour int `yaml:"images_per_hour" jsonschema:"minimum=0,maximum=1000000000"`
	// ImagesPerHourPerAsker is the same for each asker.
	ImagesPerHourPerAsker int `yaml:"images_per_hour_per_asker" jsonschema:"minimum=0,maximum=1000000000"`
}

// Replay is how ranges of the past are replayed. It needs JetStream, whatever the delivery mode.
type Replay struct {
	// Stream is the name of the JetStream stream for the tensors of replay jobs, on the
	// subjects cvf.r.>, which is created if it does not exist.
	Stream string `yaml:"stream"`
	// MaxBytes is the maximum size of that stream; while it is full, jobs wait.
	MaxBytes Bytes `yaml:"max_bytes"`
	// Retention is when that stream deletes a message: once it is consumed (workqueue), or
	// only when somebody purges it (limits).
	Retention Retention `yaml:"retention" jsonschema:"enum=workqueue,enum=limits"`
	// Replicas is the number of NATS servers that store that stream and the jobs: 1, 3 or 5.
	Replicas int `yaml:"replicas" jsonschema:"minimum=1,maximum=5"`
	// Quota is the share of each stream's quota that a job uses at most, such as 50%; the rest
	// is left to the live edge.
	Quota Share `yaml:"quota"`
	// ImagesPerJob is how many images a job may need that is begun by a request on
	// cvf.svc.replay; 0 refuses all. Those of "cvfeeder replay" are confirmed by whoever runs it.
	ImagesPerJob int `yaml:"images_per_job" jsonschema:"minimum=0,maximum=1000000000"`
}

// JetStream describes the stream that tensors are stored in.
type JetStream struct {
	// Name is the name of the JetStream stream, which is created if it does not exist.
	Name string `yaml:"name"`
	// Keep is how many messages of each subject a ring holds.
	Keep int `yaml:"keep" jsonschema:"minimum=1"`
	// Retention is when a durable stream deletes a message: once it is consumed
	// (workqueue), or only when somebody purges it (limits).
	Retention Retention `yaml:"retention" jsonschema:"enum=workqueue,enum=limits"`
	// MaxBytes is the maximum size of a durable stream; while it is full, no more images
	// are requested.
	MaxBytes Bytes `yaml:"max_bytes"`
	// Replicas is the number of NATS servers that store the stream: 1, 3 or 5.
	Replicas int `yaml:"replicas" jsonschema:"minimum=1,maximum=5"`
}

// HTTP is the server for metrics, health checks and the status page.
type HTTP struct {
	// Listen is the host:port to listen on; empty turns the server off.
	Listen string `yaml:"listen"`
	// Token is what every request but health checks must present; empty requires none.
	Token string `yaml:"token"`
	// Ready is how many of the streams have to flow for /readyz to be 200.
	Ready health.Need `yaml:"ready" jsonschema:"enum=any,enum=all,enum=none"`
	// Pprof is whether /debug/pprof/ is served.
	Pprof bool `yaml:"pprof"`
	// Runbook is the address of a page that explains the reasons, to which the status page
	// links with "#" and a reason; empty links to none.
	Runbook string `yaml:"runbook"`
	// Grafana is the address of a dashboard to which the status page links; {stream} in it
	// stands for the name of a stream. Empty links to none.
	Grafana string `yaml:"grafana"`
}

// Log is what is logged to standard error.
type Log struct {
	// Level is the lowest level that is logged.
	Level LogLevel `yaml:"level" jsonschema:"enum=debug,enum=info,enum=warn,enum=error"`
	// Format is the format of log lines.
	Format LogFormat `yaml:"format" jsonschema:"enum=text,enum=json"`
}

// Cluster is how replicas share the streams.
type Cluster struct {
	// Group is the name of the group of replicas that share the streams; empty shares
	// none.
	Group string `yaml:"group"`
	// Lease is how long a replica keeps a stream without renewing its lease: whole
	// seconds, 3s to 10m.
	Lease time.Duration `yaml:"lease"`
}

// Price is what images cost.
type Price struct {
	// PerMillionImages is the price of a million images in your region.
	PerMillionImages float64 `yaml:"per_million_images" jsonschema:"minimum=0"`
	// Currency is the currency of the price, which is shown with each sum.
	Currency string `yaml:"currency"`
}

// Limits are what images may cost. Those that are requested count, retries and overlap
// included. From 80% of a limit on, the log, the status page and an alert say so.
type Limits struct {
	// ImagesPerDay is how many images may be requested in a day of UTC; 0 is no limit.
	ImagesPerDay int `yaml:"images_per_day" jsonschema:"minimum=0,maximum=1000000000000"`
	// MoneyPerMonth is what they may cost in a month of UTC, by the price; 0 is no limit.
	MoneyPerMonth float64 `yaml:"money_per_month" jsonschema:"minimum=0"`
	// Then is what happens when a limit is met: stop requests nothing until the next day or
	// month; slow goes on at a tenth of the rate, or with one slot in ten seconds. Slots that
	// are left out end as skipped.
	Then Then `yaml:"then" jsonschema:"enum=stop,enum=slow"`
}

// Any tells whether there is a limit.
func (l Limits) Any() bool { return l.ImagesPerDay > 0 || l.MoneyPerMonth > 0 }

// Stream is one camera, or all those whose names share a prefix.
type Stream struct {
	// Name is the name of the stream.
	Name string `yaml:"name"`
	// ARN is the Amazon resource name of the stream, instead of its name.
	ARN string `yaml:"arn"`
	// Region is that of the ARN, or empty. It is not a key.
	Region string `yaml:"-"`
	// Prefix is what the names of several streams start with; it stands for all of
	// them, including streams created later.
	Prefix string `yaml:"prefix"`
	// Interval is the time between samples, at least 200ms.
	Interval time.Duration `yaml:"interval"`
	// Poll is when images are requested: always, only while somebody listens to an output
	// (subscribed; in ring and durable, while the stream has a consumer for it), or only on
	// request.
	Poll Poll `yaml:"poll" jsonschema:"enum=always,enum=subscribed,enum=request"`
	// Lookback is how long ago the frames begin when somebody starts to listen, with poll:
	// subscribed.
	Lookback time.Duration `yaml:"lookback"`
	// Linger is how long images are requested after the last listener has gone, with poll:
	// subscribed.
	Linger time.Duration `yaml:"linger"`
	// Active is the times of a week in which images are requested, such as "Mon-Fri
	// 07:00-19:00 Europe/Berlin" or "22:00-06:00, Sun 00:00-24:00"; empty is always. Requests
	// for frames are answered at any time.
	Active Hours `yaml:"active"`
	// Limits are what the images of the stream may cost; with a prefix, those of each.
	Limits Limits `yaml:"limits"`
	// Burst is what requests for a denser look at a time may ask for (cvf.svc.burst).
	Burst Burst `yaml:"burst"`
	// Health is what is looked for in the camera's pictures: whether it sees well.
	Health Health `yaml:"health"`
	// Selector is whose timestamps count: server (when the service received the media)
	// or producer (the camera's own; its clock may be wrong).
	Selector Selector `yaml:"selector" jsonschema:"enum=server,enum=producer"`
	// Lag is how far behind now to request images; auto learns it.
	Lag AutoDuration `yaml:"lag"`
	// Grace is how long after it should have been visible a missing image is requested
	// again before its slot counts as a gap.
	Grace time.Duration `yaml:"grace"`
	// Late is how far back slots without media may still turn up, because the camera
	// uploads what it has recorded later. Their tensors come out of order, with the header
	// Cvf-Late; durable only counts them. 0 gives them up after the grace.
	Late time.Duration `yaml:"late"`
	// Overlap is how far before the cursor each request starts; auto learns it.
	Overlap AutoDuration `yaml:"overlap"`
	// From is where to start: resume (at the saved cursor, or now if there is none), now
	// (at the newest media) or an RFC 3339 time.
	From Start `yaml:"from"`
	// To is the RFC 3339 time at which to end; empty never ends. The process exits when
	// all streams have ended.
	To End `yaml:"to"`
	// Freshness is the age at which a slot is dropped as stale; 0 drops none, so that a
	// feeder that is short of cores, or catches up after an outage, delivers old tensors in
	// every mode.
	Freshness time.Duration `yaml:"freshness"`
	// Request is what picture the service is asked for.
	Request Request `yaml:"request"`
	// Masks are the parts of the pictures that nobody is to see.
	Masks []Mask `yaml:"masks"`
	// Lens is how the pictures are rectified, after what is masked.
	Lens Lens `yaml:"lens"`
	// Outputs are the names of the outputs that are made from the stream.
	Outputs []string `yaml:"outputs" jsonschema:"required,minItems=1,uniqueItems=true"`
}

// A Lens is how a camera draws, as OpenCV's calibration tells.
type Lens struct {
	// Model is that of cv2.calibrateCamera (pinhole) or cv2.fisheye.calibrate (fisheye), or a
	// homography to another plane; none takes the pictures as they are.
	Model LensModel `yaml:"model" jsonschema:"enum=none,enum=pinhole,enum=fisheye,enum=homography"`
	// Size is the size of the pictures that the camera was calibrated with.
	Size Size `yaml:"size"`
	// Matrix is fx, fy, cx and cy of the camera matrix.
	Matrix [4]float64 `yaml:"matrix"`
	// Distortion is the list of coefficients in OpenCV's order: 4, 5 or 8 of a pinhole, 4 of a fisheye.
	Distortion []float64 `yaml:"distortion"`
	// NewMatrix is fx, fy, cx and cy of the rectified picture, as cv2.getOptimalNewCameraMatrix
	// returns them; zeros take the matrix.
	NewMatrix [4]float64 `yaml:"new_matrix"`
	// Homography is the 3x3 matrix from the picture to the rectified one, by rows.
	Homography [9]float64 `yaml:"homography"`
	// Output is the size of the rectified picture of a homography.
	Output Size `yaml:"output"`
}

// A Mask is a part of the pictures that is replaced before anything else is made of them: a
// polygon or a box.
type Mask struct {
	// Polygon are the corners, three at least, in fractions of the picture's width and height.
	// Edges may cross: what is enclosed twice is outside.
	Polygon []Corner `yaml:"polygon"`
	// Box is the left and the upper edge, the width and the height, in such fractions, instead
	// of a polygon.
	Box [4]float64 `yaml:"box"`
	// Fill is the value that replaces the pixels; or red, green and blue separated by commas,
	// such as "255,0,0".
	Fill Fill `yaml:"fill"`
	// Pixelate is the side in pixels of the blocks that are replaced by their mean instead of
	// the fill: a multiple of 8. 0 fills. What small blocks hide can be made out.
	Pixelate int `yaml:"pixelate" jsonschema:"minimum=0,maximum=512"`
}

// Burst is what requests for a denser look at a time may ask for: frames closer together than
// the stream's own, from before that time until after it. Parts of a request that are left out
// are as the keys say.
type Burst struct {
	// Interval is the time between the samples of a burst, at least 200ms.
	Interval time.Duration `yaml:"interval"`
	// Before is how long before the requested time a burst begins.
	Before time.Duration `yaml:"before"`
	// After is how long after it the burst ends.
	After time.Duration `yaml:"after"`
	// Most is how long a burst may be, after it was extended by further requests, too; 0
	// refuses all.
	Most time.Duration `yaml:"most"`
}

// Request is what picture the service is asked for.
type Request struct {
	// Format is the encoding of the picture.
	Format PictureFormat `yaml:"format" jsonschema:"enum=jpeg,enum=png"`
	// Quality is the quality of a JPEG; a PNG has none.
	Quality int `yaml:"quality" jsonschema:"minimum=1,maximum=100"`
	// Size is the size in pixels that the service stretches the picture to; empty keeps
	// the original size.
	Size Size `yaml:"size"`
}
