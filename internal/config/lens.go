package config

import (
	"image"

	"github.com/cvfeeder/cvfeeder/transform"
)

// A LensModel is a model of lenses, or none.
type LensModel string

// The models.
const (
	LensNone       LensModel = "none"
	LensPinhole    LensModel = "pinhole"
	LensFisheye    LensModel = "fisheye"
	LensHomography LensModel = "homography"
)

// transform returns the lens, nil for none.
func (l Lens) transform() *transform.Lens {
	if l.Model == LensNone {
		return nil
	}
	return &transform.Lens{
		Model: transform.LensModel(l.Model), Size: image.Pt(l.Size.Width, l.Size.Height), Matrix: l.Matrix, New: l.NewMatrix,
		Distortion: l.Distortion, Plane: l.Homography, Output: image.Pt(l.Output.Width, l.Output.Height),
	}
}

func (d checker) checkLens(l Lens, path string) {
	plane := l.Model == LensHomography
	for _, key := range []struct {
		name  string
		fits  bool
		needs bool
	}{
		{"size", l.Model != LensNone, true},
		{"matrix", l.Model != LensNone && !plane, true},
		{"distortion", l.Model != LensNone && !plane, true},
		{"new_matrix", l.Model != LensNone && !plane, false},
		{"homography", plane, true},
		{"output", plane, true},
	} {
		at := path + "." + key.name
		if d.Failed(at) {
			return
		}
		switch zero := l.zero(key.name); {
		case !key.fits && !zero:
			d.Report(at, "lens.model: %s has no %s: remove it, or change the model", l.Model, key.name)
			return
		case key.fits && key.needs && zero:
			d.Report(at, "lens.model: %s needs it", l.Model)
			return
		}
	}
	if t := l.transform(); t != nil {
		if err := t.Validate(); err != nil {
			d.Report(path, "%v", err)
		}
	}
}

// zero tells whether a key has nothing.
func (l Lens) zero(key string) bool {
	switch key {
	case "size":
		return l.Size == Size{}
	case "matrix":
		return l.Matrix == [4]float64{}
	case "distortion":
		return len(l.Distortion) == 0
	case "new_matrix":
		return l.NewMatrix == [4]float64{}
	case "homography":
		return l.Homography == [9]float64{}
	default:
		return l.Output == Size{}
	}
}
