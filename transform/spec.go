package transform

import "image"

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
	// ShortSide resizes the picture's short side to ResizeTo, or to the tensor's divided by
	// CropRatio, or else to 8/7 of the tensor's (256 for 224), and cuts the centre out of
	// it: torchvision's evaluation transform.
	ShortSide Fit = "short-side"
	// LongSide resizes the picture's long side to ResizeTo. The tensor is as large as that
	// picture: it has the same aspect ratio.
	LongSide Fit = "long-side"
	// SmartResize resizes the picture to sides that are multiples of MultipleOf, with about
	// the same aspect ratio and a number of pixels from MinPixels to MaxPixels: the
	// smart_resize of Qwen-VL. The tensor is as large as that picture.
	SmartResize Fit = "smart-resize"
)

// A Rounding is how a length that is not a whole number of pixels becomes one.
type Rounding string

// The roundings. The zero value leaves it to the fit.
const (
	HalfEven Rounding = "half-even" // Python's round
	HalfUp   Rounding = "half-up"   // int(v + 0.5)
	Floor    Rounding = "floor"     // int(v), v // 1
)

// An Align is where in a tensor the picture lies that does not fill it.
type Align string

// The alignments. The zero value is Center.
const (
	Center  Align = "center"
	TopLeft Align = "top-left"
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
	TorchBilinear  Resize = "torch-bilinear"
	TorchBicubic   Resize = "torch-bicubic"
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

// The layouts, with a batch dimension of the number of pictures; those of clips have one of the
// frames, T.
const (
	NCHW  Layout = "nchw"
	NHWC  Layout = "nhwc"
	NCTHW Layout = "ncthw"
	NTCHW Layout = "ntchw"
	NTHWC Layout = "nthwc"
)

// Planar tells whether the pixels of a channel lie side by side, as in NCHW.
func (l Layout) Planar() bool { return l != NHWC && l != NTHWC }

// Frame returns the layout of one frame: NCHW or NHWC.
func (l Layout) Frame() Layout {
	if l.Planar() {
		return NCHW
	}
	return NHWC
}

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
// for the float types. A tensor with QuantScale holds these values quantized: see
// [Spec.Quantize]. Any other uint8 tensor holds the pixels as they are, and leaves the
// three numbers to the consumer. Mean and Std are in the order of Color; gray uses
// their first entry.
type Spec struct {
	// Width and Height are the tensor's size in pixels; both 0 keeps the size of
	// the picture (after ROI).
	Width, Height int
	Fit           Fit
	Resize        Resize
	// Pad is the value of what the picture leaves of the tensor, in every channel: a pixel,
	// before normalization.
	Pad    uint8
	Color  Color
	ROI    ROI
	Scale  float64
	Mean   [3]float64
	Std    [3]float64
	DType  DType
	Layout Layout
	Decode DecodeMode

	// ResizeTo is what the picture is resized to before the tensor's size is cut out of it,
	// for ShortSide (the box that it covers) and Stretch, or the box that it is fitted into,
	// for LongSide. Zero: see there.
	ResizeTo image.Point
	// CropRatio is the tensor's size in relation to what the picture is resized to: timm's
	// crop_pct. 0: ResizeTo says it.
	CropRatio float64
	// MaxSide is the most that the long side may become where ShortSide gives tensors of the
	// picture's aspect ratio. 0 is no limit.
	MaxSide int
	// MultipleOf is what the sides of a tensor without a size are multiples of: by padding,
	// or with SmartResize by resizing. 0 is 1.
	MultipleOf int
	// MinPixels and MaxPixels are how many pixels SmartResize gives. 0 is no limit.
	MinPixels, MaxPixels int
	// SizeRounding is how a side of the resized picture is rounded, and CropRounding how the
	// edge of what is cut out is. By default they are as in the reference of the fit.
	SizeRounding, CropRounding Rounding
	// Align is where the picture lies in a Letterbox, or in a tensor that is padded to
	// MultipleOf.
	Align Align
	// NoScaleUp leaves pictures as they are that are smaller than a Letterbox or LongSide.
	NoScaleUp bool
	// PadChannels is the padding of each channel, in the order of Color; all zeros leave it to
	// Pad.
	PadChannels [3]float64
	// PadNormalized says that Pad and PadChannels are elements of the tensor, and not pixels:
	// the picture is padded after normalization.
	PadNormalized bool
	// NoAntialias is antialias=False of a Resize of torch.
	NoAntialias bool
	// ResizeDType is the type of the tensor that a Resize of torch is given: Uint8, whose
	// result is rounded to pixels, or Float32, which is not rounded at all. Empty: Uint8.
	ResizeDType DType
	// QuantScale and QuantZeroPoint are the quantization of an int8 or uint8 tensor: the value
	// of an element q is (q - QuantZeroPoint) * QuantScale. A QuantScale of 0 is none.
	QuantScale     float64
	QuantZeroPoint int
	// Encode makes pictures in place of tensors, and Quality is that of a JPEG or WebP: 1 to 100,
	// or 0 for the encoding's own.
	Encode  Encoding
	Quality int
	// Clip makes one tensor of several frames.
	Clip Clip
	// Tiles makes a picture of the tensor of each part of the source.
	Tiles Tiles
}

// A ROI is the part of the picture that is used: x, y, width and height in
// pixels, or in fractions of the picture if Fraction is set. The zero value is
// the whole picture.
type ROI struct {
	X, Y, W, H float64
	Fraction   bool
}
