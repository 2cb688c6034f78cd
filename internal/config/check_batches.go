package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cvfeeder/cvfeeder/publish"
	"github.com/cvfeeder/cvfeeder/transform"
)

// The limits of a batch.
const (
	mostRows  = 64
	leastWait = time.Millisecond
	mostWait  = 10 * time.Second
)

// checkBatch checks the batch of an output, and that it goes with the rest.
func (d checker) checkBatch(c *Config, name string) {
	o, path := c.Outputs[name], "outputs."+name+".batch"
	if o.Batch.Name == "" {
		for _, key := range []string{"streams", "wait"} {
			if d.IsSet(path+"."+key) && !d.IsSet(path+".name") {
				d.Report(path+"."+key, "there is no batch without a name; set name, for example yard")
			}
		}
		return
	}
	for _, stream := range streamNames(c) {
		if publish.SubjectToken(stream) == publish.SubjectToken(o.Batch.Name) {
			d.Report(path+".name", "the batch %q would share its NATS subjects with the stream %q; rename it", o.Batch.Name, stream)
		}
	}
	if n := len(o.Batch.Streams); n < 2 || n > mostRows {
		d.Report(path+".streams", "%d streams are out of range; 2 to %d", n, mostRows)
	}
	if o.Batch.Wait < leastWait || o.Batch.Wait > mostWait {
		d.Report(path+".wait", "%v is out of range; from %v to %v", o.Batch.Wait, leastWait, mostWait)
	}
	switch spec := o.Spec(); {
	case c.Delivery.Mode == ModeDurable:
		d.Report(path+".name", "there are no batches in the mode durable, which promises every slot once, and a batch does not wait for what is late; use live or ring")
	case c.Cluster.Group != "":
		d.Report(path+".name", "the replicas of a group share the streams, and those of a batch would have to be on the same one; remove cluster.group, or the batch")
	case o.Gate.Change > 0:
		d.Report(path+".name", "a gate holds back frames that a batch needs; remove the gate, or the batch")
	case spec.Clip.Frames > 0, spec.Tiles != (transform.Tiles{}), spec.Pictures():
		d.Report(path+".name", "the rows of a batch are whole frames; remove clip, tiles and encode, or the batch")
	default:
		if _, known := spec.Bytes(); !known && !d.Failed("outputs") {
			d.Report(path+".name", "the rows of a batch have one size, and that of the tensor follows from the picture's; set size")
		}
	}
	d.checkBatchStreams(c, name, path+".streams")
}

// checkBatchStreams checks that the streams of a batch are those that have the output, and that
// they have the same slots.
func (d checker) checkBatchStreams(c *Config, output, path string) {
	streams := c.Outputs[output].Batch.Streams
	var first *Stream
	for i := range c.Streams {
		s := &c.Streams[i]
		has, in := slices.Contains(s.Outputs, output), s.Name != "" && slices.Contains(streams, s.Name)
		switch {
		case has && s.Prefix != "":
			d.Report(path, "the streams of the prefix %q have the output, and a batch has named streams only; name them", s.Prefix)
		case has && !in && s.Name != "":
			d.Report(path, "the stream %q has the output and is not in the batch; add it, or give it another output", s.Name)
		case in && !has:
			d.Report(path, "the stream %q does not have the output; add %s to its outputs", s.Name, output)
		case !in:
		case s.Lens.Model != LensNone:
			d.Report(path, "the stream %q has a lens, and a batch has one map for each row, which cannot say how a lens bends; remove the lens, or the batch", s.Name)
		case first == nil:
			first = s
		case s.Interval != first.Interval:
			d.Report(path, "the streams %q and %q have the intervals %v and %v, and a batch has the same slots of all; use one interval", first.Name, s.Name, first.Interval, s.Interval)
		}
	}
	for i, name := range streams {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case slices.Contains(streams[:i], name):
			d.Report(at, "the stream %q is already in the list; remove one", name)
		case !slices.ContainsFunc(c.Streams, func(s Stream) bool { return s.Name == name }):
			d.Report(at, "there is no stream %q; one of: %s", name, strings.Join(streamNames(c), ", "))
		}
	}
}

// streamNames returns the names of the streams that have one.
func streamNames(c *Config) []string {
	var names []string
	for _, s := range c.Streams {
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	return names
}

// BatchNames returns the names of the batches that outputs have, each once.
func (c *Config) BatchNames() []string {
	var names []string
	for _, o := range c.Outputs {
		if o.Batch.Name != "" {
			names = append(names, o.Batch.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
