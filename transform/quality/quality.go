// Package quality measures how good a picture is, by its brightness at an eighth of its size:
// what [opencv.Worker.Kept] has after a picture was decoded, and what the change gates compare.
//
//	look, ok := quality.Measure(luma, nil)
//	if ok && look.Contrast < 2 { … }
//	same := quality.Similarity(&look.Thumb, &usual.Thumb)
//
// The functions are pure, have no clock, and allocate nothing. What follows from the measures
// over time, such as that a camera is covered, is decided by internal/camerahealth.
//
// [opencv.Worker.Kept]: https://pkg.go.dev/github.com/cvfeeder/cvfeeder/transform/opencv#Worker.Kept
package quality

import (
	"image"
	"math"
)

// The size of a [Thumb].
const (
	Width  = 32
	Height = 18
)

// A Thumb is a picture of Width x Height parts, row by row: the mean brightness of each, 0 to
// 255. It is so small that thousands of streams can keep several.
type Thumb [Width * Height]uint8

// Measures are how good a picture is. A level is a step of brightness, 0 to 255; a block has
// 8x8 pixels.
type Measures struct {
	// Mean is the mean brightness, in levels.
	Mean float64
	// Contrast is the standard deviation of the blocks' brightness, in levels: the RMS contrast
	// (Peli, "Contrast in complex images", JOSA A 7, 1990).
	Contrast float64
	// Spread is the distance between the brightness that a tenth of the blocks do not reach, and
	// that which a tenth exceed, in levels. Unlike Contrast, it does not see a line of text.
	Spread float64
	// Sharpness is the variance of the Laplacian of the blocks' brightness, in levels squared
	// (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study",
	// ICPR 2000). At an eighth of the size, the quality of a JPEG hardly matters to it.
	Sharpness float64
	// Clipped is the share of blocks whose brightness is at either end of its range, 0 to 1.
	Clipped float64
}

// ends is how many levels at either end of the range are taken for clipped.
const ends = 4

// tilesAcross is how many tiles there are across and down, each with a print.
const tilesAcross = 4

// Tiles is how many parts of a picture have a print.
const Tiles = tilesAcross * tilesAcross

// Prints are a number for each tile of a picture that differs, most likely, if any block of the
// tile does. 0 is that of a tile most of which is clipped, hidden or without any block: it says
// nothing, because such a tile may well look the same all the time.
type Prints [Tiles]uint32

// A Look is all that is kept of a picture.
type Look struct {
	Measures
	Thumb  Thumb
	Prints Prints
}

// Measure measures a picture. luma is the brightness of its blocks. hidden, unless nil, has the
// blocks that do not count, and is of the same size. It returns false if less than a tenth of the
// picture counts.
func Measure(luma *image.Gray, hidden *Mask) (l Look, ok bool) {
	w, h := luma.Rect.Dx(), luma.Rect.Dy()
	if hidden != nil && hidden.Size() != luma.Rect.Size() {
		panic("quality: the mask is not of the picture's size")
	}
	m := picture{pix: luma.Pix, w: w, h: h, stride: luma.Stride, hidden: hidden, step: 1 + w*h/mostBlocks}
	var counts [256]int32
	m.count(&counts)
	n := l.levels(&counts)
	if n == 0 || n*10*m.step < w*h {
		return Look{}, false
	}
	l.Sharpness = m.sharpness()
	m.shrink(&l.Thumb, uint8(math.Round(l.Mean)))
	l.Prints = m.prints()
	return l, true
}

// levels sets what follows from how many blocks have each brightness, and returns how many
// blocks there are.
func (m *Measures) levels(counts *[256]int32) int {
	var n, sum, squares, clipped int
	for v, c := range counts {
		n += int(c)
		sum += v * int(c)
		squares += v * v * int(c)
		if v < ends || v > 255-ends {
			clipped += int(c)
		}
	}
	if n == 0 {
		return 0
	}
	mean := float64(sum) / float64(n)
	m.Mean, m.Clipped = mean, float64(clipped)/float64(n)
	m.Contrast = math.Sqrt(max(0, float64(squares)/float64(n)-float64(mean*mean)))
	m.Spread = float64(quantile(counts, n-n/10) - quantile(counts, n/10+1))
	return n
}

// quantile returns the brightness that the k-th darkest block has.
func quantile(counts *[256]int32, k int) int {
	for v, c := range counts {
		if k -= int(c); k <= 0 {
			return v
		}
	}
	return 255
}

