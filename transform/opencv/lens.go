package opencv

// #include "cv.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// shown returns what outputs are made of a picture's size and scale, once it is decoded.
func (p picture) shown() picture {
	if p.lens != nil {
		p.full = p.lens.Size
	}
	return p
}

// rectify makes the rectified picture of one that is in memory as a whole.
func (w *Worker) rectify(p picture) (picture, error) {
	dst, err := w.rectified.picture(p.lens.Size, 3)
	if err != nil {
		return picture{}, err
	}
	var pins runtime.Pinner
	defer pins.Unpin()
	xy, parts := unsafe.SliceData(p.lens.XY), unsafe.SliceData(p.lens.Parts)
	pins.Pin(xy)
	pins.Pin(parts)
	err = withOpenCV(p.view, dst, func(s, d *C.cvf_matrix) C.int {
		return C.cvf_cv_remap(s, d, (*C.int16_t)(xy), (*C.uint16_t)(parts))
	})
	p.full, p.view = p.lens.Size, dst
	return p, err
}
