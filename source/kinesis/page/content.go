package page

import (
	"bytes"
	"encoding/base64"
	"slices"

	fast "github.com/segmentio/asm/base64"
)

// allow has f read a content. The first one of an entry does not count as something else
// than content.
func (d *Decoder) allow(first bool, f func() error) error {
	if !first {
		return f()
	}
	begin := d.consumed()
	d.contents += maxContent
	err := f()
	d.contents += d.consumed() - begin - maxContent
	return err
}

// content reads the base64 of an image, or null.
//
// As long as the content is plain base64, it is decoded straight from the buffer. If it has
// an escape, or is not base64 at all, it is first read as any JSON string.
func (d *Decoder) content(img *Image) error {
	if null, err := d.null(); null || err != nil {
		return err
	}
	if err := d.open("ImageContent"); err != nil {
		return err
	}
	d.image = d.image[:0]
	for size := 0; ; {
		chunk := d.buf[d.pos:d.end]
		quote := bytes.IndexByte(chunk, '"')
		if quote >= 0 {
			chunk = chunk[:quote]
		} else {
			chunk = chunk[:len(chunk)&^3] // an incomplete group of four stays
		}
		if size += len(chunk); size > maxContent {
			return d.errorf("ImageContent %w of %d characters", ErrLimit, maxContent)
		}
		if !d.decode(chunk, quote >= 0) {
			return d.escaped(img, maxContent-(size-len(chunk)))
		}
		d.pos += len(chunk)
		if quote >= 0 {
			d.pos++
			d.copyImage(img)
			return nil
		}
		if err := d.fill(); err != nil {
			return err
		}
	}
}

// decode decodes plain base64 and appends it to the image. Only the last chunk may end with
// padding. It returns false, and appends nothing, for anything else: unlike the standard
// library it does not skip line breaks, which a JSON string cannot have.
func (d *Decoder) decode(chunk []byte, last bool) bool {
	size := len(chunk) / 4 * 3
	d.image = slices.Grow(d.image, size)
	n, err := fast.StdEncoding.Decode(d.image[len(d.image):cap(d.image)], chunk)
	if err != nil || len(chunk)%4 != 0 || n < size && !last || n < size-2 {
		return false
	}
	d.image = d.image[:len(d.image)+n]
	return true
}

// escaped reads the rest of the content, at most limit characters, as any JSON string, and
// decodes it.
func (d *Decoder) escaped(img *Image, limit int) error {
	text, err := d.rest(limit)
	if err != nil {
		return err
	}
	var tail []byte
	if tail, img.Err = base64.StdEncoding.DecodeString(text); img.Err == nil {
		d.image = append(d.image, tail...)
		d.copyImage(img)
	}
	return nil
}

// copyImage copies the image to memory of its own. Data is not nil even if it is empty.
func (d *Decoder) copyImage(img *Image) {
	if d.Buffers == nil || len(d.image) == 0 {
		img.Data = append([]byte{}, d.image...)
		return
	}
	memory := d.Buffers.Get(len(d.image))
	copy(memory.Data, d.image)
	img.Data, img.Recycle = memory.Data, func() { d.Buffers.Put(memory) }
}
