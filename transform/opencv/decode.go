package opencv

import (
	"bytes"
	"fmt"
	"image"

	"github.com/cvfeeder/cvfeeder/transform"
)

var (
	jpegMagic = []byte{0xff, 0xd8, 0xff}
	pngMagic  = []byte("\x89PNG\r\n\x1a\n")
)

// decode decodes the data as its first bytes ask for. Nothing but JPEG and PNG reaches a
// decoder: OpenCV by itself would try a dozen formats.
func (w *Worker) decode(data []byte, c *transform.Camera, outs []*transform.Output) (picture, error) {
	switch {
	case bytes.HasPrefix(data, jpegMagic):
		return w.decodeJPEG(data, c, outs)
	case bytes.HasPrefix(data, pngMagic):
		return w.decodePNG(data, c, outs)
	}
	return picture{}, notPicture(data)
}

// notPicture returns the error for data that is neither a JPEG nor a PNG.
func notPicture(data []byte) error {
	switch {
	case len(data) == 0:
		return undecodable(transform.ReasonEmpty, "no bytes")
	case bytes.HasPrefix(jpegMagic, data), bytes.HasPrefix(pngMagic, data):
		return undecodable(transform.ReasonTruncated, "only %d bytes", len(data))
	}
	return undecodable(transform.ReasonFormat,
		"neither JPEG nor PNG: it begins with % x", data[:min(len(data), 8)])
}

// readHeader returns the picture as its header describes it, without any pixels.
func (m *Meter) readHeader(data []byte) (picture, error) {
	var size image.Point
	switch {
	case bytes.HasPrefix(data, jpegMagic):
		h, err := readJPEGHeader(data)
		if err != nil {
			return picture{}, err
		}
		size = h.size
	case bytes.HasPrefix(data, pngMagic):
		var err error
		if size, err = pngSize(data); err != nil {
			return picture{}, err
		}
	default:
		return picture{}, notPicture(data)
	}
	return picture{full: size, eighths: 8}, m.checkSize(size)
}

// decodeJPEG decodes a JPEG, scaled down where every output allows it.
func (w *Worker) decodeJPEG(data []byte, c *transform.Camera, outs []*transform.Output) (picture, error) {
	h, err := readJPEGHeader(data)
	if err != nil {
		return picture{}, err
	}
	if err := w.meter.checkSize(h.size); err != nil {
		return picture{}, err
	}
	p := picture{full: h.size, eighths: eighthsOf(h.size, c, outs), lens: c.Rectified(h.size)}
	p.cover = c.Cover(h.size, h.grain, p.eighths)
	all := w.meter.resizings(p.shown(), outs)
	switch {
	case h.channels == 4:
		return w.decodeCMYK(data, h, p, all)
	case len(all) > 0 && !c.Whole():
		return w.decodeRows(data, h, p, all)
	}
	if p.view, err = w.pixels.picture(scaled(h.size, p.eighths), 3); err != nil {
		return picture{}, err
	}
	job := w.wholeJPEG(h, p.eighths, p.view)
	if job.means, err = w.means(p.full); err != nil {
		return picture{}, err
	}
	if err := w.runJPEG(&job, data); err != nil {
		return picture{}, err
	}
	w.keepMeans(&job, p)
	return w.finish(p, all)
}

// decodeCMYK decodes a JPEG of four channels.
func (w *Worker) decodeCMYK(data []byte, h jpegHeader, p picture, all []resizing) (picture, error) {
	size := scaled(p.full, p.eighths)
	cmyk, err := w.cmyk.picture(size, 4)
	if err != nil {
		return picture{}, err
	}
	job := w.wholeJPEG(h, p.eighths, cmyk)
	if err := w.runJPEG(&job, data); err != nil {
		return picture{}, err
	}
	if len(all) > 0 && p.cover == nil && p.lens == nil {
		return w.feed(&w.rows, cmyk, p, all)
	}
	if p.view, err = w.pixels.picture(size, 3); err != nil {
		return picture{}, err
	}
	convertCMYK(cmyk, p.view)
	return w.finish(p, all)
}

// finish covers a picture whose pixels are in memory as a whole, rectifies it, and makes of it
// what it is to be resized to, if anything.
func (w *Worker) finish(p picture, all []resizing) (picture, error) {
	burn(p.cover, p.view)
	if p.lens != nil {
		var err error
		if p, err = w.rectify(p); err != nil {
			return picture{}, err
		}
	}
	if len(all) > 0 {
		return w.feed(&w.rows, p.view, p, all)
	}
	return p, nil
}

// undecodable returns a DecodeError.
func undecodable(reason transform.Reason, format string, args ...any) error {
	return &transform.DecodeError{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// eighthsOf is eighths for the pictures of a camera: those that are rectified are decoded as they
// are.
func eighthsOf(size image.Point, c *transform.Camera, outs []*transform.Output) int {
	if c.Rectifies() {
		return 8
	}
	return eighths(size, outs)
}

// eighths returns the n to decode the picture at n/8: the smallest with which no output
// has to enlarge it, or 8 where an output needs the exact pixels. 5 to 7 are left out: with
// them the chroma of 4:2:0 has 10x10 to 14x14 samples a block, and takes longer than at 8.
func eighths(size image.Point, outs []*transform.Output) int {
	if len(outs) == 0 {
		return 8
	}
	sizes := []int{1, 2, 3, 4, 8}
	for _, o := range outs {
		if o.Spec.Decode != transform.DecodeFast {
			return 8
		}
		all, err := o.Spec.Geometries(size)
		if err != nil {
			continue // Tensor will return the error
		}
		for len(sizes) > 1 && !covers(all[0].Scaled(sizes[0], 8)) {
			sizes = sizes[1:]
		}
	}
	// Of a tiny picture several n have the same size. The largest is the most exact.
	for n := 8; n > sizes[0]; n-- {
		if scaled(size, n) == scaled(size, sizes[0]) {
			return n
		}
	}
	return sizes[0]
}

// covers reports whether the geometry does not enlarge the picture.
func covers(g transform.Geometry) bool {
	return g.Region.Dx() >= g.Resized.X && g.Region.Dy() >= g.Resized.Y
}

// scaled returns the size of a JPEG decoded at n/8.
func scaled(size image.Point, n int) image.Point {
	return image.Pt((size.X*n+7)/8, (size.Y*n+7)/8)
}
