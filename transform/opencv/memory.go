package opencv

/*
#include "cv.h"
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

// By itself, glibc raises the size from which memory comes from the system and goes back to
// it, up to 32 MiB, as such memory is freed. What is smaller comes from arenas, of which
// there are eight for each core, and each keeps what was freed behind something else.
static int cvf_give_back(void) {
#ifdef __GLIBC__
	return mallopt(M_MMAP_THRESHOLD, 8 << 20) && mallopt(M_TRIM_THRESHOLD, 16 << 20);
#else
	return 0;
#endif
}
*/
import "C"

import (
	"fmt"
	"image"
	"unsafe"
)

const (
	// memoryAlign suits every vector instruction.
	memoryAlign = 64
	// Kernels may read memorySlack bytes behind the pixels, and do not use them.
	memorySlack = 64
	// memoryKept is the most that a worker keeps from one picture to the next: enough for
	// the whole picture of 3840x2160.
	memoryKept = 32 << 20
	// restsKept is after how many rests a memory is given back that is twice as large as
	// what was needed since.
	restsKept = 64
)

// giveBack has the C library give large blocks back to the system once they are freed. Of a
// progressive picture of 3840x2160, libjpeg allocates some of 16 MiB. This is for the whole
// process.
func giveBack() { C.cvf_give_back() }

// A memory is a block of C memory that is reused, and grows as needed. Unlike with Go
// memory, C code may keep pointers to it.
type memory struct {
	p   unsafe.Pointer
	cap int

	most  int // the most that was needed since the last check
	rests int // since then
}

// reserve makes room for n bytes. The memory's content may be lost, and views of it are
// no longer valid.
func (m *memory) reserve(n int) error {
	m.most = max(m.most, n)
	if n <= m.cap {
		return nil
	}
	m.free()
	size := (n + memorySlack + memoryAlign - 1) / memoryAlign * memoryAlign
	p := C.aligned_alloc(memoryAlign, C.size_t(size))
	if p == nil {
		return fmt.Errorf("out of memory: %d bytes for a picture", n)
	}
	m.p, m.cap = p, n
	return nil
}

// rest is called after each picture. It frees memory that only an outlier needed.
func (m *memory) rest() {
	if m.rests++; m.rests < restsKept {
		return
	}
	if m.most < m.cap/2 {
		m.free()
	}
	m.most, m.rests = 0, 0
}

// free gives the memory back to the system.
func (m *memory) free() {
	C.free(m.p)
	m.p, m.cap = nil, 0
}

// A view is a rectangle of pixels in C memory, with 8 bits a channel or as floats says. The channels of a pixel are side by
// side, the pixels step bytes apart, and the rows stride bytes apart.
type view struct {
	p            unsafe.Pointer
	step, stride int
	size         image.Point
	channels     int
	floats       bool // pixels are four floats, of which the first are the channels
}

// picture makes room for a picture in m and returns its view.
func (m *memory) picture(size image.Point, channels int) (view, error) {
	if err := m.reserve(size.X * size.Y * channels); err != nil {
		return view{}, err
	}
	return view{p: m.p, step: channels, stride: size.X * channels, size: size, channels: channels}, nil
}

// sub returns the part of the view in r, which must lie within it.
func (v view) sub(r image.Rectangle) view {
	v.p = unsafe.Add(v.p, r.Min.Y*v.stride+r.Min.X*v.step)
	v.size = r.Size()
	return v
}

// sampled returns the view of the middle pixel of every n x n pixels. n must be odd, and
// divide the size.
func (v view) sampled(n int) view {
	v.p = unsafe.Add(v.p, n/2*(v.stride+v.step))
	v.step, v.stride, v.size = v.step*n, v.stride*n, v.size.Div(n)
	return v
}

// A matrix is memory that OpenCV can work in.
type matrix interface {
	matrix() C.cvf_matrix
}

// matrix describes the view's memory. The view must not be sampled.
func (v view) matrix() C.cvf_matrix {
	return C.cvf_matrix{
		p: v.p, width: C.int(v.size.X), height: C.int(v.size.Y), channels: C.int(v.channels), stride: C.size_t(v.stride),
	}
}

// floats is a picture of float32 channels, without gaps.
type floats struct {
	p        unsafe.Pointer
	size     image.Point
	channels int
}

// matrix describes the floats' memory.
func (f floats) matrix() C.cvf_matrix {
	return C.cvf_matrix{
		p: f.p, width: C.int(f.size.X), height: C.int(f.size.Y), channels: C.int(f.channels), floats: 1,
		stride: C.size_t(4 * f.size.X * f.channels),
	}
}

// withOpenCV calls a function of OpenCV, which writes to dst's memory.
func withOpenCV(src, dst matrix, do func(src, dst *C.cvf_matrix) C.int) error {
	s, d := src.matrix(), dst.matrix()
	openMats.Add(2)
	defer openMats.Add(-2)
	if code := do(&s, &d); code != 0 {
		return fmt.Errorf("opencv: error %d", code)
	}
	return nil
}
