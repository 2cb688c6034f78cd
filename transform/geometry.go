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
	// it is computed from the rounded sizes above, and knows which pixels of the picture the
	// resampling method looks at.
	Affine Affine

	resize Resize
}

// Geometry works out where the pixels of a picture of the given size go. The
// spec must be valid. An error means that the picture does not suit the spec:
// no pixel of it lies in the ROI, or its shape is too extreme to be cropped. A spec that is not
// valid gets an error or a geometry of no use, and never a panic.
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
//   - short-side: crop, with the picture resized to cover ResizeTo, or floor(W/CropRatio)
//     and floor(H/CropRatio) as timm does, or 8/7 of W and H (rounded):
//     Resize(256), CenterCrop(224). Without a size, the tensor is what is resized: that is
//     get_size_with_aspect_ratio of transformers' DETR, with its longest_edge MaxSide.
//   - stretch: ResizeTo, out of which W × H is cut; or W × H.
//   - long-side: letterbox in the box ResizeTo, without the bars.
//   - smart-resize: smart_resize of transformers' Qwen2VLImageProcessor.
//   - without a size: the region as it is.
//
// What is smaller than the tensor is padded: Letterbox as said, or at the right and at the
// bottom with TopLeft; otherwise as torchvision's CenterCrop does.
//
// With Tiles, it is the geometry of the first one.
func (s *Spec) Geometry(source image.Point) (Geometry, error) {
	all, err := s.Geometries(source)
	if err != nil {
		return Geometry{}, err
	}
	return all[0], nil
}

// Geometries works out where the pixels of a picture go in each of the tensor's pictures: of
// one, as [Spec.Geometry], or of each of the tiles. All of them have the same sizes and offset.
func (s *Spec) Geometries(source image.Point) ([]Geometry, error) {
	if source.X < 1 || source.Y < 1 {
		return nil, fmt.Errorf("picture of %dx%d has no pixels", source.X, source.Y)
	}
	region := s.ROI.region(source)
	if region.Empty() {
		return nil, fmt.Errorf("roi %s holds no pixel of the %dx%d picture", s.ROI, source.X, source.Y)
	}
	if err := s.Tiles.validate(); err != nil {
		return nil, fmt.Errorf("tiles: %w", err)
	}
	tiles, err := s.Tiles.tiles(region)
	if err != nil {
		return nil, err
	}
	first, err := s.geometry(source, tiles[0])
	if err != nil {
		return nil, err
	}
	all := make([]Geometry, len(tiles))
	for i, tile := range tiles {
		all[i] = first
		all[i].Region = tile
		all[i].Affine = all[i].affine(1)
	}
	return all, nil
}

// geometry returns the geometry of a region of the picture.
func (s *Spec) geometry(source image.Point, region image.Rectangle) (Geometry, error) {
	g := Geometry{Source: source, Region: region, resize: s.Resize}
	from := g.Region.Size()
	var err error
	if g.Resized, err = s.resized(from); err != nil {
		return Geometry{}, err
	}
	if g.Resized.X < 1 || g.Resized.Y < 1 || s.Width < 0 || s.Height < 0 || (s.Width == 0) != (s.Height == 0) {
		return Geometry{}, fmt.Errorf("picture of %dx%d would be resized to %dx%d for a tensor of %dx%d: the spec is not valid, Validate says why",
			from.X, from.Y, g.Resized.X, g.Resized.Y, s.Width, s.Height)
	}
	if g.Resized.X > maxResized/g.Resized.Y {
		return Geometry{}, fmt.Errorf("picture of %dx%d is too narrow to be fitted by %s: it would be resized to %dx%d",
			from.X, from.Y, s.Fit, g.Resized.X, g.Resized.Y)
	}
	g.Size = image.Pt(s.Width, s.Height)
	if g.Size == (image.Point{}) {
		g.Size = image.Pt(multiple(g.Resized.X, s.MultipleOf), multiple(g.Resized.Y, s.MultipleOf))
		if s.ComputesSize() && max(g.Size.X, g.Size.Y) > maxSide {
			return Geometry{}, fmt.Errorf("picture of %dx%d is too narrow to be fitted by %s: the tensor would be %dx%d, and its sides are at most %d",
				from.X, from.Y, s.Fit, g.Size.X, g.Size.Y, maxSide)
		}
	}
	g.Offset = image.Pt(s.edge(g.Resized.X, g.Size.X), s.edge(g.Resized.Y, g.Size.Y))
	return g, nil
}

// ComputesSize tells whether the tensor's size is neither given nor the picture's own, but
// follows from it.
func (s *Spec) ComputesSize() bool {
	return s.Width == 0 && s.Height == 0 && (s.ResizeTo != image.Point{} || s.Fit == SmartResize)
}

// resized returns the size that a picture is resized to.
func (s *Spec) resized(from image.Point) (image.Point, error) {
	size := image.Pt(s.Width, s.Height)
	switch {
	case size == image.Point{} && !s.ComputesSize():
		return from, nil
	case oneOf(s.Fit, Fits()) != nil:
		return image.Point{}, fmt.Errorf("unknown fit %q", s.Fit)
	case s.Fit == Letterbox:
		return s.contain(from, size), nil
	case s.Fit == LongSide:
		return s.contain(from, s.ResizeTo), nil
	case s.Fit == Crop:
		return s.cover(from, size), nil
	case s.Fit == SmartResize:
		return s.smart(from)
	case s.Fit == ShortSide && s.MaxSide > 0:
		return s.shortest(from), nil
	}
	box := s.ResizeTo
	switch {
	case box != image.Point{}:
	case s.CropRatio > 0:
		box = image.Pt(int(math.Floor(float64(size.X)/s.CropRatio)), int(math.Floor(float64(size.Y)/s.CropRatio)))
	case s.Fit == ShortSide:
		box = image.Pt(eightSevenths(size.X), eightSevenths(size.Y))
	default:
		box = size
	}
	if s.Fit == Stretch {
		return box, nil
	}
	return s.cover(from, box), nil
}

