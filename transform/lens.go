package transform

import (
	"errors"
	"fmt"
	"image"
	"math"
	"strconv"
	"strings"
)

// A LensModel says how a lens draws.
type LensModel string

// The lens models.
const (
	// Pinhole is OpenCV's model of cv2.calibrateCamera.
	Pinhole LensModel = "pinhole"
	// Fisheye is OpenCV's model of cv2.fisheye.calibrate.
	Fisheye LensModel = "fisheye"
	// Homography is a projection of one plane to another.
	Homography LensModel = "homography"
)

// A Lens is how a camera's pictures are rectified: straight lines become straight, or a plane is
// seen from above. Pixels are counted as OpenCV does, whose (0, 0) is the middle of the top-left
// pixel.
type Lens struct {
	Model LensModel
	// Size is that of the pictures that the camera was calibrated with. The numbers are scaled
	// to that of each picture.
	Size image.Point
	// Matrix is fx, fy, cx and cy of the camera matrix, and New that of the rectified picture; all
	// zeros: as Matrix.
	Matrix, New [4]float64
	// Distortion has the coefficients in OpenCV's order: 4, 5 or 8 of a pinhole, k1, k2, p1, p2,
	// k3 to k6; 4 of a fisheye, k1 to k4.
	Distortion []float64
	// Plane is the homography, by rows, from the picture to the rectified one, whose size is
	// Output: only of that model.
	Plane  [9]float64
	Output image.Point
}

// Validate returns the first thing that is wrong with the lens.
func (l *Lens) Validate() error {
	all := append(append(append(l.Matrix[:4:4], l.New[:]...), l.Plane[:]...), l.Distortion...)
	for _, v := range all {
		if !finite(v) {
			return fmt.Errorf("%v is no number of a lens", v)
		}
	}
	n := len(l.Distortion)
	switch l.Model {
	case Homography:
		if _, ok := inverse(l.Plane); !ok {
			return errors.New("the homography cannot be inverted, so that no pixel has a source")
		}
		return nil
	case Pinhole:
		if n != 4 && n != 5 && n != 8 {
			return fmt.Errorf("%d coefficients of distortion; a pinhole has 4, 5 or 8", n)
		}
	case Fisheye:
		if n != 4 {
			return fmt.Errorf("%d coefficients of distortion; a fisheye has 4", n)
		}
	default:
		return fmt.Errorf("unknown model %q", l.Model)
	}
	if l.Matrix[0] <= 0 || l.Matrix[1] <= 0 || l.New[0] < 0 || l.New[1] < 0 || (l.New[0] == 0) != (l.New[1] == 0) {
		return errors.New("the focal lengths fx and fy must be above 0")
	}
	return nil
}

// A Rectification is a lens for pictures of one size. It maps each point of the rectified
// picture to the one of the source that it shows.
type Rectification struct {
	Model LensModel
	// Source and Size are those of the two pictures in pixels.
	Source, Size image.Point
	// Matrix, New and Distortion are those of [Lens] for these sizes.
	Matrix, New [4]float64
	Distortion  []float64
	// Back is the homography from the rectified picture to the source.
	Back [9]float64
}

// Of returns the rectification of pictures of a size. The lens is valid.
func (l *Lens) Of(size image.Point) *Rectification {
	r := &Rectification{Model: l.Model, Source: size, Size: size, Distortion: l.Distortion}
	sx, sy := float64(size.X)/float64(l.Size.X), float64(size.Y)/float64(l.Size.Y)
	if l.Model == Homography {
		r.Size = l.Output
		back, _ := inverse(l.Plane)
		// The source is scaled around its corner, and pixels are counted from their middles.
		ox, oy := float64((sx-1)/2), float64((sy-1)/2)
		for c := range 3 {
			r.Back[c] = float64(sx*back[c]) + float64(ox*back[6+c])
			r.Back[3+c] = float64(sy*back[3+c]) + float64(oy*back[6+c])
			r.Back[6+c] = back[6+c]
		}
		return r
	}
	scaled := func(m [4]float64) [4]float64 {
		return [4]float64{m[0] * sx, m[1] * sy, float64((m[2]+0.5)*sx) - 0.5, float64((m[3]+0.5)*sy) - 0.5}
	}
	r.Matrix, r.New = scaled(l.Matrix), scaled(l.Matrix)
	if l.New != [4]float64{} {
		r.New = scaled(l.New)
	}
	return r
}

