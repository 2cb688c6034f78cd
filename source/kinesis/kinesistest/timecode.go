package kinesistest

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

// The time code is a grid of black and white blocks in the middle of the picture,
// where a letterbox and a centre crop both keep it. Its bits, row by row, are the
// milliseconds since the Unix epoch (48), the hash of the stream's name (16) and a
// check sum of these (16).
const (
	codeColumns = 10
	codeRows    = 8
	codeBytes   = codeColumns * codeRows / 8

	// Place and size, in fractions of the picture's width and height. In a picture
	// of 16:9 the blocks are squares.
	blockWidth  = 0.01875
	blockHeight = 1.0 / 30
	codeLeft    = 0.5 - codeColumns*blockWidth/2
	codeTop     = 0.40

	codeBlack, codeWhite = 24, 232
	minContrast          = 64
)

// A TimeCode is what a [Drawn] scene writes into its pictures.
type TimeCode struct {
	// Time is the picture's, in UTC and whole milliseconds.
	Time time.Time
	// Stream is the hash of the stream's name: see [StreamHash].
	Stream uint16
}

// StreamHash returns the hash by which a time code names its stream: the 16 bits
// to which FNV-1a's 32 fold.
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

// A View is where the whole picture of the camera lies in an image, in the
// image's pixels. It reaches beyond the image where that shows only a part.
type View struct{ X, Y, W, H float64 }

// WholeView is the view of an image that shows all of the picture, and nothing
// else.
func WholeView(img image.Image) View {
	b := img.Bounds()
	return View{float64(b.Min.X), float64(b.Min.Y), float64(b.Dx()), float64(b.Dy())}
}

// AffineView is the view of an image whose pixel (x, y) shows the point (a·x+c,
// e·y+f) of a picture of the given size, where affine is [a b c d e f] and b and
// d are 0: a tensor's affine and source size.
func AffineView(affine [6]float64, picture image.Point) View {
	a, c, e, f := affine[0], affine[2], affine[4], affine[5]
	return View{-c / a, -f / e, float64(picture.X) / a, float64(picture.Y) / e}
}

// ReadTimeCode reads the code out of an image that shows a picture of a [Drawn]
// scene: decoded, scaled, letterboxed or cropped, as the view tells. It returns an
// error where there is no code, or it cannot be read with certainty.
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
		return TimeCode{}, errors.New("no time code: there is nothing black and white in its place")
	}
	var b [codeBytes]byte
	for i, level := range levels {
		if level > (low+high)/2 {
			b[i/8] |= 0x80 >> (i % 8)
		}
	}
	if codeSum(b[:8]) != binary.BigEndian.Uint16(b[8:]) {
		return TimeCode{}, errors.New("no time code: the check sum does not match")
	}
	word := binary.BigEndian.Uint64(b[:])
	return TimeCode{time.UnixMilli(int64(word >> 16)).UTC(), uint16(word)}, nil
}

// blockLevel returns the mean brightness of the middle of block i, 0 to 255.
func blockLevel(img image.Image, v View, i int) (float64, error) {
	x := v.X + v.W*(codeLeft+blockWidth*(float64(i%codeColumns)+0.5))
	y := v.Y + v.H*(codeTop+blockHeight*(float64(i/codeColumns)+0.5))
	if math.IsNaN(x+y) || math.Abs(x) > 1e6 || math.Abs(y) > 1e6 {
		return 0, fmt.Errorf("the view %+v makes no sense", v)
	}
	// The middle half, and at least the pixel at the centre.
	dx, dy := v.W*blockWidth/4, v.H*blockHeight/4
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
