package transform

import "fmt"

// A Fit is how a picture is brought to the size of the tensor.
type Fit string

// The fits.
const (
	// Letterbox keeps the aspect ratio, shows the whole picture, centred, and
	// pads the rest.
	Letterbox Fit = "letterbox"
	// Stretch fills the tensor and ignores the aspect ratio.
	Stretch Fit = "stretch"
	// Crop keeps the aspect ratio, covers the tensor, and cuts off the same amount
	// on both sides.
	Crop Fit = "crop"
	// ShortSide resizes the picture's short side to 8/7 of the tensor's (256 for
	// 224) and cuts the centre out of it: torchvision's evaluation transform.
	ShortSide Fit = "short-side"
)

// A Resize is a resampling method: a library and its filter, because a filter of the
// same name differs from library to library.
type Resize string

// The resampling methods.
const (
	OpenCVNearest  Resize = "opencv-nearest"
	OpenCVLinear   Resize = "opencv-linear"
	OpenCVCubic    Resize = "opencv-cubic"
	OpenCVArea     Resize = "opencv-area"
	PillowBilinear Resize = "pillow-bilinear"
	PillowBicubic  Resize = "pillow-bicubic"
	PillowLanczos  Resize = "pillow-lanczos"
)

// A Color is the order of the tensor's channels.
type Color string

// The channel orders.
const (
	RGB  Color = "rgb"
	BGR  Color = "bgr"
	Gray Color = "gray"
)

// Channels returns the number of channels: 1 for gray, 3 otherwise.
func (c Color) Channels() int {
	if c == Gray {
		return 1
	}
	return 3
}

// A Layout is the order of the tensor's dimensions.
type Layout string

// The layouts, both with a batch dimension of 1.
const (
	NCHW Layout = "nchw"
	NHWC Layout = "nhwc"
)

// A DecodeMode says how exact the decoder must be.
type DecodeMode string

// The decode modes.
const (
	// DecodeExact decodes every pixel as the reference libraries do.
	DecodeExact DecodeMode = "exact"
	// DecodeFast lets the JPEG decoder scale the picture down, to no less than the
	// size that it is resized to. Not bit-exact.
	DecodeFast DecodeMode = "fast"
)

// A Spec is the preprocessing of one model. An element of the tensor is
//
//	(pixel*Scale - Mean[channel]) / Std[channel]
//
// for the float types. A uint8 tensor holds the pixels as they are, and leaves the
// three numbers to the consumer. Mean and Std are in the order of Color; gray uses
// their first entry.
type Spec struct {
	// Width and Height are the tensor's size in pixels; both 0 keeps the size of
	// the picture (after ROI).
	Width, Height int
	Fit           Fit
	Resize        Resize
	// Pad is the value of the letterbox's bars, in every channel, before
	// normalization.
	Pad    uint8
	Color  Color
	ROI    ROI
	Scale  float64
	Mean   [3]float64
	Std    [3]float64
	DType  DType
	Layout Layout
	Decode DecodeMode
}

// A ROI is the part of the picture that is used: x, y, width and height in
// pixels, or in fractions of the picture if Fraction is set. The zero value is
// the whole picture.
type ROI struct {
	X, Y, W, H float64
	Fraction   bool
}

// PresetNames returns the names that [Preset] knows.
func PresetNames() []string { return []string{"yolo", "imagenet", "clip", "raw", "none"} }

// Preset returns the preprocessing of a family of models:
//
//   - yolo: Ultralytics' LetterBox, 640x640: centred, pad 114, RGB, 1/255
//   - imagenet: torchvision's evaluation, 224x224: short side 256 resized as
//     Pillow's bilinear does, centre crop, RGB, ImageNet's mean and std
//   - clip: OpenAI's CLIP, 224x224: Pillow's bicubic, centre crop, CLIP's mean and
//     std
//   - raw: the decoded pixels at their own size, uint8, NHWC
//   - none: the defaults of the config file, without a size
func Preset(name string) (Spec, error) {
	s := Spec{
		Fit: Letterbox, Resize: OpenCVLinear, Pad: 114, Color: RGB,
		Scale: 1.0 / 255, Std: [3]float64{1, 1, 1},
		DType: Float32, Layout: NCHW, Decode: DecodeExact,
	}
	switch name {
	case "none", "":
	case "yolo":
		s.Width, s.Height = 640, 640
	case "imagenet":
		s.Width, s.Height = 224, 224
		s.Fit, s.Resize = ShortSide, PillowBilinear
		s.Mean = [3]float64{0.485, 0.456, 0.406}
		s.Std = [3]float64{0.229, 0.224, 0.225}
	case "clip":
		s.Width, s.Height = 224, 224
		s.Fit, s.Resize = Crop, PillowBicubic
		s.Mean = [3]float64{0.48145466, 0.4578275, 0.40821073}
		s.Std = [3]float64{0.26862954, 0.26130258, 0.27577711}
	case "raw":
		s.Fit, s.DType, s.Layout = Stretch, Uint8, NHWC
		s.Scale = 1
	default:
		return Spec{}, fmt.Errorf("unknown preset %q: there are %v", name, PresetNames())
	}
	return s, nil
}
