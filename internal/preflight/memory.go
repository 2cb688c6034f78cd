package preflight

import (
	"errors"
	"io/fs"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/publish/memory"
)

// checkMemory checks the directory of delivery.memory. A directory in a place that this machine
// does not have is a note only, unless the config is to connect: it is often checked elsewhere
// than where it runs.
func (c *checker) checkMemory() {
	o := c.plan.MemoryOptions()
	if o.Dir == "" {
		return
	}
	note, err := memory.Check(o)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !c.opts.Connect:
		c.note("memory", "delivery.memory names %s, which is not on this machine: where cvfeeder runs, the directory above it must be", o.Dir)
	case err != nil:
		c.fail("memory", feeder.Usage(err))
	case note != "":
		c.note("memory", "%s", note)
	default:
		c.pass("memory", "%s has room for %s of tensors, which consumers of this host read in place", o.Dir, bytesText(float64(o.Bytes)))
	}
}
