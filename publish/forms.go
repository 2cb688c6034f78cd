package publish

import (
	"fmt"
	"image"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cvfeeder/cvfeeder/source"
	"github.com/cvfeeder/cvfeeder/transform"
)

// Limits of the forms that are not one picture as elements.
const (
	maxFrames = 1024 // of a clip
	clipAxes  = 5
)

// The layouts of clips, and that of pictures.
const (
	ncthw transform.Layout = "ncthw"
	ntchw transform.Layout = "ntchw"
	nthwc transform.Layout = "nthwc"
	hwc   transform.Layout = "hwc"
)

var layouts = map[string]transform.Layout{
	"NCHW": transform.NCHW, "NHWC": transform.NHWC, "NCTHW": ncthw, "NTCHW": ntchw, "NTHWC": nthwc,
}

// A Frame is one frame of a clip.
type Frame struct {
	// Time is its slot.
	Time time.Time
	// Filled is "" for a frame that was there. Otherwise it was missing, and this says what
	// is in its place: "repeat", the frame before it, or "black".
	Filled string
}

// A Row is one row of a batch across cameras.
type Row struct {
	Stream string
	// Missing is true if the stream had no frame. The row is padding then.
	Missing bool
	// Source is the size of the decoded picture in pixels, or 0x0 if it is missing.
	Source image.Point
}

// side returns the length of an axis, such as 'c': 1 if the layout does not have it, and 0
// for the zero value.
func (e Envelope) side(axis byte) int {
	layout := e.Layout
	if e.ContentType != "" {
		layout = hwc
	}
	i := strings.IndexByte(string(layout), axis)
	switch {
	case len(e.Shape) != len(layout) || len(e.Shape) == 0:
		return 0
	case i < 0:
		return 1
	}
	return e.Shape[i]
}

// clip reads the frames of a clip.
func (f *fields) clip() []Frame {
	s := f.long(HeaderClip, maxFrames*64)
	if f.err != nil {
		return nil
	}
	var all []Frame
	for text := range strings.SplitSeq(s, ",") {
		at, filled, missing := strings.Cut(text, "!")
		slot, err := source.ParseTime(at)
		if err != nil || len(all) == maxFrames || missing && filled != "repeat" && filled != "black" {
			f.fail(HeaderClip, "%.40q is not the time of one of %d frames, or that of a missing one with !repeat or !black", text, maxFrames)
			return nil
		}
		all = append(all, Frame{slot, filled})
	}
	return all
}

// batch reads the rows of a batch across cameras.
func (f *fields) batch() []Row {
	names := strings.Split(f.long(HeaderBatch, maxPictures*maxText/4), ",")
	sources := strings.Split(f.long(HeaderSource, maxPictures*16), ";")
	if f.err != nil {
		return nil
	}
	if len(names) > maxPictures || len(sources) != len(names) {
		f.fail(HeaderSource, "has %d sizes for the %d streams of %s, of which there may be %d", len(sources), len(names), HeaderBatch, maxPictures)
		return nil
	}
	rows := make([]Row, len(names))
	for i, text := range names {
		name, missing := strings.CutPrefix(text, "!")
		stream, err := url.PathUnescape(name)
		if err != nil || stream == "" || len(stream) > maxText || !utf8.ValidString(stream) {
			f.fail(HeaderBatch, "%.40q is not the name of a stream", text)
			return nil
		}
		rows[i] = Row{Stream: stream, Missing: missing}
		if missing && sources[i] == "0x0" {
			continue
		}
		rows[i].Source = f.size(HeaderSource, sources[i])
	}
	return rows
}

// size reads a width and a height.
func (f *fields) size(name, text string) image.Point {
	sides := splitText(f, name, text, "x", 2, parseSide)
	if f.err != nil {
		return image.Point{}
	}
	return image.Pt(sides[0], sides[1])
}

// checkForm checks what several headers say about the axes.
func (e Envelope) checkForm() error {
	n := e.Pictures()
	switch {
	case n > maxPictures || e.side('c') != e.Color.Channels():
		return fmt.Errorf("header %s: %v is not 1 to %d pictures with %d channels in %s", HeaderShape, e.Shape, maxPictures, e.Color.Channels(), e.Layout)
	case len(e.Affines) != n:
		return fmt.Errorf("header %s: has %d maps for %d pictures", HeaderAffine, len(e.Affines), n)
	case len(e.Layout) == clipAxes && n != 1:
		return fmt.Errorf("header %s: %v has %d clips, not one", HeaderShape, e.Shape, n)
	case len(e.Layout) == clipAxes && len(e.Frames) != e.side('t'):
		return fmt.Errorf("header %s: has %d frames, but the shape %v has %d", HeaderClip, len(e.Frames), e.Shape, e.side('t'))
	case e.Rows != nil && len(e.Rows) != n:
		return fmt.Errorf("header %s: has %d streams for %d rows", HeaderBatch, len(e.Rows), n)
	}
	return nil
}