// inverse returns the inverse of a 3x3 matrix as cv::invert computes it, false where there is
// none.
func inverse(m [9]float64) (out [9]float64, ok bool) {
	minor := func(a, b, c, d int) float64 { return float64(m[a]*m[b]) - float64(m[c]*m[d]) }
	d := float64(m[0]*minor(4, 8, 5, 7)) - float64(m[1]*minor(3, 8, 5, 6)) + float64(m[2]*minor(3, 7, 4, 6))
	if d == 0 || !finite(1/d) {
		return out, false
	}
	d = 1 / d
	out = [9]float64{
		minor(4, 8, 5, 7) * d, minor(2, 7, 1, 8) * d, minor(1, 5, 2, 4) * d,
		minor(5, 6, 3, 8) * d, minor(0, 8, 2, 6) * d, minor(2, 3, 0, 5) * d,
		minor(3, 7, 4, 6) * d, minor(1, 6, 0, 7) * d, minor(0, 4, 1, 3) * d,
	}
	return out, true
}

// at returns the pixel of the source that pixel (x, y) of the rectified picture shows, both as
// OpenCV counts them; NaN where there is none.
func (r *Rectification) at(x, y float64) (u, v float64) {
	switch r.Model {
	case Homography:
		b := &r.Back
		w := float64(b[6]*x) + float64(b[7]*y) + b[8]
		if w == 0 {
			return math.NaN(), math.NaN()
		}
		return (float64(b[0]*x) + float64(b[1]*y) + b[2]) / w, (float64(b[3]*x) + float64(b[4]*y) + b[5]) / w
	case Fisheye:
		x, y = (x-r.New[2])/r.New[0], (y-r.New[3])/r.New[1]
		radius := math.Sqrt(float64(x*x) + float64(y*y))
		scale := 1.0
		if radius > 0 {
			theta := math.Atan(radius)
			t, k := theta*theta, r.Distortion
			poly := float64((float64((float64((float64(k[3]*t)+k[2])*t)+k[1])*t) + k[0]) * t)
			scale = theta * (1 + poly) / radius
		}
		return float64(r.Matrix[0]*x*scale) + r.Matrix[2], float64(r.Matrix[1]*y*scale) + r.Matrix[3]
	}
	x, y = (x-r.New[2])/r.New[0], (y-r.New[3])/r.New[1]
	var k [8]float64
	copy(k[:], r.Distortion)
	xx, yy, xy := float64(x*x), float64(y*y), float64(2*x*y)
	rr := xx + yy
	up := 1 + float64((float64((float64(k[4]*rr)+k[1])*rr)+k[0])*rr)
	down := 1 + float64((float64((float64(k[7]*rr)+k[6])*rr)+k[5])*rr)
	radial := up / down
	xd := float64(x*radial) + float64(k[2]*xy) + float64(k[3]*(rr+float64(2*xx)))
	yd := float64(y*radial) + float64(k[2]*(rr+float64(2*yy))) + float64(k[3]*xy)
	return float64(r.Matrix[0]*xd) + r.Matrix[2], float64(r.Matrix[1]*yd) + r.Matrix[3]
}

// ToSource returns the point of the source that a point of the rectified picture shows. Both are
// in continuous pixel coordinates, whose origin is the top-left corner of the top-left pixel.
// What is behind the camera has none: it is NaN. What lies outside of the source has its place
// there.
func (r *Rectification) ToSource(x, y float64) (xs, ys float64) {
	x, y = r.at(x-0.5, y-0.5)
	return x + 0.5, y + 0.5
}

