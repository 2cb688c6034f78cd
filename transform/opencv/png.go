package opencv

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"io"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/transform"
)

// decodePNG decodes a PNG to the pixels of cv2's IMREAD_COLOR: of 16 bits the upper 8, without
// alpha.
func (w *Worker) decodePNG(data []byte, c *transform.Camera, outs []*transform.Output) (picture, error) {
	size, err := pngSize(data)
	if err != nil {
		return picture{}, err
	}
	if err := w.meter.checkSize(size); err != nil {
		return picture{}, err
	}
	f, err := parsePNG(data)
	if err != nil {
		return picture{}, err
	}
	p := picture{full: size, eighths: 8, cover: c.Cover(size, transform.Grain{Unit: image.Pt(1, 1)}, 8), lens: c.Rectified(size)}
	if p.view, err = w.pixels.picture(size, 3); err != nil {
		return picture{}, err
	}
	if err := f.decode(p.view); err != nil {
		return picture{}, err
	}
	if err := w.keepPixels(size, p.view); err != nil {
		return picture{}, err
	}
	return w.finish(p, w.meter.resizings(p.shown(), outs))
}

// A pngFile is a PNG whose chunks have been checked.
type pngFile struct {
	width, height int
	color, depth  byte // color type, and bits of a channel
	bits          int  // of a pixel
	interlaced    bool

	palette []byte   // RGB
	data    [][]byte // what the IDAT chunks hold
}

// Color types.
const (
	pngRGB     = 2
	pngPalette = 3
	pngRGBA    = 6
)

const (
	// chunkFrame is the length, type and checksum around a chunk's data.
	chunkFrame = 12
	headerLen  = 13
)

// pngSize reads the size from the header that every PNG begins with.
func pngSize(data []byte) (image.Point, error) {
	header := data[len(pngMagic):]
	if len(header) < chunkFrame+headerLen {
		return image.Point{}, undecodable(transform.ReasonTruncated, "PNG ends within its header")
	}
	if binary.BigEndian.Uint32(header) != headerLen || string(header[4:8]) != "IHDR" {
		return image.Point{}, undecodable(transform.ReasonCorrupt, "PNG does not begin with its header")
	}
	width, height := binary.BigEndian.Uint32(header[8:]), binary.BigEndian.Uint32(header[12:])
	if width > 1<<31-1 || height > 1<<31-1 {
		return image.Point{}, undecodable(transform.ReasonSize, "PNG of %dx%d pixels", width, height)
	}
	return image.Pt(int(width), int(height)), nil
}

// parsePNG splits a PNG into its chunks and checks them: their checksums, their order,
// and that the last one is there. Chunks that do not matter to the pixels are left out.
func parsePNG(data []byte) (*pngFile, error) {
	f := &pngFile{}
	rest := data[len(pngMagic):]
	closed := false // there was another chunk after the IDAT chunks
	for {
		if len(rest) < chunkFrame {
			return nil, undecodable(transform.ReasonTruncated, "PNG ends without its last chunk")
		}
		n := binary.BigEndian.Uint32(rest)
		if uint64(n) > uint64(len(rest)-chunkFrame) {
			return nil, undecodable(transform.ReasonTruncated, "PNG ends within a chunk")
		}
		chunk := rest[:chunkFrame+int(n)]
		rest = rest[len(chunk):]
		name, body := string(chunk[4:8]), chunk[8:8+n]
		if crc32.ChecksumIEEE(chunk[4:8+n]) != binary.BigEndian.Uint32(chunk[8+n:]) {
			return nil, undecodable(transform.ReasonCorrupt, "PNG: wrong checksum of chunk %q", name)
		}
		closed = closed || (len(f.data) > 0 && name != "IDAT")
		switch {
		case (f.bits == 0) != (name == "IHDR"):
			return nil, undecodable(transform.ReasonCorrupt, "PNG: chunk %q out of place", name)
		case name == "IHDR":
			if err := f.parseHeader(body); err != nil {
				return nil, err
			}
		case name == "PLTE":
			if f.palette != nil || len(f.data) > 0 || n == 0 || n%3 != 0 || n > 3*256 {
				return nil, undecodable(transform.ReasonCorrupt, "PNG: bad palette")
			}
			f.palette = body
		case name == "IDAT":
			if closed {
				return nil, undecodable(transform.ReasonCorrupt, "PNG: pixels in two places")
			}
			f.data = append(f.data, body)
		case name == "IEND":
			return f, nil
		case name[0]&0x20 == 0: // a capital marks chunks that a decoder has to know
			return nil, undecodable(transform.ReasonCorrupt, "PNG: unknown chunk %q", name)
		}
	}
}

