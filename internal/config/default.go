package config

import (
	"cmp"
	"image"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/camerahealth"
	"github.com/cvfeeder/cvfeeder/internal/health"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/publish/nats/deliver"
	"github.com/cvfeeder/cvfeeder/publish/nats/dial"
	"github.com/cvfeeder/cvfeeder/publish/nats/frames"
	"github.com/cvfeeder/cvfeeder/publish/nats/lease"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/source/poll"
	"github.com/cvfeeder/cvfeeder/transform"
)

// DefaultListen is the default of http.listen.
const DefaultListen = "127.0.0.1:9177"

// DefaultRunbook is the default of http.runbook.
const DefaultRunbook = "https://github.com/cvfeeder/cvfeeder/blob/main/docs/reasons.md"

// defaultPreset is the preset of an output that does not name one, and picturePreset that of
// one that makes pictures: they keep their size.
const (
	defaultPreset = "yolo"
	picturePreset = "raw"
)

// DefaultReplayStream is the default of [Replay.Stream].
const DefaultReplayStream = "cvfeeder-replay"

// defaults returns the config of a file without streams and outputs.
func defaults() *Config {
	return &Config{
		NATS: NATS{URL: dial.DefaultURL, ReplyPrefix: publish.DefaultReplyPrefix},
		Delivery: Delivery{
			Mode:        ModeLive,
			Subject:     publish.DefaultSubject,
			Stream:      JetStream{Name: dial.DefaultStream, Keep: deliver.DefaultKeep, Retention: RetentionWorkQueue, MaxBytes: deliver.DefaultMaxBytes, Replicas: 1},
			Gaps:        GapsEvents,
			Oversize:    OversizeReject,
			Inflight:    64 << 20,
			MemoryBytes: defaultMemoryBytes,
		},
		Decoder:  Decoder{MaxSize: Size{poll.MaxWidth, poll.MaxHeight}},
		Requests: Requests{Rate: frames.DefaultRate, RatePerAsker: frames.DefaultRatePerAsker, ImagesPerDay: 50_000, ImagesPerHour: 20_000, ImagesPerHourPerAsker: 10_000},
		Replay:   Replay{Stream: DefaultReplayStream, MaxBytes: deliver.DefaultMaxBytes, Retention: RetentionWorkQueue, Replicas: 1, Quota: 0.5, ImagesPerJob: 100_000},
		HTTP:     HTTP{Listen: DefaultListen, Ready: health.Any, Runbook: DefaultRunbook},
		Log:      Log{Level: LevelInfo, Format: LogText},
		Cluster:  Cluster{Lease: lease.DefaultDuration},
		Price:    Price{PerMillionImages: 10, Currency: "USD"},
		Limits:   Limits{Then: ThenStop},
	}
}

// SetDefaults implements [strictyaml.Defaulter].
func (s *Stream) SetDefaults(func(string) string) {
	*s = Stream{
		Interval: source.MinInterval,
		Poll:     PollAlways,
		Linger:   10 * time.Second,
		Limits:   Limits{Then: ThenStop},
		Burst:    Burst{Interval: source.MinInterval, Before: 5 * time.Second, After: 10 * time.Second, Most: time.Minute},
		Health:   defaultHealth(),
		Selector: SelectorServer,
		Lag:      AutoDuration(poll.Auto),
		Grace:    poll.DefaultGrace,
		Overlap:  AutoDuration(poll.Auto),
		From:     Start{Kind: StartResume},
		Request:  Request{Format: FormatJPEG, Quality: 80},
		Lens:     Lens{Model: LensNone},
	}
}

