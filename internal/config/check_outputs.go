package config

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/config/strictyaml"
	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

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
		d.checkGate(c, name)
		d.checkClip(c, name)
	}
	d.checkClipMemory(c)
	d.checkDistinct("output", names, func(i int) string { return "outputs." + names[i] })
}

// The limits of a gate. What changes in less than a block of 8x8 pixels of a picture of
// 1280x720 is not seen.
const (
	leastChange = 0.0001
	mostEvery   = 24 * time.Hour
	// mostRelax is so short that a stream that stops is noticed as soon as any other.
	mostRelax = time.Minute
)

// checkGate checks the gate of an output, and that the streams that have it suit it.
func (d checker) checkGate(c *Config, name string) {
	g, path := c.Outputs[name].Gate, "outputs."+name+".gate"
	if g.Change == 0 {
		for _, key := range []string{"every", "relax", "burst"} {
			if d.IsSet(path+"."+key) && !d.IsSet(path+".change") {
				d.Report(path+"."+key, "there is no gate without change; set change, for example 2%%")
			}
		}
		return
	}
	if g.Change < leastChange {
		d.Report(path+".change", "%v is out of range; from 0.01%% to 100%%, or 0%% for no gate", strictyaml.Format(g.Change))
	}
	if g.Every < source.MinInterval || g.Every > mostEvery {
		d.Report(path+".every", "%v is out of range; from %v to %v", g.Every, source.MinInterval, mostEvery)
	}
	if g.Relax < 0 || g.Relax > mostRelax {
		d.Report(path+".relax", "%v is out of range; from 0 to %v", g.Relax, mostRelax)
	} else if g.Relax > g.Every {
		d.Report(path+".relax", "%v is longer than every, which is %v: there would be fewer tensors than that; use at most every", g.Relax, g.Every)
	}
	switch {
	case !g.Burst:
	case g.Relax == 0:
		d.Report(path+".burst", "there is nothing to look back at without relax; set relax, or remove burst")
	case c.Delivery.Mode == ModeDurable:
		d.Report(path+".burst", "there are no bursts in the mode durable, whose subjects have every slot in order; remove burst, or use live or ring")
	}
	for _, s := range c.Streams {
		if slices.Contains(s.Outputs, name) && s.Request.Format == FormatPNG {
			d.Report(path+".change", "stream %s has request.format: png, and only a jpeg can be compared; remove the gate, or use jpeg", s.Name+s.Prefix+s.ARN)
		}
	}
}

// checkClip checks that the clips of an output go with the rest.
func (d checker) checkClip(c *Config, name string) {
	o, path := c.Outputs[name], "outputs."+name+".clip"
	switch {
	case o.Clip.Frames == 0:
		for _, key := range []string{"stride", "every", "missing"} {
			if d.IsSet(path+"."+key) && !d.IsSet(path+".frames") {
				d.Report(path+"."+key, "there are no clips without frames; set frames, for example 16")
			}
		}
	case c.Delivery.Mode == ModeDurable:
		d.Report(path+".frames", "there are no clips in the mode durable, which promises every slot once, also across a restart, and a clip is of many slots; use live or ring")
	case o.Gate.Change > 0:
		d.Report(path+".frames", "a gate holds back frames that a clip needs; remove the gate, or the clip")
	}
}

// checkClipMemory checks that the frames that clips keep leave room in delivery.inflight.
func (d checker) checkClipMemory(c *Config) {
	if d.Failed("outputs") || d.Failed("delivery.inflight") {
		return
	}
	kept := 0
	for _, s := range c.Streams {
		for _, name := range s.Outputs {
			if o, known := c.Outputs[name]; known {
				spec := o.Spec()
				if n, err := spec.BytesOf(s.pictureSize()); err == nil {
					kept += n * spec.Clip.Kept()
				}
			}
		}
	}
	if kept > int(c.Delivery.Inflight)/2 {
		d.Report("delivery.inflight", "the frames that clips keep take %d bytes, and may take half of it; at least %dB, or clips of fewer or smaller frames", kept, 2*kept)
	}
}

// fieldErrors returns the errors that [transform.Spec.Validate] has joined.
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

// checkDistinct reports names that would share NATS subjects.
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
