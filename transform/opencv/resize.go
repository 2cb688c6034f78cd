package opencv

// #include "pillow.h"
import "C"

import (
	"errors"
	"fmt"
	"image"
	"unsafe"

	"gocv.io/x/gocv"

	"github.com/cvfeeder/cvfeeder/transform"
)

// resize returns the visible part of the resized picture.
func (w *Worker) resize(s *transform.Spec, g transform.Geometry) (view, error) {
	if w.picture.p == nil {
		for _, r := range w.picture.resized {
			if *r.spec == *s {
				return r.view, nil
			}
		}
		return view{}, errors.New("the picture was decoded for other outputs: name all outputs to Decode")
	}
	src := w.picture.sub(g.Region)
	var err error
	if s.Color == transform.Gray {
		if src, err = w.toGray(src); err != nil {
			return view{}, err
		}
	}
	if src.size == g.Resized {
		return src.sub(g.Visible()), nil
	}
	switch s.Resize {
	case transform.OpenCVNearest:
		return w.resizeOpenCV(src, g, gocv.InterpolationNearestNeighbor)
	case transform.OpenCVLinear:
		if n := oddFactor(src.size, g.Resized); n > 1 {
			return src.sampled(n).sub(g.Visible()), nil
		}
		return w.resizeOpenCV(src, g, gocv.InterpolationLinear)
	case transform.OpenCVCubic:
		if min(src.size.X, src.size.Y) >= minFloatCubic {
			return w.resizeFloatCubic(src, g)
		}
		return w.resizeOpenCV(src, g, gocv.InterpolationCubic)
	case transform.OpenCVArea:
		return w.resizeOpenCV(src, g, gocv.InterpolationArea)
	case transform.PillowBilinear, transform.PillowBicubic, transform.PillowLanczos:
		return w.resizePillow(src, g, pillowFilter(s.Resize))
	}
	return view{}, fmt.Errorf("unknown resize %q", s.Resize)
}

// oddFactor returns n where size is n times resized in both directions, and n is odd;
// otherwise 0. OpenCV's linear interpolation then samples the exact centres of pixels:
// 1920x1080 to 640x360 takes every third pixel of every third row.
func oddFactor(size, resized image.Point) int {
	n := size.X / resized.X
	if n%2 == 1 && resized.Mul(n) == size {
		return n
	}
	return 0
}

// toGray converts BGR to gray.
func (w *Worker) toGray(src view) (view, error) {
	dst, err := w.gray.picture(src.size, 1)
	if err != nil {
		return view{}, err
	}
	return dst, withMats(src, dst, func(s, d *gocv.Mat) error {
		return gocv.CvtColor(*s, d, gocv.ColorBGRToGray)
	})
}

// resizeOpenCV resizes all of src, because a part alone would get other pixels.
func (w *Worker) resizeOpenCV(src view, g transform.Geometry, how gocv.InterpolationFlags) (view, error) {
	dst, err := w.resized.picture(g.Resized, src.channels)
	if err != nil {
		return view{}, err
	}
	err = withMats(src, dst, func(s, d *gocv.Mat) error {
		return gocv.Resize(*s, d, g.Resized, 0, 0, how)
	})
	return dst.sub(g.Visible()), err
}

// minFloatCubic is the shortest side of a picture for resizeFloatCubic.
const minFloatCubic = 4

// resizeFloatCubic resizes as the cv2 package does on x86-64. That package is
// built with Intel's IPP, whose cubic filter computes in floats and rounds once.
// OpenCV's own filter for 8 bits has coefficients of 11 bits, and differs by 1 in some
// percent of the pixels. IPP leaves pictures with a side under 4 pixels to OpenCV.
func (w *Worker) resizeFloatCubic(src view, g transform.Geometry) (view, error) {
	dst, err := w.resized.picture(g.Resized, src.channels)
	if err != nil {
		return view{}, err
	}
	area := func(p image.Point) int { return p.X * p.Y * src.channels }
	if err := w.scratch.reserve(4 * (area(src.size) + area(g.Resized))); err != nil {
		return view{}, err
	}
	from := floats{p: w.scratch.p, size: src.size, channels: src.channels}
	to := floats{p: unsafe.Add(w.scratch.p, 4*area(src.size)), size: g.Resized, channels: src.channels}
	err = withMats(src, from, func(s, f *gocv.Mat) error { return s.ConvertTo(f, f.Type()) })
	if err != nil {
		return view{}, err
	}
	err = withMats(from, to, func(f, t *gocv.Mat) error {
		return gocv.Resize(*f, t, g.Resized, 0, 0, gocv.InterpolationCubic)
	})
	if err != nil {
		return view{}, err
	}
	err = withMats(to, dst, func(t, d *gocv.Mat) error { return t.ConvertTo(d, d.Type()) })
	return dst.sub(g.Visible()), err
}

// pillowFilter returns the filter of one of Pillow's ways to resize.
func pillowFilter(r transform.Resize) C.int {
	switch r {
	case transform.PillowBicubic:
		return C.CVF_BICUBIC
	case transform.PillowLanczos:
		return C.CVF_LANCZOS
	default:
		return C.CVF_BILINEAR
	}
}

// pillowJob returns the job of resizing a picture of a size. It is not told where its pixels
// are.
func pillowJob(from image.Point, channels int, g transform.Geometry, filter C.int) C.cvf_pillow_job {
	part := g.Visible()
	return C.cvf_pillow_job{
		channels: C.int(channels),
		src_w:    C.int(from.X), src_h: C.int(from.Y),
		full_w: C.int(g.Resized.X), full_h: C.int(g.Resized.Y),
		x: C.int(part.Min.X), y: C.int(part.Min.Y), w: C.int(part.Dx()), h: C.int(part.Dy()),
		filter: filter,
	}
}

// resizePillow computes only the visible part.
func (w *Worker) resizePillow(src view, g transform.Geometry, filter C.int) (view, error) {
	dst, err := w.resized.picture(g.Visible().Size(), src.channels)
	if err != nil {
		return view{}, err
	}
	job := pillowJob(src.size, src.channels, g, filter)
	job.src, job.stride = (*C.uint8_t)(src.p), C.ptrdiff_t(src.stride)
	if err := w.scratch.reserve(int(C.cvf_pillow_scratch(&job))); err != nil {
		return view{}, err
	}
	C.cvf_pillow(&job, w.scratch.p, (*C.uint8_t)(dst.p))
	return dst, nil
}