// soft is the gradient, in levels, that counts half: what is steeper counts little more, so that a
// lamp does not outweigh all else, and noise hardly counts. faint is the length that gradients are
// taken to have at least, in the mean, for the shapes to be more than noise.
const (
	soft  = 4
	faint = 0.1
)

// Similarity tells how much alike the shapes in two thumbs are: 1 is the same, 0 has nothing in
// common. Light does not matter to it, nor whether a surface is brighter or darker than what is
// beside it, as when a camera switches to infrared.
//
// It is the larger of two normalized correlations. One is that of the gradients, with their lengths
// bounded (orientation correlation: Fitch et al., "Orientation correlation", BMVC 2002): it is not
// misled by the brightness that skies and grounds have in common. The other is that of the lengths
// alone.
func Similarity(a, b *Thumb) float64 {
	var aa, bb, ab, la, lb, lala, lblb, lalb float64
	const n = (Width - 2) * (Height - 2)
	for y := 1; y < Height-1; y++ {
		for x := 1; x < Width-1; x++ {
			i := y*Width + x
			ax, ay, ra := gradient(a, i)
			bx, by, rb := gradient(b, i)
			aa += float64(ax*ax) + float64(ay*ay)
			bb += float64(bx*bx) + float64(by*by)
			ab += float64(ax*bx) + float64(ay*by)
			la += ra
			lb += rb
			lala += float64(ra * ra)
			lblb += float64(rb * rb)
			lalb += float64(ra * rb)
		}
	}
	const least = n * faint * faint
	signed := ab / math.Sqrt(max(aa, least)*max(bb, least))
	va, vb := max(lala-float64(la*la/n), least/4), max(lblb-float64(lb*lb/n), least/4)
	return max(0, signed, (lalb-float64(la*lb/n))/math.Sqrt(va*vb))
}

// Shapes tells how much of shapes there is in a thumb: the mean of the bounded lengths of its
// gradients, 0 to 1. Rounding alone makes a tenth.
func Shapes(t *Thumb) float64 {
	sum := 0.0
	for y := 1; y < Height-1; y++ {
		for x := 1; x < Width-1; x++ {
			_, _, length := gradient(t, y*Width+x)
			sum += length
		}
	}
	return sum / ((Width - 2) * (Height - 2))
}

// gradient returns the gradient at a part and its length, of 0 to 1. Lengths are sums of absolute
// values, which take less time than roots.
func gradient(t *Thumb, i int) (x, y, length float64) {
	dx, dy := slope(t, i, 1), slope(t, i, Width)
	long := max(dx, -dx) + max(dy, -dy)
	scale := bounded[long]
	return float64(dx) * scale, float64(dy) * scale, float64(long) * scale
}

// bounded is what gradients of each length are multiplied by.
var bounded = func() (scale [2*255 + 1]float64) { //nolint:gochecknoglobals // a constant
	for long := range scale {
		scale[long] = 1 / float64(long+soft)
	}
	return scale
}()

// slope returns the difference of the neighbours of a part, which are step apart from it.
func slope(t *Thumb, i, step int) int { return int(t[i+step]) - int(t[i-step]) }

// Difference returns by how many levels the parts of two thumbs differ in the mean.
func Difference(a, b *Thumb) float64 {
	sum := 0
	for i, v := range a {
		d := int(v) - int(b[i])
		sum += max(d, -d)
	}
	return float64(sum) / float64(len(a))
}

// Shift tells by which share the picture as a whole became brighter since the one before it, or
// darker where it is negative; 0 where less than seven tenths of it did so. A part counts if it
// changed by three levels at least.
func Shift(before, now *Thumb) float64 {
	const least = 3
	var up, down, was, is int
	for i, v := range now {
		switch d := int(v) - int(before[i]); {
		case d >= least:
			up++
		case d <= -least:
			down++
		}
		was += int(before[i])
		is += int(v)
	}
	if was+is == 0 || max(up, down)*10 < 7*len(now) {
		return 0
	}
	return float64(is-was) / (float64(is+was) / 2)
}

// Same tells whether a picture is the very same as the one before it, but for what is as small as
// a clock that is written into it. It is false for pictures that are clipped all over, which say
// nothing.
func (p *Prints) Same(before *Prints) bool {
	telling, same := 0, 0
	for i, v := range p {
		if v == 0 && before[i] == 0 {
			continue
		}
		telling++
		if v == before[i] {
			same++
		}
	}
	return telling > 0 && telling-same <= telling/8
}
