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

	"gocv.io/x/gocv"

	"github.com/cvfeeder/cvfeeder/transform"
)

// decodePNG decodes a PNG with OpenCV, after all of it has been checked: OpenCV would
// fill missing pixels with black. It is given only the chunks that make up the pixels.
func (w *Worker) decodePNG(data []byte, outs []*transform.Output) (picture, error) {
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
	if err := f.checkPixels(); err != nil {
		return picture{}, err
	}
	p := picture{full: size, eighths: 8}
	if p.view, err = w.pixels.picture(size, 3); err != nil {
		return picture{}, err
	}
	w.png = f.appendCritical(w.png[:0])
	if err := decodeInto(w.png, p.view); err != nil {
		return picture{}, err
	}
	if all := w.meter.resizings(p, outs); len(all) > 0 {
		return w.feed(&w.rows, p.view, p, all)
	}
	return p, nil
}

// decodeInto has OpenCV decode a picture of dst's size into dst, in BGR.
func decodeInto(data []byte, dst view) error {
	return withMat(dst, func(m *gocv.Mat) error {
		// imdecode uses the memory of a Mat that has the right size and type.
		if err := gocv.IMDecodeIntoMat(data, gocv.IMReadColor, m); err != nil {
			return &transform.DecodeError{Reason: transform.ReasonCorrupt, Err: err}
		}
		if m.Empty() {
			return undecodable(transform.ReasonCorrupt, "PNG: OpenCV could not decode it")
		}
		pixels, err := m.DataPtrUint8()
		if err != nil || unsafe.Pointer(&pixels[0]) != dst.p {
			return errors.New("opencv: imdecode did not use the memory it was given")
		}
		return nil
	})
}

// A pngFile is a PNG whose chunks have been checked.
type pngFile struct {
	width, height int
	bits          int // of a pixel
	interlaced    bool

	header, palette []byte // whole chunks, with length and checksum
	data            [][]byte
}

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
		case (f.header == nil) != (name == "IHDR"):
			return nil, undecodable(transform.ReasonCorrupt, "PNG: chunk %q out of place", name)
		case name == "IHDR":
			if err := f.parseHeader(chunk, body); err != nil {
				return nil, err
			}
		case name == "PLTE":
			if f.palette != nil || len(f.data) > 0 || n == 0 || n%3 != 0 || n > 3*256 {
				return nil, undecodable(transform.ReasonCorrupt, "PNG: bad palette")
			}
			f.palette = chunk
		case name == "IDAT":
			if closed {
				return nil, undecodable(transform.ReasonCorrupt, "PNG: pixels in two places")
			}
			f.data = append(f.data, chunk)
		case name == "IEND":
			return f, nil
		case name[0]&0x20 == 0: // a capital marks chunks that a decoder has to know
			return nil, undecodable(transform.ReasonCorrupt, "PNG: unknown chunk %q", name)
		}
	}
}

// parseHeader reads the IHDR chunk.
func (f *pngFile) parseHeader(chunk, body []byte) error {
	if len(body) != headerLen {
		return undecodable(transform.ReasonCorrupt, "PNG: bad header")
	}
	f.header = chunk
	f.width = int(binary.BigEndian.Uint32(body))
	f.height = int(binary.BigEndian.Uint32(body[4:]))
	depth, color := body[8], body[9]
	allowed := map[byte]struct {
		depths   string
		channels int
	}{
		0: {"\x01\x02\x04\x08\x10", 1}, // gray
		2: {"\x08\x10", 3},             // RGB
		3: {"\x01\x02\x04\x08", 1},     // palette
		4: {"\x08\x10", 2},             // gray and alpha
		6: {"\x08\x10", 4},             // RGB and alpha
	}[color]
	if bytes.IndexByte([]byte(allowed.depths), depth) < 0 {
		return undecodable(transform.ReasonCorrupt, "PNG: color type %d with %d bits", color, depth)
	}
	if body[10] != 0 || body[11] != 0 || body[12] > 1 {
		return undecodable(transform.ReasonCorrupt, "PNG: unknown compression, filter or interlacing")
	}
	f.bits = int(depth) * allowed.channels
	f.interlaced = body[12] == 1
	return nil
}

// checkPixels inflates the pixels, without keeping them, and checks that there are
// as many as the header says.
func (f *pngFile) checkPixels() error {
	if len(f.data) == 0 {
		return undecodable(transform.ReasonTruncated, "PNG has no pixels")
	}
	if f.palette == nil && f.header[8+9] == 3 {
		return undecodable(transform.ReasonCorrupt, "PNG has no palette")
	}
	parts := make([]io.Reader, len(f.data))
	for i, chunk := range f.data {
		parts[i] = bytes.NewReader(chunk[8 : len(chunk)-4])
	}
	compressed := bufio.NewReader(io.MultiReader(parts...))
	err := f.inflate(compressed)
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
func (f *pngFile) inflate(compressed io.Reader) error {
	z, err := zlib.NewReader(compressed)
	if err != nil {
		return err
	}
	rows := bufio.NewReader(z)
	for _, pass := range f.passes() {
		bytesPerRow := (pass.X*f.bits + 7) / 8
		for range pass.Y {
			filter, err := rows.ReadByte()
			if err != nil {
				return err
			}
			if filter > 4 {
				return errors.New("unknown filter of a row")
			}
			if _, err := rows.Discard(bytesPerRow); err != nil {
				return err
			}
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

// passes returns the sizes of the pictures that a PNG consists of: one, or with Adam7
// interlacing up to seven.
func (f *pngFile) passes() []image.Point {
	if !f.interlaced {
		return []image.Point{{f.width, f.height}}
	}
	var sizes []image.Point
	for _, p := range [7]struct{ x, y, dx, dy int }{
		{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2},
	} {
		size := image.Pt((f.width-p.x+p.dx-1)/p.dx, (f.height-p.y+p.dy-1)/p.dy)
		if size.X > 0 && size.Y > 0 {
			sizes = append(sizes, size)
		}
	}
	return sizes
}

// appendCritical appends a PNG that has only the chunks which make up the pixels, in a form
// in which libpng has nothing to remark about them: OpenCV lets it write that to standard
// error. A palette has as many colors as the pixels can name, black where the PNG has none.
// The window of the compressed data is the largest, whatever its header says.
func (f *pngFile) appendCritical(b []byte) []byte {
	b = append(b, pngMagic...)
	b = append(b, f.header...)
	if f.header[8+9] == 3 {
		colors := make([]byte, 3<<f.bits)
		copy(colors, f.palette[8:len(f.palette)-4])
		b = appendChunk(b, "PLTE", colors)
	}
	parts := make([][]byte, len(f.data))
	for i, chunk := range f.data {
		parts[i] = chunk[8 : len(chunk)-4]
	}
	at := len(b) + 8
	b = appendChunk(b, "IDAT", parts...)
	b[at], b[at+1] = 0x78, 0x01 // deflate with 32 KiB; a check that makes it a multiple of 31
	b = binary.BigEndian.AppendUint32(b[:len(b)-4], crc32.ChecksumIEEE(b[at-4:len(b)-4]))
	return append(b, "\x00\x00\x00\x00IEND\xae\x42\x60\x82"...)
}

// appendChunk appends a chunk of a PNG, with the data in parts.
func appendChunk(b []byte, name string, parts ...[]byte) []byte {
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	at := len(b)
	b = append(b, name...)
	for _, part := range parts {
		b = append(b, part...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[at:]))
}