// parseHeader reads the IHDR chunk.
func (f *pngFile) parseHeader(body []byte) error {
	if len(body) != headerLen {
		return undecodable(transform.ReasonCorrupt, "PNG: bad header")
	}
	f.width = int(binary.BigEndian.Uint32(body))
	f.height = int(binary.BigEndian.Uint32(body[4:]))
	f.depth, f.color = body[8], body[9]
	allowed := map[byte]struct {
		depths   string
		channels int
	}{
		0: {"\x01\x02\x04\x08\x10", 1}, // gray
		2: {"\x08\x10", 3},             // RGB
		3: {"\x01\x02\x04\x08", 1},     // palette
		4: {"\x08\x10", 2},             // gray and alpha
		6: {"\x08\x10", 4},             // RGB and alpha
	}[f.color]
	if bytes.IndexByte([]byte(allowed.depths), f.depth) < 0 {
		return undecodable(transform.ReasonCorrupt, "PNG: color type %d with %d bits", f.color, f.depth)
	}
	if body[10] != 0 || body[11] != 0 || body[12] > 1 {
		return undecodable(transform.ReasonCorrupt, "PNG: unknown compression, filter or interlacing")
	}
	f.bits = int(f.depth) * allowed.channels
	f.interlaced = body[12] == 1
	return nil
}

// decode writes the pixels to dst, in BGR, and checks that there are as many as the header
// says.
func (f *pngFile) decode(dst view) error {
	if len(f.data) == 0 {
		return undecodable(transform.ReasonTruncated, "PNG has no pixels")
	}
	if f.palette == nil && f.color == pngPalette {
		return undecodable(transform.ReasonCorrupt, "PNG has no palette")
	}
	parts := make([]io.Reader, len(f.data))
	for i, chunk := range f.data {
		parts[i] = bytes.NewReader(chunk)
	}
	compressed := bufio.NewReader(io.MultiReader(parts...))
	err := f.inflate(compressed, dst)
	if err == nil {
		if _, err = compressed.ReadByte(); err == nil {
			return undecodable(transform.ReasonCorrupt, "PNG: bytes behind the last pixel")
		}
		return nil
	}
	reason := transform.ReasonCorrupt
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		reason = transform.ReasonTruncated
	}
	return undecodable(reason, "PNG: pixels: %w", err)
}

// inflate reads the rows of all passes and the end of the compressed stream.
func (f *pngFile) inflate(compressed io.Reader, dst view) error {
	z, err := zlib.NewReader(compressed)
	if err != nil {
		return err
	}
	rows := bufio.NewReader(z)
	write := f.rowWriter()
	pixels := unsafe.Slice((*byte)(dst.p), dst.stride*dst.size.Y)
	for _, pass := range f.passes() {
		// Of the row above the first one, all bytes are 0.
		n := (pass.size.X*f.bits + 7) / 8
		row, above := make([]byte, n), make([]byte, n)
		for y := range pass.size.Y {
			filter, err := rows.ReadByte()
			if err != nil {
				return err
			}
			if _, err := io.ReadFull(rows, row); err != nil {
				return err
			}
			if err := unfilter(filter, row, above, max(1, f.bits/8)); err != nil {
				return err
			}
			at := (pass.first.Y+y*pass.step.Y)*dst.stride + pass.first.X*dst.step
			write(pixels[at:], pass.step.X*dst.step, pass.size.X, row)
			row, above = above, row
		}
	}
	switch _, err := rows.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return errors.New("more than the header says")
	default:
		return err
	}
}

