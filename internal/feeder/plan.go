package feeder

import (
	"fmt"
	"image"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/preflight"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/transform"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// maxDataConnections is how many NATS connections carry tensors at most. A single one
// can write several gigabytes a second; having more keeps one that stalls from holding
// up all streams.
const maxDataConnections = 4

// A Plan is what a config amounts to: everything that can be decided before anything is
// connected. It is a value, and deciding it does nothing.
type Plan struct {
	Config *config.Config
	// Outputs are those of the config, by name, with their fingerprints.
	Outputs map[string]*transform.Output
	// Subject is the template of the tensors' subjects.
	Subject publish.SubjectTemplate
	// Region is the AWS region of the client; "" leaves it to the SDK.
	Region string
	// Largest is the largest message that the config can lead to, and Overhead is the
	// bytes that the delivery mode adds to each message.
	Largest  LargestMessage
	Overhead int
	// Needs are the permissions that the NATS user must have.
	Needs preflight.Needs
	// Gaps is how gaps are announced.
	Gaps publish.GapMode
	// Stream is the JetStream stream of the modes that store tensors.
	Stream deliver.StreamOptions
	// StoreDir is where an embedded NATS server stores messages; "" is memory.
	StoreDir string
}

// NewPlan returns the plan of a config that has passed the config's own check.
func NewPlan(cfg *config.Config) (Plan, error) {
	p := Plan{
		Config: cfg, Outputs: cfg.Transforms(), Region: regionOf(cfg),
		Gaps: gapsOf(cfg.Delivery.Gaps), StoreDir: storeDir(cfg),
	}
	for _, o := range p.Outputs {
		o.Fingerprint = o.Spec.Fingerprint(opencv.Engine())
	}
	var err error
	if p.Subject, err = publish.ParseSubject(cfg.Delivery.Subject); err != nil {
		return p, fmt.Errorf("delivery.subject: %w", err)
	}
	if cfg.Delivery.Mode.Stored() {
		p.Stream, p.Overhead = streamOf(cfg, p.Subject), deliver.StoredOverhead
	}
	p.Needs = p.needs()
	p.Largest, err = p.largest()
	return p, err
}

// dataConnections returns how many NATS connections carry tensors on this machine.
func dataConnections() int { return min(runtime.GOMAXPROCS(0), maxDataConnections) }

// Dial returns the options of the connections to NATS.
func (p Plan) Dial() dial.Options {
	n := p.Config.NATS
	return dial.Options{
		URL: n.URL, Credentials: n.Credentials, TLS: dial.TLS(n.TLS), DataConnections: dataConnections(),
		Chunk: p.Config.Delivery.Oversize == config.OversizeChunk,
	}
}

func gapsOf(g config.Gaps) publish.GapMode {
	switch g {
	case config.GapsEvents:
		return publish.GapEvents
	case config.GapsInline:
		return publish.InlineGaps
	default:
		return publish.NoGaps
	}
}

// streamOf returns the JetStream stream that a config asks for.
func streamOf(cfg *config.Config, subject publish.SubjectTemplate) deliver.StreamOptions {
	c := cfg.Delivery.Stream
	o := deliver.StreamOptions{
		Name: c.Name, Subjects: subjectsOf(cfg, subject), Replicas: c.Replicas,
		Keep: c.Keep, Limits: c.Retention == config.RetentionLimits,
	}
	if cfg.Delivery.Mode == config.ModeDurable {
		o.Kind, o.MaxBytes = deliver.Durable, int64(c.MaxBytes)
	}
	return o
}

// subjectsOf returns the subjects of the stream.
func subjectsOf(cfg *config.Config, subject publish.SubjectTemplate) []string {
	subjects := []string{subject.Wildcard()}
	if cfg.Delivery.Memory != "" {
		subjects = append(subjects, publish.MemorySubject("*", subjects[0]))
	}
	return subjects
}

// storeDir returns where an embedded server stores messages, "" where nothing is to
// survive the process.
func storeDir(cfg *config.Config) string {
	if !cfg.Delivery.Mode.Stored() || cfg.State == "" {
		return ""
	}
	return filepath.Join(cfg.State, "nats")
}

// regionOf returns the AWS region of a config. Where the config has none and every
// stream has its own (in its ARN), it is that of the first stream; "" leaves it to the
// SDK.
func regionOf(cfg *config.Config) string {
	named := func(s config.Stream) bool { return s.Region != "" }
	if cfg.AWS.Region != "" || !named(cfg.Streams[0]) || slices.ContainsFunc(cfg.Streams, func(s config.Stream) bool { return !named(s) }) {
		return cfg.AWS.Region
	}
	return cfg.Streams[0].Region
}

// ClientOptions returns how a stream is read from Kinesis. observe is called with the
// code and the number of images of each request.
func ClientOptions(c config.Stream, observe func(code string, asked, came source.Bill)) kinesis.StreamOptions {
	opts := kinesis.StreamOptions{
		Name: c.Name, Producer: c.Selector == config.SelectorProducer,
		PNG: c.Request.Format == config.FormatPNG, Quality: c.Request.Quality,
		Width: c.Request.Size.Width, Height: c.Request.Size.Height,
		Observe: observe,
	}
	if c.ARN != "" {
		opts.Name, opts.ARN, opts.Region = "", c.ARN, c.Region
	}
	return opts
}

// needs returns the permissions of the NATS user.
func (p Plan) needs() preflight.Needs {
	cfg := p.Config
	var tensors, gaps []string
	for _, s := range cfg.Streams {
		// The streams of a prefix are not known yet, so they may have any name.
		gap := publish.GapPrefix + "*"
		subject := p.Subject.AnyStream
		if s.Prefix == "" {
			gap = publish.GapSubject(s.Name)
			subject = func(output string) string { return p.Subject.Subject(s.Name, output) }
		}
		if p.Gaps == publish.GapEvents {
			gaps = append(gaps, gap)
		}
		for _, output := range s.Outputs {
			tensors = append(tensors, subject(output))
			if b := cfg.Outputs[output].Batch; b.Name != "" {
				tensors = append(tensors, p.Subject.Subject(b.Name, output))
			}
		}
	}
	slices.Sort(gaps)
	slices.Sort(tensors)
	tensors, gaps = slices.Compact(tensors), slices.Compact(gaps)
	needs := modeNeeds(cfg.Delivery, tensors, gaps)
	if cfg.Delivery.Memory != "" {
		needs = needs.With(preflight.NeedsMemory(p.Stream.Name, tensors))
	}
	if slices.ContainsFunc(cfg.Streams, func(s config.Stream) bool { return s.Poll == config.PollSubscribed }) {
		needs = needs.With(preflight.NeedsInterest(p.Stream.Name))
	}
	if cfg.Cluster.Group != "" {
		needs = needs.With(preflight.NeedsLeases())
	}
	return needs
}

func modeNeeds(d config.Delivery, tensors, gaps []string) preflight.Needs {
	switch d.Mode {
	case config.ModeRing:
		return preflight.NeedsRing(d.Stream.Name, tensors, gaps)
	case config.ModeDurable:
		return preflight.NeedsDurable(d.Stream.Name, deliver.CursorBucket, tensors, gaps)
	default:
		return preflight.NeedsLive(tensors, gaps)
	}
}

// A LargestMessage is the largest message of a config, headers included.
type LargestMessage struct {
	// Bytes is its size, as far as it is known before the first picture.
	Bytes int
	// Of is the stream and the output that it belongs to.
	Of string
}

// largest returns the largest message that the config can lead to.
func (p Plan) largest() (LargestMessage, error) {
	var largest LargestMessage
	for _, c := range p.Config.Streams {
		for _, name := range c.Outputs {
			n, err := MessageSize(c.Name, p.Outputs[name], p.Config.Outputs[name].Batch.Of())
			if err != nil {
				return LargestMessage{}, fmt.Errorf("output %s: %w", name, err)
			}
			if c.Lens.Model != config.LensNone {
				n += mapBytes
			}
			if n > largest.Bytes {
				largest = LargestMessage{Bytes: n, Of: fmt.Sprintf("stream %s%s, output %s", c.Name, c.Prefix, name)}
			}
		}
	}
	return largest, nil
}

// mapBytes is the most that the header Cvf-Map takes.
const mapBytes = 640

// MessageSize returns the size in bytes of an output's message with the longest possible
// headers. Where the size of the tensor depends on the picture, only the headers count. The batch
// is nil where the output has none.
func MessageSize(stream string, o *transform.Output, batch *transform.Batch) (int, error) {
	const side = 8192
	whole := o.Spec
	whole.Tiles = transform.Tiles{}
	g, err := whole.Geometry(image.Pt(side, side))
	if err != nil {
		return 0, err
	}
	pictures := o.Spec.MostPictures()
	long := -1.0 / 3 * 1e-5 // no number has a longer decimal
	at := time.UnixMilli(0)
	t := &transform.Tensor{
		Stream: stream, Slot: source.SlotAt(at), Capture: at, Output: o,
		Shape: o.Spec.Shape(pictures, g), Source: image.Pt(side, side),
		Affines: slices.Repeat([]transform.Affine{{long, long, long, long, long, long}}, pictures),
	}
	if c := o.Spec.Clip; c.Frames > 0 {
		t.Clip = slices.Repeat([]transform.ClipFrame{{Slot: t.Slot, Missing: transform.MissingRepeat}}, c.Frames)
	}
	n, _ := o.Spec.Bytes()
	if batch != nil {
		for _, name := range batch.Streams {
			t.Batch = append(t.Batch, transform.Row{Stream: name, Source: t.Source})
		}
		t.Stream, t.Shape[0], n = batch.Name, len(t.Batch), n*len(t.Batch)
		t.Affines = slices.Repeat(t.Affines, len(t.Batch))
	}
	return o.Spec.ClipBytes(n) + publish.HeaderSize(publish.NewMessage("", t).Header), nil
}
