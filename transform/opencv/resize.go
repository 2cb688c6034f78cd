package opencv

// #include "cv.h"
// #include "sink.h"
import "C"

import (
	"errors"
	"fmt"
	"image"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/transform"
)

// resize returns the visible part of what the picture is resized to for a picture of a tensor.
func (w *Worker) resize(of of, g transform.Geometry) (view, error) {
	if w.picture.p != nil {
		return w.resizeRegion(w.picture.sub(g.Region), of.spec, g)
	}
	for _, r := range w.picture.resized {
		if r.tile != of.tile || *r.spec != *of.spec {
			continue
		}
		if r.apart {
			return w.resizeRegion(r.view, of.spec, g)
		}
		return r.view, nil
	}
	return view{}, errors.New("the picture was decoded for other outputs: name all outputs to Decode")
}

// resizeRegion resizes the region of a picture that the spec wants, with OpenCV where the
// way to resize is one of its own.
func (w *Worker) resizeRegion(src view, s *transform.Spec, g transform.Geometry) (view, error) {
	if s.Color == transform.Gray {
		var err error
		if src, err = w.toGray(src); err != nil {
			return view{}, err
		}
	}
	if src.size == g.Resized {
		return src.sub(g.Visible()), nil
	}
	if w.meter.own(s, g) {
		return w.resizeOwn(src, s, g)
	}
	switch s.Resize {
	case transform.OpenCVNearest:
		return w.resizeOpenCV(src, g, C.CVF_CV_NEAREST)
	case transform.OpenCVLinear:
		if n := oddFactor(src.size, g.Resized); n > 1 {
			return src.sampled(n).sub(g.Visible()), nil
		}
		return w.resizeOpenCV(src, g, C.CVF_CV_LINEAR)
	case transform.OpenCVCubic:
		if floatCubic(src.size) {
			return w.resizeFloatCubic(src, g)
		}
		return w.resizeOpenCV(src, g, C.CVF_CV_CUBIC)
	case transform.OpenCVArea:
		return w.resizeOpenCV(src, g, C.CVF_CV_AREA)
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
	return dst, withOpenCV(src, dst, func(s, d *C.cvf_matrix) C.int { return C.cvf_cv_gray(s, d) })
}

// resizeOpenCV resizes all of src, because a part alone would get other pixels.
func (w *Worker) resizeOpenCV(src view, g transform.Geometry, how C.int) (view, error) {
	dst, err := w.resized.picture(g.Resized, src.channels)
	if err != nil {
		return view{}, err
	}
	err = withOpenCV(src, dst, func(s, d *C.cvf_matrix) C.int { return C.cvf_cv_resize(s, d, how) })
	return dst.sub(g.Visible()), err
}

// floatCubic tells whether a picture is one for resizeFloatCubic, by its shortest side.
func floatCubic(size image.Point) bool { return min(size.X, size.Y) >= 4 }

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
	convert := func(s, d *C.cvf_matrix) C.int { return C.cvf_cv_convert(s, d) }
	if err := withOpenCV(src, from, convert); err != nil {
		return view{}, err
	}
	err = withOpenCV(from, to, func(f, t *C.cvf_matrix) C.int { return C.cvf_cv_resize(f, t, C.CVF_CV_CUBIC) })
	if err != nil {
		return view{}, err
	}
	err = withOpenCV(to, dst, convert)
	return dst.sub(g.Visible()), err
}

// own tells whether a region is resized by this package in any case. OpenCV has none of
// Pillow's and PyTorch's filters. On arm64, it multiplies and adds floats with a single rounding, and the
// pixels are to be those of x86-64.
func (m *Meter) own(s *transform.Spec, g transform.Geometry) bool {
	switch s.Resize {
	case transform.PillowBilinear, transform.PillowBicubic, transform.PillowLanczos, transform.TorchBilinear, transform.TorchBicubic:
		return true
	case transform.OpenCVArea:
		return m.fused
	case transform.OpenCVCubic:
		return m.fused && floatCubic(g.Region.Size())
	}
	return false
}

func (w *Worker) resizeOwn(src view, s *transform.Spec, g transform.Geometry) (view, error) {
	p, err := w.feed(&w.resized, src, picture{}, []resizing{ownResizing(of{spec: s}, image.Rectangle{Max: g.Region.Size()}, g)})
	if err != nil {
		return view{}, err
	}
	return p.resized[0].view, nil
}
