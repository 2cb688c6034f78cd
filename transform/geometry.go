package transform

import (
	"fmt"
	"image"
	"math"
)

// maxResized limits the pixels of a resized picture. Only crop and short-side
// can exceed it, with a picture that is a thousand times longer than wide.
const maxResized = 1 << 26

// A Geometry says where the pixels of one picture go: Region of the source is
// resized to Resized, and the result is laid into a tensor of Size with its
// top-left corner at Offset. The resized picture is cut at the tensor's edges, and
// what it does not cover of the tensor is padded.
type Geometry struct {
	// Source is the size of the whole picture.
	Source image.Point
	// Region is the part of the picture that is read, in its pixels.
	Region image.Rectangle
	// Resized is the size that Region is resized to.
	Resized image.Point
	// Offset is where the resized picture begins in the tensor.
	Offset image.Point
	// Size is the tensor's width and height.
	Size image.Point
	// Affine maps points of the tensor to points of the picture. It is exact, because
	// it is computed from the rounded sizes above.
	Affine Affine
}

// Geometry works out where the pixels of a picture of the given size go. The
// spec must be valid. An error means that the picture does not suit the spec:
// no pixel of it lies in the ROI, or its shape is too extreme to be cropped.
//
// The sizes are those of the reference implementations, to the pixel:
//
//   - letterbox: Ultralytics' LetterBox with scaleup. The scale is
//     r = min(W/w, H/h), the resized picture round(w·r) × round(h·r), at least 1
//     pixel, its left edge at round((W-width)/2 - 0.1).
//   - crop: torchvision's Resize(W) and CenterCrop(W) for a square tensor: the
//     side that fits exactly is W or H, the other one is rounded down, and the
//     cut is round((side-W)/2), halves to even. For other tensors the same with
//     the side that must be exact for the picture to cover the tensor.
//   - short-side: crop, with the picture resized to cover 8/7 of W and H
//     (rounded) instead of W and H: Resize(256), CenterCrop(224).
//   - stretch: W × H.
//   - without a size: the region as it is.
func (s *Spec) Geometry(source image.Point) (Geometry, error) {
	if source.X < 1 || source.Y < 1 {
		return Geometry{}, fmt.Errorf("picture of %dx%d has no pixels", source.X, source.Y)
	}
	g := Geometry{Source: source, Region: s.ROI.region(source), Size: image.Pt(s.Width, s.Height)}
	if g.Region.Empty() {
		return Geometry{}, fmt.Errorf("roi %s holds no pixel of the %dx%d picture", s.ROI, source.X, source.Y)
	}
	from := g.Region.Size()
	switch {
	case s.Width == 0 && s.Height == 0:
		g.Size, g.Resized = from, from
	case s.Fit == Letterbox:
		g.Resized = contain(from, g.Size)
		g.Offset = image.Pt(letterboxEdge(g.Size.X-g.Resized.X), letterboxEdge(g.Size.Y-g.Resized.Y))
	case s.Fit == Stretch:
		g.Resized = g.Size
	case s.Fit == Crop:
		g.Resized = cover(from, g.Size)
		g.Offset = centre(g.Resized, g.Size)
	case s.Fit == ShortSide:
		g.Resized = cover(from, image.Pt(eightSevenths(g.Size.X), eightSevenths(g.Size.Y)))
		g.Offset = centre(g.Resized, g.Size)
	default:
		return Geometry{}, fmt.Errorf("unknown fit %q", s.Fit)
	}
	if g.Resized.X > maxResized/g.Resized.Y {
		return Geometry{}, fmt.Errorf("picture of %dx%d is too narrow to be fitted by %s: it would be resized to %dx%d",
			from.X, from.Y, s.Fit, g.Resized.X, g.Resized.Y)
	}
	g.Affine = g.affine(1)
	return g, nil
}

// Visible returns the part of the resized picture that is in the tensor, in the
// resized picture's pixels.
func (g Geometry) Visible() image.Rectangle {
	return image.Rectangle{Max: g.Size}.Sub(g.Offset).Intersect(image.Rectangle{Max: g.Resized})
}

// Shown returns the part of the picture that is in the tensor, in its pixels, rounded outward.
func (g Geometry) Shown() image.Rectangle {
	v, from := g.Visible(), g.Region.Size()
	down := func(v, from, to int) int { return v * from / to }
	up := func(v, from, to int) int { return (v*from + to - 1) / to }
	return image.Rect(
		down(v.Min.X, from.X, g.Resized.X), down(v.Min.Y, from.Y, g.Resized.Y),
		up(v.Max.X, from.X, g.Resized.X), up(v.Max.Y, from.Y, g.Resized.Y)).Add(g.Region.Min)
}

// Scaled returns the geometry for a decoder that delivers the picture scaled by
// num/denom, with its size rounded up, as libjpeg does. Region is then in the pixels
// of the scaled picture, rounded outward. Source, and the points that the affine returns,
// are still in the pixels of the whole picture.
func (g Geometry) Scaled(num, denom int) Geometry {
	down := func(v int) int { return v * num / denom }
	up := func(v int) int { return (v*num + denom - 1) / denom }
	g.Region = image.Rect(
		down(g.Region.Min.X), down(g.Region.Min.Y), up(g.Region.Max.X), up(g.Region.Max.Y))
	g.Affine = g.affine(float64(denom) / float64(num))
	return g
}

// affine returns the map from the tensor to the source, where a pixel of Region is unit
// pixels of the source wide.
func (g Geometry) affine(unit float64) Affine {
	kx := float64(g.Region.Dx()) * unit / float64(g.Resized.X)
	ky := float64(g.Region.Dy()) * unit / float64(g.Resized.Y)
	return Affine{
		kx, 0, float64(float64(g.Region.Min.X)*unit) - float64(kx*float64(g.Offset.X)),
		0, ky, float64(float64(g.Region.Min.Y)*unit) - float64(ky*float64(g.Offset.Y)),
	}
}

// contain returns the largest size with the aspect ratio of from within the box.
func contain(from, box image.Point) image.Point {
	r := min(float64(box.Y)/float64(from.Y), float64(box.X)/float64(from.X))
	side := func(v int) int { return max(int(math.RoundToEven(float64(v)*r)), 1) }
	return image.Pt(side(from.X), side(from.Y))
}

// letterboxEdge returns the first of two bars that share the given pixels.
func letterboxEdge(bars int) int { return int(math.RoundToEven(float64(float64(bars)/2) - 0.1)) }

// cover returns the smallest size with the aspect ratio of from around the box.
func cover(from, box image.Point) image.Point {
	if box.X*from.Y >= box.Y*from.X {
		return image.Pt(box.X, box.X*from.Y/from.X)
	}
	return image.Pt(box.Y*from.X/from.Y, box.Y)
}

// centre returns the offset at which the middle of resized is that of the
// tensor.
func centre(resized, tensor image.Point) image.Point {
	cut := func(v int) int { return int(math.RoundToEven(float64(v) / 2)) }
	return image.Pt(-cut(resized.X-tensor.X), -cut(resized.Y-tensor.Y))
}

// eightSevenths returns v·8/7, rounded: 256 for 224.
func eightSevenths(v int) int { return (16*v + 7) / 14 }
