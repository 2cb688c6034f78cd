package config

import (
	"time"

	"github.com/cvfeeder/cvfeeder/transform"
)

// Output is one kind of tensor. [transform.Spec] explains its keys in detail.
type Output struct {
	// Preset is the family of models, or the model of torchvision or timm, whose preprocessing
	// provides the defaults of the other keys: "cvfeeder presets" lists them.
	Preset Preset `yaml:"preset"`
	// Size is the width and height of the tensor in pixels; empty keeps those of the
	// picture.
	Size Size `yaml:"size"`
	// Fit is how the picture is brought to the size: letterbox (all of it, with bars
	// around it), stretch, crop (covers the size, centred) or short-side (as torchvision
	// resizes and crops). Without a size, the tensor may have one that follows from the
	// picture's: with short-side and resize_to, with long-side, and with smart-resize (as
	// Qwen-VL).
	Fit transform.Fit `yaml:"fit" jsonschema:"enum=letterbox,enum=stretch,enum=crop,enum=short-side,enum=long-side,enum=smart-resize"`
	// ResizeTo is the side, or the width and height, of what the picture is resized to before
	// the size is cut out of it; with long-side the box that it is fitted into. Empty: with
	// short-side 8/7 of the size, otherwise the size.
	ResizeTo Box `yaml:"resize_to"`
	// Crop is the size in relation to what the picture is resized to, instead of resize_to:
	// 0.875 of 256 is 224. 0 is none.
	Crop float64 `yaml:"crop"`
	// MaxSide is the most that the long side becomes, with short-side and without a size; 0 is
	// no limit.
	MaxSide int `yaml:"max_side" jsonschema:"minimum=0,maximum=8192"`
	// MultipleOf is what the sides of a tensor are multiples of whose size follows from the
	// picture's, by padding, or with smart-resize by resizing.
	MultipleOf int `yaml:"multiple_of" jsonschema:"minimum=0,maximum=512"`
	// MinPixels is how many pixels smart-resize makes at least.
	MinPixels int `yaml:"min_pixels" jsonschema:"minimum=0,maximum=67108864"`
	// MaxPixels is how many pixels smart-resize makes at most.
	MaxPixels int `yaml:"max_pixels" jsonschema:"minimum=0,maximum=67108864"`
	// SizeRounding is how a side of the resized picture is rounded; auto is as in the
	// reference of the fit: half-even for letterbox and long-side, otherwise floor.
	SizeRounding transform.Rounding `yaml:"size_rounding" jsonschema:"enum=auto,enum=half-even,enum=half-up,enum=floor"`
	// CropRounding is how the edge of what is cut out is rounded; auto is half-even, as
	// torchvision does, and floor is as transformers does.
	CropRounding transform.Rounding `yaml:"crop_rounding" jsonschema:"enum=auto,enum=half-even,enum=floor"`
	// Align is where the picture lies in a letterbox.
	Align transform.Align `yaml:"align" jsonschema:"enum=center,enum=top-left"`
	// ScaleUp is whether pictures are enlarged that are smaller than a letterbox, or than
	// resize_to with long-side.
	ScaleUp bool `yaml:"scale_up"`
	// Resize is the resampling method.
	Resize transform.Resize `yaml:"resize" jsonschema:"enum=opencv-nearest,enum=opencv-linear,enum=opencv-cubic,enum=opencv-area,enum=pillow-bilinear,enum=pillow-bicubic,enum=pillow-lanczos,enum=torch-bilinear,enum=torch-bicubic"`
	// Antialias is whether torch-bilinear and torch-bicubic read all pixels where the picture
	// shrinks, as torchvision does by default, or only the nearest two or four of each side.
	Antialias bool `yaml:"antialias"`
	// ResizeDType is the type of the tensor that torch-bilinear and torch-bicubic are given:
	// uint8 is rounded to pixels again, as torchvision does, and float32 is not, as where the
	// reference makes floats before it resizes.
	ResizeDType transform.DType `yaml:"resize_dtype" jsonschema:"enum=uint8,enum=float32"`
	// Pad is the value of the letterbox bars, and of other padding; or three values separated
	// by commas, one for each channel.
	Pad Pad `yaml:"pad"`
	// PadNormalized is whether pad is a value of the tensor, and not a pixel: the picture is
	// padded after normalization.
	PadNormalized bool `yaml:"pad_normalized"`
	// Color is the order of the channels, or gray for one.
	Color transform.Color `yaml:"color" jsonschema:"enum=rgb,enum=bgr,enum=gray"`
	// ROI is the part of the picture that is used, "x,y,w,h" in pixels or in fractions
	// of its size; empty is all of it.
	ROI ROI `yaml:"roi"`
	// Encode is what the picture becomes: a tensor; the original, whose bytes are passed on as the
	// service sent them, without being decoded; or a picture again, after roi, fit and resize.
	Encode transform.Encoding `yaml:"encode" jsonschema:"enum=tensor,enum=original,enum=jpeg,enum=webp,enum=png"`
	// Quality is that of encode: jpeg and webp; 0 is 90 and 80.
	Quality int `yaml:"quality" jsonschema:"minimum=0,maximum=100"`
	// Clip is which frames of a stream become one tensor, for models that take video.
	Clip Clip `yaml:"clip"`
	// Batch is which streams have a row in one tensor, for models that need several cameras at one
	// instant.
	Batch Batch `yaml:"batch"`
	// Tiles is how the picture, or its roi, is cut into parts, each of which becomes one picture
	// of a tensor of several. The other keys are about a tile as if it were the picture.
	Tiles Tiles `yaml:"tiles"`
	// Scale is the factor that pixels are multiplied by: the tensor holds
	// (pixel*scale - mean) / std in each channel.
	Scale Scale `yaml:"scale"`
	// Mean is what is subtracted from each channel.
	Mean [3]float64 `yaml:"mean"`
	// Std is what each channel is divided by.
	Std [3]float64 `yaml:"std"`
	// DType is the type of the elements; uint8 without quant_scale is not normalized, and the
	// headers of the message carry scale, mean and std.
	DType transform.DType `yaml:"dtype" jsonschema:"enum=float32,enum=float16,enum=bfloat16,enum=uint8,enum=int8"`
	// QuantScale is the scale of the quantization of int8 and uint8, as the model's input has
	// it: an element is round(value / quant_scale) + quant_zero_point, with halves rounded to
	// even and limited to the range of the type. 0 is none, which int8 cannot do without.
	QuantScale QuantScale `yaml:"quant_scale"`
	// QuantZeroPoint is the element whose value is 0, with quant_scale.
	QuantZeroPoint int `yaml:"quant_zero_point" jsonschema:"minimum=-128,maximum=255"`
	// Layout is the order of the dimensions; of clips, with one for the frames.
	Layout transform.Layout `yaml:"layout" jsonschema:"enum=nchw,enum=nhwc,enum=ncthw,enum=ntchw,enum=nthwc"`
	// Decode is how exact the decoder must be: fast scales JPEGs down while it decodes
	// them, where that loses nothing visible.
	Decode transform.DecodeMode `yaml:"decode" jsonschema:"enum=exact,enum=fast"`
	// Gate is what holds back frames that show nothing new.
	Gate Gate `yaml:"gate"`
}

