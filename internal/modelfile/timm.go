package modelfile

import (
	"encoding/json"
	"fmt"
	"image"
	"math"
)

// A timmConfig is the pretrained_cfg of a model of timm.
type timmConfig struct {
	InputSize     []int     `json:"input_size"`
	TestInputSize []int     `json:"test_input_size"`
	Interpolation string    `json:"interpolation"`
	Mean          []float64 `json:"mean"`
	Std           []float64 `json:"std"`
	CropPct       float64   `json:"crop_pct"`
	TestCropPct   float64   `json:"test_crop_pct"`
	CropMode      string    `json:"crop_mode"`
}

// readTimm reads a config.json of a model of timm.
func readTimm(text []byte) (*Found, error) {
	var outer struct {
		timmConfig
		Config *timmConfig `json:"pretrained_cfg"`
	}
	if err := json.Unmarshal(text, &outer); err != nil {
		return nil, fmt.Errorf("the config of timm cannot be read: %w", err)
	}
	c := outer.timmConfig
	if outer.Config != nil {
		c = *outer.Config
	}
	f := &Found{Kind: "a config of timm", Spec: none()}
	var why cannot
	if len(c.InputSize) != 3 || c.InputSize[0] != 3 {
		why.add("input_size %v: a picture of 3 channels, [3, height, width], is needed", c.InputSize)
		return nil, why.err(f.Kind)
	}
	s := &f.Spec
	s.Width, s.Height = c.InputSize[2], c.InputSize[1]
	s.CropRatio = 0.875
	if c.CropPct != 0 {
		s.CropRatio = c.CropPct
	}
	resize, ok := pillow[c.Interpolation]
	if !ok {
		why.add("interpolation %q: bilinear, bicubic and lanczos can be done", c.Interpolation)
	}
	s.Resize = resize
	s.Mean, s.Std = triple(c.Mean, 0, &why, "mean"), triple(c.Std, 1, &why, "std")
	switch {
	case c.CropMode == "squash":
		s.Fit = "stretch"
	case c.CropMode == "border" && s.CropRatio == 1:
		s.Fit, s.CropRatio = "letterbox", 0
		for i, m := range s.Mean {
			s.PadChannels[i] = math.RoundToEven(255 * m)
		}
	case c.CropMode == "" || c.CropMode == "center":
		s.Fit = "short-side"
		if s.Width != s.Height && s.CropRatio != 1 {
			why.add("crop_pct %v of a tensor that is not square", s.CropRatio)
		}
	default:
		why.add("crop_mode %q with crop_pct %v", c.CropMode, s.CropRatio)
	}
	if s.CropRatio > 1 {
		s.Pad = 0 // what is cut out is larger than what it is cut out of
	}
	if len(c.TestInputSize) == 3 && image.Pt(c.TestInputSize[2], c.TestInputSize[1]) != image.Pt(s.Width, s.Height) {
		f.note("timm also tests the model at test_input_size %v with test_crop_pct %v; set size and crop for that", c.TestInputSize, c.TestCropPct)
	}
	return f, why.err(f.Kind)
}

// triple returns three numbers; one stands for three, and none for the usual one.
func triple(v []float64, usual float64, why *cannot, key string) [3]float64 {
	switch len(v) {
	case 0:
		return [3]float64{usual, usual, usual}
	case 1:
		return [3]float64{v[0], v[0], v[0]}
	case 3:
		return [3]float64(v)
	}
	why.add("%s %v: one number for each of three channels is needed", key, v)
	return [3]float64{usual, usual, usual}
}