// String returns the rectification as [ParseRectification] reads it: the model and the numbers,
// such as "fisheye;1920x1080;1920x1080;MATRIX;NEW;DISTORTION" and
// "homography;1920x1080;640x480;BACK".
func (r *Rectification) String() string {
	parts := []string{string(r.Model), sizeText(r.Source.X, r.Source.Y), sizeText(r.Size.X, r.Size.Y)}
	list := func(v []float64) {
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = strconv.FormatFloat(v[i], 'g', -1, 64)
		}
		parts = append(parts, strings.Join(texts, ","))
	}
	if r.Model == Homography {
		list(r.Back[:])
	} else {
		list(r.Matrix[:])
		list(r.New[:])
		list(r.Distortion)
	}
	return strings.Join(parts, ";")
}

// ParseRectification reads what [Rectification.String] returns.
func ParseRectification(text string) (*Rectification, error) {
	parts := strings.Split(text, ";")
	r := &Rectification{Model: LensModel(parts[0])}
	lists := [][]float64{r.Matrix[:], r.New[:], nil}
	switch {
	case r.Model == Homography:
		lists = [][]float64{r.Back[:]}
	case r.Model != Pinhole && r.Model != Fisheye:
		return nil, fmt.Errorf("unknown model %.40q", parts[0])
	}
	if len(parts) != 3+len(lists) {
		return nil, fmt.Errorf("%d parts, a %s has %d", len(parts), r.Model, 3+len(lists))
	}
	for i, size := range []*image.Point{&r.Source, &r.Size} {
		w, h, err := ParseSize(parts[1+i])
		if err != nil || w == 0 {
			return nil, fmt.Errorf("%.40q is not a size", parts[1+i])
		}
		*size = image.Pt(w, h)
	}
	for i, list := range lists {
		numbers := strings.Split(parts[3+i], ",")
		if list == nil {
			if n := len(numbers); n != 4 && (r.Model == Fisheye || n != 5 && n != 8) {
				return nil, fmt.Errorf("%d coefficients of distortion", n)
			}
			r.Distortion = make([]float64, len(numbers))
			list = r.Distortion
		}
		if len(numbers) != len(list) {
			return nil, fmt.Errorf("%.80q has %d numbers, not %d", parts[3+i], len(numbers), len(list))
		}
		for n, number := range numbers {
			v, err := strconv.ParseFloat(number, 64)
			if err != nil || !finite(v) {
				return nil, fmt.Errorf("%.40q is not a number", number)
			}
			list[n] = v
		}
	}
	if r.Model != Homography && (r.New[0] == 0 || r.New[1] == 0) {
		return nil, errors.New("a focal length is 0")
	}
	return r, nil
}

// A RemapTable has for each pixel of a rectified picture where its source is, as cv::remap takes
// it: whole pixels, x and y in turns, and the 32nd parts of both.
type RemapTable struct {
	XY    []int16
	Parts []uint16
}

// TableBytes is how many bytes a [RemapTable] has for each pixel.
const TableBytes = 6

// table returns that of the rectification, rounded as by cv::convertMaps.
func (r *Rectification) table() *RemapTable {
	n := r.Size.X * r.Size.Y
	t := &RemapTable{XY: make([]int16, 2*n), Parts: make([]uint16, n)}
	i := 0
	for y := range r.Size.Y {
		for x := range r.Size.X {
			u, v := r.at(float64(x), float64(y))
			ix, iy := r.fixed(u), r.fixed(v)
			t.XY[2*i], t.XY[2*i+1] = short(ix>>5), short(iy>>5)
			t.Parts[i] = uint16(iy&31)<<5 | uint16(ix&31)
			i++
		}
	}
	return t
}

// fixed returns a coordinate in 32nd parts. cv::initUndistortRectifyMap has floats, and
// cv::warpPerspective has not. What has no source is far outside.
func (r *Rectification) fixed(v float64) int {
	const far = 1 << 25
	if !(math.Abs(v) < far/32) {
		return -far
	}
	if r.Model != Homography {
		v = float64(float32(v))
	}
	return int(math.RoundToEven(v * 32))
}

func short(v int) int16 { return int16(max(math.MinInt16, min(math.MaxInt16, v))) }