// edge returns where a side of the resized picture begins in a side of the tensor.
func (s *Spec) edge(resized, tensor int) int {
	switch {
	case s.Align == TopLeft && resized <= tensor:
		return 0
	case resized <= tensor && (s.Fit == Letterbox || s.ComputesSize()):
		return letterboxEdge(tensor - resized)
	case resized <= tensor:
		return (tensor - resized) / 2
	case s.CropRounding == Floor:
		return -((resized - tensor) / 2)
	}
	return -int(math.RoundToEven(float64(resized-tensor) / 2))
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

// Shown returns the part of a picture of the given size that is in its tensor, in its pixels,
// rounded outward. The error is that of [Spec.Geometries].
func (s *Spec) Shown(source image.Point) (shown image.Rectangle, err error) {
	all, err := s.Geometries(source)
	for _, g := range all {
		shown = shown.Union(g.Shown())
	}
	return shown, err
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
	from := g.Region.Size()
	kx := float64(from.X) * unit / float64(g.Resized.X)
	ky := float64(from.Y) * unit / float64(g.Resized.Y)
	dx, dy := g.resize.shift(from, g.Resized)
	left, top := float64(g.Region.Min.X)+dx, float64(g.Region.Min.Y)+dy
	return Affine{
		kx, 0, float64(left*unit) - float64(kx*float64(g.Offset.X)),
		0, ky, float64(top*unit) - float64(ky*float64(g.Offset.Y)),
	}
}

// contain returns the largest size with the aspect ratio of from within the box.
func (s *Spec) contain(from, box image.Point) image.Point {
	r := min(float64(box.Y)/float64(from.Y), float64(box.X)/float64(from.X))
	if s.NoScaleUp {
		r = min(r, 1)
	}
	return image.Pt(s.side(float64(float64(from.X)*r)), s.side(float64(float64(from.Y)*r)))
}

// side rounds a side of a picture in a box.
func (s *Spec) side(v float64) int {
	switch s.SizeRounding {
	case Floor:
		v = math.Floor(v)
	case HalfUp:
		v = math.Floor(v + 0.5)
	default:
		v = math.RoundToEven(v)
	}
	return max(int(v), 1)
}

// letterboxEdge returns the first of two bars that share the given pixels.
func letterboxEdge(bars int) int { return int(math.RoundToEven(float64(float64(bars)/2) - 0.1)) }

// cover returns the smallest size with the aspect ratio of from around the box.
func (s *Spec) cover(from, box image.Point) image.Point {
	if box.X*from.Y >= box.Y*from.X {
		return image.Pt(box.X, s.other(box.X*from.Y, from.X))
	}
	return image.Pt(s.other(box.Y*from.X, from.Y), box.Y)
}

// other rounds the other side of a picture around a box, num/denom.
func (s *Spec) other(num, denom int) int {
	if s.SizeRounding == "" {
		return num / denom
	}
	return s.side(float64(num) / float64(denom))
}

// shortest returns the size whose short side is that of ResizeTo, unless the long side would
// then be longer than MaxSide.
func (s *Spec) shortest(from image.Point) image.Point {
	short, long := float64(min(from.X, from.Y)), float64(max(from.X, from.Y))
	side := float64(min(s.ResizeTo.X, s.ResizeTo.Y))
	raw := side
	if long/short*side > float64(s.MaxSide) {
		raw = float64(s.MaxSide) * short / long
		side = math.RoundToEven(raw)
	}
	if side == short {
		return from
	}
	a, b := max(int(side), 1), max(int(raw*long/short), 1)
	if from.X < from.Y {
		return image.Pt(a, b)
	}
	return image.Pt(b, a)
}

// maxAspect is the longest shape that smart takes, as its reference.
const maxAspect = 200

// smart returns the size of SmartResize.
func (s *Spec) smart(from image.Point) (image.Point, error) {
	if max(from.X, from.Y) > maxAspect*min(from.X, from.Y) {
		return image.Point{}, fmt.Errorf("picture of %dx%d is too narrow to be fitted by %s: at most %d times as long as wide", from.X, from.Y, s.Fit, maxAspect)
	}
	f := float64(max(s.MultipleOf, 1))
	w, h := float64(from.X), float64(from.Y)
	x, y := math.RoundToEven(w/f)*f, math.RoundToEven(h/f)*f
	switch {
	case s.MaxPixels > 0 && x*y > float64(s.MaxPixels):
		beta := math.Sqrt(w * h / float64(s.MaxPixels))
		x, y = math.Floor(w/beta/f)*f, math.Floor(h/beta/f)*f
	case s.MinPixels > 0 && x*y < float64(s.MinPixels):
		beta := math.Sqrt(float64(s.MinPixels) / (w * h))
		x, y = math.Ceil(w*beta/f)*f, math.Ceil(h*beta/f)*f
	}
	return image.Pt(int(max(x, f)), int(max(y, f))), nil
}

// multiple rounds a side up to a multiple of n.
func multiple(side, n int) int {
	n = max(n, 1)
	return (side + n - 1) / n * n
}

// eightSevenths returns v·8/7, rounded: 256 for 224.
func eightSevenths(v int) int { return (16*v + 7) / 14 }
