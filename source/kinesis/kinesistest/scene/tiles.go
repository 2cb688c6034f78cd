package scene

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"image"
	"image/jpeg"
)

const (
	mcu           = 16 // pixels on each side of a JPEG's unit, with 4:2:0 colour
	tileUnits     = 20 // units in a tile, at most
	tileCacheSize = 32 << 20
)

// A tiler encodes JPEGs of a scene that mostly stands still at a fraction of the cost:
// tiles that have been seen before are not encoded again.
//
// It uses JPEG's restart intervals (ITU-T T.81, E.1.4 and F.1.1.5): after a restart marker
// the decoder starts anew at a byte boundary. So the scan of a tile that was encoded as a
// picture of its own, with the same tables, is a valid interval of the whole picture's
// scan. A tile is one unit high, and its width divides that of the picture.
type tiler struct {
	seed  maphash.Seed
	cache *cache
}

func newTiler() *tiler { return &tiler{maphash.MakeSeed(), newCache(tileCacheSize)} }

// encode returns the picture as a JPEG that decodes to the same pixels as one of
// image/jpeg. The picture is 4:2:0, and its origin is (0, 0).
func (t *tiler) encode(m *image.YCbCr, quality int) ([]byte, error) {
	size := m.Rect.Size()
	perRow := (size.X + mcu - 1) / mcu
	units := tileWidth(perRow)
	var buf, scratch bytes.Buffer
	interval := 0
	for y := 0; y < size.Y; y += mcu {
		for x := 0; x < size.X; x += units * mcu {
			tile := m.SubImage(image.Rect(x, y, x+units*mcu, y+mcu)).(*image.YCbCr)
			if interval == 0 {
				header, err := scanHeader(&scratch, tile, quality, size, units)
				if err != nil {
					return nil, err
				}
				buf.Write(header)
			} else {
				buf.Write([]byte{0xff, 0xd0 + byte((interval-1)%8)}) // RST0 to RST7
			}
			scan, err := t.scan(&scratch, tile, quality)
			if err != nil {
				return nil, err
			}
			buf.Write(scan)
			interval++
		}
	}
	buf.Write([]byte{0xff, 0xd9}) // EOI
	return buf.Bytes(), nil
}

// tileWidth returns the width in units of the widest tile that divides a row.
func tileWidth(perRow int) int {
	for n := tileUnits; n >= tileUnits/4; n-- {
		if perRow%n == 0 {
			return n
		}
	}
	return perRow
}

// scan returns the tile's entropy-coded data.
func (t *tiler) scan(scratch *bytes.Buffer, tile *image.YCbCr, quality int) ([]byte, error) {
	key := t.key(tile, quality)
	if scan := t.cache.get(key); scan != nil {
		return scan, nil
	}
	data, start, _, err := encodeTile(scratch, tile, quality)
	if err != nil {
		return nil, err
	}
	scan := bytes.Clone(data[start : len(data)-2])
	t.cache.add(key, scan)
	return scan, nil
}

// key identifies the pixels of a tile and their encoding.
func (t *tiler) key(tile *image.YCbCr, quality int) string {
	var h maphash.Hash
	h.SetSeed(t.seed)
	w, rows := tile.Rect.Dx(), tile.Rect.Dy()
	for y := range rows {
		h.Write(tile.Y[y*tile.YStride:][:w])
	}
	for y := range (rows + 1) / 2 {
		h.Write(tile.Cb[y*tile.CStride:][:(w+1)/2])
		h.Write(tile.Cr[y*tile.CStride:][:(w+1)/2])
	}
	key := binary.LittleEndian.AppendUint64(nil, h.Sum64())
	return string(append(key, byte(quality), byte(rows), byte(w>>8), byte(w)))
}

// scanHeader returns everything before the scan of the whole picture's JPEG: the header of
// the tile's JPEG, with the picture's size and the restart interval.
func scanHeader(scratch *bytes.Buffer, tile *image.YCbCr, quality int, size image.Point, units int) ([]byte, error) {
	data, start, frame, err := encodeTile(scratch, tile, quality)
	if err != nil {
		return nil, err
	}
	header := bytes.Clone(data[:start])
	// SOF0: marker, length, precision, height, width.
	binary.BigEndian.PutUint16(header[frame+5:], uint16(size.Y))
	binary.BigEndian.PutUint16(header[frame+7:], uint16(size.X))
	restart := []byte{0xff, 0xdd, 0, 4, byte(units >> 8), byte(units)} // DRI
	return append(append(bytes.Clone(header[:2]), restart...), header[2:]...), nil
}

// encodeTile returns the tile as a JPEG of its own, in the memory of scratch, and the
// offsets of its scan's data and of its frame header.
func encodeTile(scratch *bytes.Buffer, tile *image.YCbCr, quality int) (data []byte, scan, frame int, err error) {
	scratch.Reset()
	if err := jpeg.Encode(scratch, tile, &jpeg.Options{Quality: quality}); err != nil {
		return nil, 0, 0, err
	}
	data = scratch.Bytes()
	scan, frame, err = findScan(data)
	return data, scan, frame, err
}

// findScan returns the offsets of a JPEG's scan data and of its frame header.
func findScan(data []byte) (scan, frame int, err error) {
	for at := 2; at+4 <= len(data); {
		length := int(binary.BigEndian.Uint16(data[at+2:]))
		switch data[at+1] {
		case 0xc0:
			frame = at
		case 0xda:
			return at + 2 + length, frame, nil
		}
		at += 2 + length
	}
	return 0, 0, errors.New("no scan in the tile's JPEG")
}