// SetDefaults implements [strictyaml.Defaulter] with the values of the preset. An unknown
// preset is reported when its key is decoded.
func (o *Output) SetDefaults(peek func(key string) string) {
	o.Preset = defaultPreset
	if encode := peek("encode"); encode != "" && encode != string(transform.EncodeTensor) {
		o.Preset = picturePreset
	}
	if preset := peek("preset"); preset != "" {
		o.Preset = Preset(preset)
	}
	spec, err := transform.Preset(string(o.Preset))
	if err != nil {
		o.Preset = defaultPreset
		o.SetDefaults(func(string) string { return "" })
		return
	}
	*o = Output{
		Preset: o.Preset,
		Size:   Size{spec.Width, spec.Height},
		Fit:    spec.Fit, ResizeTo: Box(spec.ResizeTo), Crop: spec.CropRatio,
		MaxSide: spec.MaxSide, MultipleOf: spec.MultipleOf, MinPixels: spec.MinPixels, MaxPixels: spec.MaxPixels,
		SizeRounding: cmp.Or(spec.SizeRounding, transform.Auto), CropRounding: cmp.Or(spec.CropRounding, transform.Auto),
		Align: cmp.Or(spec.Align, transform.Center), ScaleUp: !spec.NoScaleUp,
		Resize: spec.Resize, Antialias: !spec.NoAntialias, ResizeDType: cmp.Or(spec.ResizeDType, transform.Uint8),
		Pad: Pad{spec.Pad, spec.PadChannels}, PadNormalized: spec.PadNormalized, Color: spec.Color,
		ROI:    ROI(spec.ROI),
		Encode: cmp.Or(spec.Encode, transform.EncodeTensor), Quality: spec.Quality,
		Clip:  Clip{spec.Clip.Frames, max(spec.Clip.Stride, 1), max(spec.Clip.Every, 1), cmp.Or(spec.Clip.Missing, transform.MissingRepeat)},
		Batch: Batch{Wait: defaultWait},
		Tiles: Tiles{Box(spec.Tiles.Size), Size{spec.Tiles.Grid.X, spec.Tiles.Grid.Y}, spec.Tiles.Overlap},
		Scale: Scale(spec.Scale), Mean: spec.Mean, Std: spec.Std,
		DType: spec.DType, QuantScale: QuantScale(spec.QuantScale), QuantZeroPoint: spec.QuantZeroPoint, Layout: spec.Layout, Decode: spec.Decode,
		Gate: Gate{Every: defaultEvery},
	}
}

// defaultWait is the default of batch.wait.
const defaultWait = 200 * time.Millisecond

// defaultHealth returns the health of a stream that says nothing of it.
func defaultHealth() Health {
	o := camerahealth.Default()
	return Health{
		Every: o.Every, After: o.After, Black: int(o.Black), Covered: Share(o.Covered), Frozen: o.Frozen,
		Turned: Share(o.Turned), Relearn: o.Relearn, Blurred: Share(o.Blurred), Flickering: Share(o.Flickering),
	}
}

// defaultEvery is the default of gate.every.
const defaultEvery = 10 * time.Second

// Spec returns the preprocessing of the output.
func (o Output) Spec() transform.Spec {
	return transform.Spec{
		Width: o.Size.Width, Height: o.Size.Height,
		Fit: o.Fit, ResizeTo: image.Point(o.ResizeTo), CropRatio: o.Crop,
		MaxSide: o.MaxSide, MultipleOf: o.MultipleOf, MinPixels: o.MinPixels, MaxPixels: o.MaxPixels,
		SizeRounding: unless(o.SizeRounding, transform.Auto), CropRounding: unless(o.CropRounding, transform.Auto),
		Align: unless(o.Align, transform.Center), NoScaleUp: !o.ScaleUp,
		Resize: o.Resize, NoAntialias: !o.Antialias, ResizeDType: unless(o.ResizeDType, transform.Uint8),
		Pad: o.Pad.All, PadChannels: o.Pad.Channels, PadNormalized: o.PadNormalized, Color: o.Color,
		ROI:    transform.ROI(o.ROI),
		Encode: unless(o.Encode, transform.EncodeTensor), Quality: o.Quality,
		Clip:  o.Clip.clip(),
		Tiles: transform.Tiles{Size: image.Point(o.Tiles.Size), Grid: image.Pt(o.Tiles.Grid.Width, o.Tiles.Grid.Height), Overlap: o.Tiles.Overlap},
		Scale: float64(o.Scale), Mean: o.Mean, Std: o.Std,
		DType: o.DType, QuantScale: float64(o.QuantScale), QuantZeroPoint: o.QuantZeroPoint, Layout: o.Layout, Decode: o.Decode,
	}
}

// clip returns the frames of a clip, as a [transform.Spec] has them.
func (c Clip) clip() transform.Clip {
	unlessOne := func(n int) int {
		if n == 1 {
			return 0
		}
		return n
	}
	return transform.Clip{Frames: c.Frames, Stride: unlessOne(c.Stride), Every: unlessOne(c.Every), Missing: unless(c.Missing, transform.MissingRepeat)}
}

// Of returns the batch of an output, nil where it has none.
func (b Batch) Of() *transform.Batch {
	if b.Name == "" {
		return nil
	}
	return &transform.Batch{Name: b.Name, Streams: b.Streams, Wait: b.Wait}
}

// Rows returns how many rows a tensor has: 1 without a batch.
func (b Batch) Rows() int {
	if b.Name == "" {
		return 1
	}
	return len(b.Streams)
}

// unless returns word, or "" for the one that says what is meant anyway.
func unless[T ~string](word, usual T) T {
	if word == usual {
		return ""
	}
	return word
}

// Transforms returns the outputs by name, as new values at each call. The caller sets
// their fingerprints.
func (c *Config) Transforms() map[string]*transform.Output {
	outputs := make(map[string]*transform.Output, len(c.Outputs))
	for name, o := range c.Outputs {
		outputs[name] = &transform.Output{Name: name, Spec: o.Spec()}
	}
	return outputs
}
