package config

import (
	"image"
	"path/filepath"
)

// leastSlots is how many tensors fit into delivery.memory_bytes at least: with fewer, a tensor
// would be overwritten before anybody could have come to it.
const leastSlots = 4

// defaultMemoryBytes is the default of delivery.memory_bytes.
const defaultMemoryBytes = 256 << 20

// assumedWidth and assumedHeight are of pictures whose size nobody knows beforehand.
const assumedWidth, assumedHeight = 1920, 1080

// TensorBytes returns the size in bytes of the largest tensor that the streams ask for. For an
// output that is as large as its picture, that is as large as the service makes it, or else
// 1920x1080.
func (c *Config) TensorBytes() int {
	largest := 0
	for _, s := range c.Streams {
		size := s.pictureSize()
		for _, name := range s.Outputs {
			o, known := c.Outputs[name]
			if !known {
				continue
			}
			spec := o.Spec()
			if n, err := spec.BytesOf(size); err == nil {
				largest = max(largest, spec.ClipBytes(n)*o.Batch.Rows())
			}
		}
	}
	return largest
}

// pictureSize returns the size of the stream's pictures in pixels, as far as it is known.
func (s Stream) pictureSize() image.Point {
	if s.Request.Size.Width > 0 {
		return image.Pt(s.Request.Size.Width, s.Request.Size.Height)
	}
	return image.Pt(assumedWidth, assumedHeight)
}

// checkMemory checks the memory that is shared with consumers.
func (d checker) checkMemory(c *Config) {
	m := c.Delivery
	if m.Memory == "" {
		const text = "has no effect without a directory; set delivery.memory as well, for example /dev/shm/cvfeeder"
		if m.MemoryBytes != defaultMemoryBytes && !d.Failed("delivery.memory_bytes") {
			d.Report("delivery.memory_bytes", text)
		}
		if m.MemoryGroup != "" {
			d.Report("delivery.memory_group", text)
		}
		if m.MemoryWritable {
			d.Report("delivery.memory_writable", text)
		}
		return
	}
	switch {
	case m.Mode == ModeDurable:
		d.Report("delivery.memory", "memory does not survive, and the mode durable promises that every slot does; remove it, or use the mode live or ring")
	case !filepath.IsAbs(m.Memory) || filepath.Clean(m.Memory) == "/":
		d.Report("delivery.memory", "%q is not the whole path of a directory; for example /dev/shm/cvfeeder", m.Memory)
	}
	if least := leastSlots * c.TensorBytes(); int64(m.MemoryBytes) < int64(least) && !d.Failed("outputs") {
		d.Report("delivery.memory_bytes", "%d bytes hold fewer than %d of the largest tensors; at least %dB", int64(m.MemoryBytes), leastSlots, least)
	}
}
