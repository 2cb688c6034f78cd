package transform

import (
	"encoding/json"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// TestGeometryOfInvalidSpecs checks that no spec makes it panic or search for ever.
func TestGeometryOfInvalidSpecs(t *testing.T) {
	sides := []image.Point{{}, {X: 640}, {Y: 640}, {X: -640, Y: 640}, {X: 640, Y: -1}, {X: 1, Y: 1}, {X: 640, Y: 480}}
	tiles := []Tiles{{}, {Size: image.Pt(0, 5)}, {Size: image.Pt(64, 64), Overlap: 1}, {Grid: image.Pt(-1, 2)}, {Grid: image.Pt(2, 2), Overlap: math.NaN()}}
	for _, fit := range append(Fits(), "", "none") {
		for _, size := range sides {
			for _, to := range sides {
				for _, ratio := range []float64{0, -1, 1e-300, math.NaN()} {
					for _, n := range []int{0, -7, 32} {
						for _, tile := range tiles {
							s := Spec{Fit: fit, Width: size.X, Height: size.Y, ResizeTo: to, CropRatio: ratio, MultipleOf: n, MaxSide: n, MaxPixels: n, Tiles: tile}
							all, err := s.Geometries(image.Pt(320, 200))
							for _, g := range all {
								if err == nil && (g.Size.X < 1 || g.Size.Y < 1 || g.Resized.X < 1 || g.Resized.Y < 1) {
									t.Errorf("%+v: %+v and no error", s, g)
								}
							}
						}
					}
				}
			}
		}
	}
}

// TestGeometryReferences compares sizes and offsets with those that the
// preprocessors' own formulas give; opencv/testdata/golden.py writes them.
func TestGeometryReferences(t *testing.T) {
	text, err := os.ReadFile("testdata/geometry.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]any
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) < 100 {
		t.Fatalf("only %d rows", len(rows))
	}
	for _, r := range rows {
		n := func(i int) int { return int(r[i].(float64)) }
		s := Spec{Width: n(2), Height: n(3), Fit: Fit(r[4].(string))}
		g, err := s.Geometry(image.Pt(n(0), n(1)))
		resized, offset := image.Pt(n(5), n(6)), image.Pt(n(7), n(8))
		if err != nil {
			if resized.X*resized.Y > maxResized {
				continue // the reference has no limit
			}
			t.Errorf("%v: %v", r, err)
			continue
		}
		if g.Resized != resized || g.Offset != offset {
			t.Errorf("%v: resized %v at %v, want %v at %v", r, g.Resized, g.Offset, resized, offset)
		}
	}
}

// TestSizesOfReferences compares the sizes of tensors that follow from the picture's with those
// that the libraries make; opencv/testdata/fidelity.py writes them.
func TestSizesOfReferences(t *testing.T) {
	text, err := os.ReadFile("testdata/sizes.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]any
	if err := json.Unmarshal(text, &rows); err != nil || len(rows) < 100 {
		t.Fatal(len(rows), err)
	}
	for _, r := range rows {
		n := func(i int) int { return int(r[i].(float64)) }
		s := preset(t, r[0].(string))
		g, err := s.Geometry(image.Pt(n(1), n(2)))
		if err != nil || g.Size != image.Pt(n(3), n(4)) {
			t.Errorf("%v: %v, %v", r, g.Size, err)
		}
	}
}

// TestPlaces says where the picture lies, for the keys that move it.
func TestPlaces(t *testing.T) {
	for name, tt := range map[string]struct {
		preset          string
		change          func(*Spec)
		source          image.Point
		resized, offset image.Point
	}{
		"torchvision rounds a crop to even":     {"clip", nil, image.Pt(227, 224), image.Pt(227, 224), image.Pt(-2, 0)},
		"transformers rounds it down":           {"clip-hf", nil, image.Pt(227, 224), image.Pt(227, 224), image.Pt(-1, 0)},
		"resize_to":                             {"torchvision/resnet50", nil, image.Pt(1920, 1080), image.Pt(412, 232), image.Pt(-94, -4)},
		"crop":                                  {"timm/resnet50.a1_in1k", nil, image.Pt(1080, 1920), image.Pt(235, 417), image.Pt(-6, -96)},
		"squashed, then cropped":                {"deit", nil, image.Pt(1920, 1080), image.Pt(256, 256), image.Pt(-16, -16)},
		"at the top left, rounded down":         {"yolox", nil, image.Pt(1000, 333), image.Pt(640, 213), image.Point{}},
		"at the top left, half up":              {"sam", nil, image.Pt(1000, 333), image.Pt(1024, 341), image.Point{}},
		"no larger":                             {"yolo", func(s *Spec) { s.NoScaleUp = true }, image.Pt(320, 200), image.Pt(320, 200), image.Pt(160, 220)},
		"no larger, but smaller":                {"yolo", func(s *Spec) { s.NoScaleUp = true }, image.Pt(1280, 800), image.Pt(640, 400), image.Pt(0, 120)},
		"padded to a multiple":                  {"yolo-rect", nil, image.Pt(1000, 500), image.Pt(640, 320), image.Point{}},
		"padded to a multiple, in the middle":   {"yolo-rect", nil, image.Pt(1920, 1080), image.Pt(640, 360), image.Pt(0, 12)},
		"padded to a multiple, at the top left": {"yolo-rect", func(s *Spec) { s.Align = TopLeft }, image.Pt(1920, 1080), image.Pt(640, 360), image.Point{}},
		"a crop larger than the picture":        {"none", func(s *Spec) { s.Width, s.Height, s.Fit, s.CropRatio = 512, 512, ShortSide, 1.15 }, image.Pt(500, 500), image.Pt(445, 445), image.Pt(33, 33)},
	} {
		s := preset(t, tt.preset)
		if tt.change != nil {
			tt.change(&s)
		}
		g, err := s.Geometry(tt.source)
		if err != nil || g.Resized != tt.resized || g.Offset != tt.offset {
			t.Errorf("%s: %v at %v, want %v at %v (%v)", name, g.Resized, g.Offset, tt.resized, tt.offset, err)
		}
	}
}

// geometries calls do with the geometry of many pictures, fits and ROIs.
func geometries(t *testing.T, do func(s Spec, g Geometry)) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	rois := []ROI{
		{},
		{X: 0.25, Y: 0.1, W: 0.5, H: 0.613, Fraction: true},
		{X: 0, Y: 0, W: 1, H: 1, Fraction: true},
		{X: 3, Y: 7, W: 90, H: 41},
		{X: 50, Y: 60, W: 1 << 15, H: 1 << 15},
	}
	for range 200 {
		source := image.Pt(100+rng.IntN(3000), 100+rng.IntN(2000))
		for _, fit := range Fits() {
			for _, roi := range rois {
				for _, size := range []image.Point{{640, 640}, {1 + rng.IntN(900), 1 + rng.IntN(900)}, {}} {
					s := Spec{Width: size.X, Height: size.Y, Fit: fit, ROI: roi}
					switch fit {
					case LongSide:
						s.Width, s.Height, s.ResizeTo = 0, 0, image.Pt(1+rng.IntN(900), 1+rng.IntN(900))
						s.MultipleOf, s.NoScaleUp = rng.IntN(40), rng.IntN(2) == 0
					case SmartResize:
						s.Width, s.Height, s.MultipleOf = 0, 0, 1+rng.IntN(40)
						s.MaxPixels = (1 + rng.IntN(500)) * s.MultipleOf * s.MultipleOf
						s.MinPixels = s.MaxPixels / (2 + rng.IntN(50))
					}
					g, err := s.Geometry(source)
					if err != nil {
						t.Fatalf("%+v of %v: %v", s, source, err)
					}
					do(s, g)
				}
			}
		}
	}
}

// TestAffineIsExact sends points of the source forward, as the pixels go, and
// back by the affine.
func TestAffineIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	geometries(t, func(s Spec, g Geometry) {
		forward := func(x, y float64) (float64, float64) {
			x = (x - float64(g.Region.Min.X)) / float64(g.Region.Dx()) * float64(g.Resized.X)
			y = (y - float64(g.Region.Min.Y)) / float64(g.Region.Dy()) * float64(g.Resized.Y)
			return x + float64(g.Offset.X), y + float64(g.Offset.Y)
		}
		low, high := g.Region.Min, g.Region.Max
		points := [][2]float64{
			{float64(low.X), float64(low.Y)},
			{float64(high.X), float64(low.Y)},
			{float64(low.X), float64(high.Y)},
			{float64(high.X), float64(high.Y)},
		}
		for range 3 {
			points = append(points, [2]float64{rng.Float64() * float64(g.Source.X), rng.Float64() * float64(g.Source.Y)})
		}
		for _, p := range points {
			x, y := g.Affine.Apply(forward(p[0], p[1]))
			if math.Abs(x-p[0]) > 1e-6 || math.Abs(y-p[1]) > 1e-6 {
				t.Fatalf("%+v of %v: %v comes back as %v, %v", s, g.Source, p, x, y)
			}
		}
	})
}