// Clip is which frames of a stream become one tensor. [transform.Clip] explains its keys in
// detail.
type Clip struct {
	// Frames is how many frames a clip has; 0 makes a tensor of each frame.
	Frames int `yaml:"frames" jsonschema:"minimum=0,maximum=256"`
	// Stride is how many slots of the stream a frame of a clip is after the one before.
	Stride int `yaml:"stride" jsonschema:"minimum=1,maximum=3600"`
	// Every is how many slots a clip ends after the one before.
	Every int `yaml:"every" jsonschema:"minimum=1,maximum=3600"`
	// Missing is what takes the place of a missing frame: repeat (the frame before it), black, or
	// drop (the clip is not made).
	Missing transform.Missing `yaml:"missing" jsonschema:"enum=repeat,enum=black,enum=drop"`
}

// Batch is which streams have a row in one tensor.
type Batch struct {
	// Name is what takes the place of the stream's name in the subject and in the headers of the
	// tensor; empty makes a tensor of each stream.
	Name string `yaml:"name"`
	// Streams are the names of the streams, in the order of the rows.
	Streams []string `yaml:"streams" jsonschema:"uniqueItems=true"`
	// Wait is how long after the first row of a slot the others may come. Then the batch is
	// published without those that are missing: the header Cvf-Batch says which.
	Wait time.Duration `yaml:"wait"`
}

// Tiles is how a picture is cut into parts of one size. [transform.Tiles] explains its keys in
// detail.
type Tiles struct {
	// Size is the side, or the width and height, of a tile in pixels of the source; empty cuts
	// none. The tiles are those of SAHI.
	Size Box `yaml:"size"`
	// Grid is the number of columns and rows of tiles, such as 3x2, instead of size.
	Grid Size `yaml:"grid"`
	// Overlap is the part of a tile by which it overlaps the next one, from 0 to 0.9.
	Overlap float64 `yaml:"overlap"`
}

// A Gate says what is new enough to be published.
type Gate struct {
	// Change is the share of the picture, or of its roi, that has to differ from the last
	// frame that was published; 0% publishes all frames.
	Change Share `yaml:"change"`
	// Every is the longest time without a tensor while nothing changes.
	Every time.Duration `yaml:"every"`
	// Relax is the time between samples while nothing has changed for as long as every, of
	// all of the stream's outputs, which saves images; 0 keeps the interval.
	Relax time.Duration `yaml:"relax"`
	// Burst is whether a burst of the stream begins when something changes after it was
	// sampled at relax, for what happened between the samples.
	Burst bool `yaml:"burst"`
}