// unfilter turns a row's differences into values. They are differences to what is a pixel to
// the left, and above.
func unfilter(filter byte, row, above []byte, pixel int) error {
	above = above[:len(row)]
	switch filter {
	case 0:
	case 1:
		for i := pixel; i < len(row); i++ {
			row[i] += row[i-pixel]
		}
	case 2:
		for i, b := range above {
			row[i] += b
		}
	case 3:
		for i := range min(pixel, len(row)) {
			row[i] += above[i] / 2
		}
		for i := pixel; i < len(row); i++ {
			row[i] += byte((int(row[i-pixel]) + int(above[i])) / 2)
		}
	case 4:
		for i := range min(pixel, len(row)) {
			row[i] += above[i]
		}
		for i := pixel; i < len(row); i++ {
			row[i] += paeth(int(row[i-pixel]), int(above[i]), int(above[i-pixel]))
		}
	default:
		return errors.New("unknown filter of a row")
	}
	return nil
}

// paeth returns that of left, up and corner which is nearest to left + up - corner.
func paeth(left, up, corner int) byte {
	toLeft, toUp := up-corner, left-corner
	toCorner := toLeft + toUp
	toLeft, toUp, toCorner = max(toLeft, -toLeft), max(toUp, -toUp), max(toCorner, -toCorner)
	switch {
	case toLeft <= toUp && toLeft <= toCorner:
		return byte(left)
	case toUp <= toCorner:
		return byte(up)
	}
	return byte(corner)
}

// rowWriter returns the function that writes n pixels of a row in BGR, step bytes apart.
func (f *pngFile) rowWriter() func(dst []byte, step, n int, row []byte) {
	size, channel := f.bits/8, int(f.depth+7)/8
	switch {
	case f.color == pngRGB || f.color == pngRGBA:
		return func(dst []byte, step, n int, row []byte) {
			for i := range n {
				to, from := dst[i*step:i*step+3], row[i*size:]
				to[0], to[1], to[2] = from[2*channel], from[channel], from[0]
			}
		}
	case f.bits > 8: // gray in 16 bits, or with alpha
		return func(dst []byte, step, n int, row []byte) {
			for i := range n {
				to, gray := dst[i*step:i*step+3], row[i*size]
				to[0], to[1], to[2] = gray, gray, gray
			}
		}
	}
	colors, bits := f.colors(), f.bits
	return func(dst []byte, step, n int, row []byte) {
		for i := range n {
			at := i * bits
			v := row[at/8] >> (8 - bits - at%8) & (1<<bits - 1)
			*(*[3]byte)(dst[i*step:]) = colors[v]
		}
	}
}

// colors returns the colors of pixels of up to 8 bits, in BGR: grays from black to white, or
// the palette, and black behind its end.
func (f *pngFile) colors() (colors [256][3]byte) {
	if f.color == pngPalette {
		for i := range len(f.palette) / 3 {
			colors[i] = [3]byte{f.palette[3*i+2], f.palette[3*i+1], f.palette[3*i]}
		}
		return colors
	}
	white := 1<<f.bits - 1
	for i := range colors {
		gray := byte(min(i, white) * 255 / white)
		colors[i] = [3]byte{gray, gray, gray}
	}
	return colors
}

// A pngPass is one of the pictures that a PNG consists of: its pixels are those from first on,
// step apart.
type pngPass struct{ first, step, size image.Point }

// passes returns the passes: one, or with Adam7 interlacing up to seven.
func (f *pngFile) passes() []pngPass {
	if !f.interlaced {
		return []pngPass{{step: image.Pt(1, 1), size: image.Pt(f.width, f.height)}}
	}
	var passes []pngPass
	for _, p := range [7]struct{ x, y, dx, dy int }{
		{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2},
	} {
		size := image.Pt((f.width-p.x+p.dx-1)/p.dx, (f.height-p.y+p.dy-1)/p.dy)
		if size.X > 0 && size.Y > 0 {
			passes = append(passes, pngPass{image.Pt(p.x, p.y), image.Pt(p.dx, p.dy), size})
		}
	}
	return passes
}