// TestGeometryHoldsTogether checks what the pixel code relies on.
func TestGeometryHoldsTogether(t *testing.T) {
	geometries(t, func(s Spec, g Geometry) {
		tensor := image.Rectangle{Max: g.Size}
		seen := g.Visible().Add(g.Offset)
		switch {
		case g.Region.Empty() || !g.Region.In(image.Rectangle{Max: g.Source}):
			t.Fatalf("%+v: region %v of %v", s, g.Region, g.Source)
		case seen.Empty() || !seen.In(tensor):
			t.Fatalf("%+v: %v of the tensor shows the picture", s, seen)
		case s.MultipleOf > 0 && (g.Size.X%s.MultipleOf != 0 || g.Size.Y%s.MultipleOf != 0):
			t.Fatalf("%+v: a tensor of %v", s, g.Size)
		case s.Fit != Letterbox && s.Fit != LongSide && seen != tensor:
			t.Fatalf("%+v: %v of %v is padded", s, seen, tensor)
		case s.Fit == Letterbox && g.Visible() != image.Rectangle{Max: g.Resized}:
			t.Fatalf("%+v: the picture is cut to %v", s, g.Visible())
		}
		for n := 1; n <= 8; n++ {
			scaled := g.Scaled(n, 8)
			decoded := image.Rect(0, 0, (g.Source.X*n+7)/8, (g.Source.Y*n+7)/8)
			if scaled.Region.Empty() || !scaled.Region.In(decoded) {
				t.Fatalf("%+v at %d/8: region %v of %v", s, n, scaled.Region, decoded)
			}
			x, y := scaled.Affine.Apply(float64(g.Offset.X), float64(g.Offset.Y))
			unit := 8 / float64(n)
			dx, dy := float64(g.Region.Min.X)-x, float64(g.Region.Min.Y)-y
			if dx < -1e-6 || dy < -1e-6 || dx >= unit || dy >= unit {
				t.Fatalf("%+v at %d/8: the corner is off by %v, %v", s, n, dx, dy)
			}
		}
		if g.Scaled(8, 8) != g {
			t.Fatalf("%+v: a scale of 1 changes %+v", s, g)
		}
	})
}

