package opencv

/*
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

	"gocv.io/x/gocv"
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

// A view is a rectangle of 8-bit pixels in C memory. The channels of a pixel are side by
// side, the pixels step bytes apart, and the rows stride bytes apart.
type view struct {
	p            unsafe.Pointer
	step, stride int
	size         image.Point
	channels     int
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

// A matrix is memory that can be wrapped in a Mat.
type matrix interface {
	mat() (gocv.Mat, error)
}

// mat returns a Mat over the view's memory. The view must not be sampled.
func (v view) mat() (gocv.Mat, error) {
	kind := gocv.MatTypeCV8UC3
	if v.channels == 1 {
		kind = gocv.MatTypeCV8UC1
	}
	// gocv cannot be told a stride. So a Mat of whole rows is made, and narrowed to the
	// view before anything reads it.
	used := (v.size.Y-1)*v.stride + v.size.X*v.channels
	rows, err := gocv.NewMatFromBytes(v.size.Y, v.stride/v.channels, kind, unsafe.Slice((*byte)(v.p), used))
	if err != nil || rows.Cols() == v.size.X {
		return rows, err
	}
	part := rows.Region(image.Rectangle{Max: v.size})
	return part, rows.Close()
}

// floats is a picture of float32 channels, without gaps.
type floats struct {
	p        unsafe.Pointer
	size     image.Point
	channels int
}

// mat returns a Mat over the floats' memory.
func (f floats) mat() (gocv.Mat, error) {
	kind := gocv.MatTypeCV32FC3
	if f.channels == 1 {
		kind = gocv.MatTypeCV32FC1
	}
	used := f.size.X * f.size.Y * f.channels * 4
	return gocv.NewMatFromBytes(f.size.Y, f.size.X, kind, unsafe.Slice((*byte)(f.p), used))
}

// withMat calls do with a Mat over the memory, which is not copied. The Mat is closed
// when do returns: do must not keep it.
func withMat(m matrix, do func(*gocv.Mat) error) error {
	mat, err := m.mat()
	if err != nil {
		return fmt.Errorf("opencv: %w", err)
	}
	openMats.Add(1)
	defer func() {
		_ = mat.Close() // never fails
		openMats.Add(-1)
	}()
	return do(&mat)
}

// withMats calls do with Mats over the memory of both.
func withMats(src, dst matrix, do func(src, dst *gocv.Mat) error) error {
	return withMat(src, func(s *gocv.Mat) error {
		return withMat(dst, func(d *gocv.Mat) error { return do(s, d) })
	})
}
