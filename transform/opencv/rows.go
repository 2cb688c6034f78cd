package opencv

// #include "jpeg.h"
import "C"

import "runtime"

// decodeRows decodes a JPEG to what it is resized to while its rows come.
func (w *Worker) decodeRows(data []byte, h jpegHeader, p picture, all []resizing) (picture, error) {
	jobs, err := p.place(&w.rows, all)
	if err != nil {
		return picture{}, err
	}
	var pins runtime.Pinner
	defer pins.Unpin()
	size := scaled(p.full, p.eighths)
	job := jpegJob{
		eighths: C.int(p.eighths), w: C.int(size.X), h: C.int(size.Y), channels: 3,
		scratch: C.size_t(h.scratch), own: w.own, resizes: jobs, count: C.int(len(all)), mask: maskOf(p.cover, &pins),
	}
	if job.means, err = w.means(p.full); err != nil {
		return picture{}, err
	}
	if err := w.runJPEG(&job, data); err != nil {
		return picture{}, err
	}
	w.keepMeans(&job, p)
	return p, nil
}