func TestGeometryRefuses(t *testing.T) {
	square := Spec{Width: 64, Height: 64, Fit: Crop}
	beyond := square
	beyond.ROI = ROI{X: 100, Y: 0, W: 5, H: 5}
	tests := []struct {
		spec   Spec
		source image.Point
		want   string
	}{
		{square, image.Pt(0, 5), "picture of 0x5 has no pixels"},
		{square, image.Pt(5, -1), "picture of 5x-1 has no pixels"},
		{beyond, image.Pt(100, 50), "roi 100,0,5,5 holds no pixel of the 100x50 picture"},
		{Spec{Width: 8000, Height: 8000, Fit: Crop}, image.Pt(8000, 1), "picture of 8000x1 is too narrow to be fitted by crop: it would be resized to 64000000x8000"},
		{Spec{Width: 1, Height: 1, Fit: "wide"}, image.Pt(1, 1), `unknown fit "wide"`},
	}
	for _, tt := range tests {
		_, err := tt.spec.Geometry(tt.source)
		if fmt.Sprint(err) != tt.want {
			t.Errorf("%v of %v: %v, want %s", tt.spec.Fit, tt.source, err, tt.want)
		}
	}
}

func TestFractionsTile(t *testing.T) {
	size := image.Pt(101, 37)
	left := ROI{W: 0.5, H: 1, Fraction: true}.region(size)
	right := ROI{X: 0.5, W: 0.5, H: 1, Fraction: true}.region(size)
	if left.Max.X != right.Min.X || left.Min.X != 0 || right.Max.X != 101 {
		t.Errorf("halves of 101 pixels: %v and %v", left, right)
	}
}

// TestShown: the part of the picture that is in the tensor is the region, less what a crop cuts
// off, and never more than that.
func TestShown(t *testing.T) {
	for name, tt := range map[string]struct {
		spec Spec
		want image.Rectangle
	}{
		"letterbox": {Spec{Width: 640, Height: 640, Fit: Letterbox}, image.Rect(0, 0, 1920, 1080)},
		"stretch":   {Spec{Width: 640, Height: 640, Fit: Stretch}, image.Rect(0, 0, 1920, 1080)},
		"no size":   {Spec{ROI: ROI{X: 10, Y: 20, W: 300, H: 200}}, image.Rect(10, 20, 310, 220)},
		"crop":      {Spec{Width: 224, Height: 224, Fit: Crop}, image.Rect(419, 0, 1500, 1080)},
		"crop of a part": {
			Spec{Width: 100, Height: 100, Fit: Crop, ROI: ROI{X: 0, Y: 0.5, W: 1, H: 0.5, Fraction: true}}, image.Rect(687, 540, 1228, 1080),
		},
	} {
		g, err := tt.spec.Geometry(image.Pt(1920, 1080))
		if err != nil {
			t.Fatal(err)
		}
		got := g.Shown()
		near := func(a, b int) bool { return a-b <= 12 && b-a <= 12 } // a pixel of the tensor
		if !near(got.Min.X, tt.want.Min.X) || !near(got.Max.X, tt.want.Max.X) || !near(got.Min.Y, tt.want.Min.Y) || !near(got.Max.Y, tt.want.Max.Y) || !got.In(g.Region) {
			t.Errorf("%s: %v is shown of %v, want %v", name, got, g.Region, tt.want)
		}
	}
}
