package publish

import (
	"image"
	"net/url"
	"strings"
	"unicode/utf8"
)

// A Row is one row of a batch across cameras.
type Row struct {
	Stream string
	// Missing is true if the stream had no frame. The row is padding then.
	Missing bool
	// Source is the size of the decoded picture in pixels, or 0x0 if it is missing.
	Source image.Point
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
