package opencv

// #include "mask.h"
import "C"

import (
	"image"
	"runtime"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/transform"
)

// C reads these as they are.
var (
	_ = [1]byte{}[unsafe.Sizeof(transform.Span{})-C.sizeof_cvf_span]
	_ = [1]byte{}[unsafe.Sizeof(image.Point{})-C.sizeof_cvf_block]
)

// maskOf returns a cover's spans for C, nil where there are none. They are pinned.
func maskOf(c *transform.Cover, pins *runtime.Pinner) *C.cvf_mask {
	if c == nil || len(c.Spans) == 0 {
		return nil
	}
	m := &C.cvf_mask{
		rows:  (*C.int32_t)(unsafe.SliceData(c.Rows)),
		spans: (*C.cvf_span)(unsafe.Pointer(unsafe.SliceData(c.Spans))),
		h:     C.int(c.Size.Y),
	}
	pins.Pin(m)
	pins.Pin(m.rows)
	pins.Pin(m.spans)
	return m
}

// mosaics tells whether a part of the picture is pixelated, for which it has to be in memory as
// a whole.
func mosaics(c *transform.Cover) bool { return c != nil && len(c.Mosaics) > 0 }

// burn covers a picture in memory. Nothing of what is filled has a part in the blocks of a
// mosaic, and these do not uncover it.
func burn(c *transform.Cover, v view) {
	if c == nil {
		return
	}
	var pins runtime.Pinner
	defer pins.Unpin()
	mask := maskOf(c, &pins)
	fill := func() {
		if mask != nil {
			C.cvf_mask_picture(mask, (*C.uint8_t)(v.p), C.ptrdiff_t(v.stride))
		}
	}
	fill()
	for _, m := range c.Mosaics {
		if len(m.Blocks) > 0 {
			blocks := (*C.cvf_block)(unsafe.Pointer(unsafe.SliceData(m.Blocks)))
			C.cvf_mosaic(blocks, C.size_t(len(m.Blocks)), C.int(m.Side), (*C.uint8_t)(v.p), C.ptrdiff_t(v.stride), C.int(v.size.X), C.int(v.size.Y))
		}
	}
	if mosaics(c) {
		fill()
	}
}
