package scene

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"image"
	"image/color"
	"math"
	"time"
)

// The time code is a grid of black and white blocks in the middle of the picture, where
// both a letterbox and a centre crop keep it. Its bits, row by row, are the milliseconds
// since the Unix epoch (48 bits), the hash of the stream's name (16 bits) and a checksum
// of both (16 bits).
const (
	codeColumns = 10
	codeRows    = 8
	codeBytes   = codeColumns * codeRows / 8

	// Position and size, in fractions of the picture's width and height. In a 16:9
	// picture the blocks are squares.
	blockWidth  = 0.01875
	blockHeight = 1.0 / 30
	codeLeft    = 0.5 - codeColumns*blockWidth/2
	codeTop     = 0.40

	codeBlack, codeWhite = 24, 232
	minContrast          = 64
)

// A TimeCode is what a [Drawn] scene paints into its pictures.
type TimeCode struct {
	// Time is that of the picture, in UTC and whole milliseconds.
	Time time.Time
	// Stream is the hash of the stream's name: see [StreamHash].
	Stream uint16
}

// StreamHash returns the hash that stands for a stream in its time codes: the 32 bits of
// FNV-1a folded to 16.
func StreamHash(name string) uint16 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return uint16(h.Sum32()>>16) ^ uint16(h.Sum32())
}

// bits returns the code's blocks, packed.
func (c TimeCode) bits() [codeBytes]byte {
	var b [codeBytes]byte
	binary.BigEndian.PutUint64(b[:], uint64(c.Time.UnixMilli())<<16|uint64(c.Stream))
	binary.BigEndian.PutUint16(b[8:], codeSum(b[:8]))
	return b
}

func codeSum(b []byte) uint16 { return uint16(crc32.ChecksumIEEE(b)) }

// A View is where the whole picture of the camera lies in an image, in pixels of the
// image. It extends beyond the image if that shows only a part of the picture.
type View struct{ X, Y, W, H float64 }

// WholeView is the view of an image that shows exactly the whole picture.
func WholeView(img image.Image) View {
	b := img.Bounds()
	return View{float64(b.Min.X), float64(b.Min.Y), float64(b.Dx()), float64(b.Dy())}
}

// AffineView is the view of an image whose pixel (x, y) shows the point (a·x+c, e·y+f) of
// a picture of the given size. affine is [a b c d e f], where b and d are 0: the affine of
// a tensor; picture is its source size.
func AffineView(affine [6]float64, picture image.Point) View {
	a, c, e, f := affine[0], affine[2], affine[4], affine[5]
	return View{-c / a, -f / e, float64(picture.X) / a, float64(picture.Y) / e}
}

// ReadTimeCode reads the time code from an image that shows a picture of a [Drawn] scene,
// perhaps scaled, letterboxed or cropped, as the view says. It returns an error if there
// is no code, or if it cannot be read with certainty.
func ReadTimeCode(img image.Image, view View) (TimeCode, error) {
	var levels [codeColumns * codeRows]float64
	low, high := math.Inf(1), math.Inf(-1)
	for i := range levels {
		level, err := blockLevel(img, view, i)
		if err != nil {
			return TimeCode{}, err
		}
		levels[i] = level
		low, high = min(low, level), max(high, level)
	}
	if !(high-low >= minContrast) {
		return TimeCode{}, errors.New("no time code: its place is not black and white")
	}
	var b [codeBytes]byte
	for i, level := range levels {
		if level > (low+high)/2 {
			b[i/8] |= 0x80 >> (i % 8)
		}
	}
	if codeSum(b[:8]) != binary.BigEndian.Uint16(b[8:]) {
		return TimeCode{}, errors.New("no time code: the checksum does not match")
	}
	word := binary.BigEndian.Uint64(b[:])
	return TimeCode{time.UnixMilli(int64(word >> 16)).UTC(), uint16(word)}, nil
}

// blockLevel returns the mean brightness of the middle of block i, 0 to 255.
func blockLevel(img image.Image, v View, i int) (float64, error) {
	x := v.X + float64(v.W*(codeLeft+float64(blockWidth*(float64(i%codeColumns)+0.5))))
	y := v.Y + float64(v.H*(codeTop+float64(blockHeight*(float64(i/codeColumns)+0.5))))
	if math.IsNaN(x+y) || math.Abs(x) > 1e6 || math.Abs(y) > 1e6 {
		return 0, fmt.Errorf("the view %+v makes no sense", v)
	}
	// The middle half, and at least the pixel at the centre.
	dx, dy := float64(v.W*blockWidth/4), float64(v.H*blockHeight/4)
	r := image.Rect(int(math.Ceil(x-dx-0.5)), int(math.Ceil(y-dy-0.5)), int(x+dx+0.5), int(y+dy+0.5))
	if r.Empty() {
		r = image.Rect(int(x), int(y), int(x)+1, int(y)+1)
	}
	if !r.In(img.Bounds()) {
		return 0, fmt.Errorf("no time code: its place %v is outside of the image %v", r, img.Bounds())
	}
	sum := 0
	for py := r.Min.Y; py < r.Max.Y; py++ {
		for px := r.Min.X; px < r.Max.X; px++ {
			sum += int(color.GrayModel.Convert(img.At(px, py)).(color.Gray).Y)
		}
	}
	return float64(sum) / float64(r.Dx()*r.Dy()), nil
}
