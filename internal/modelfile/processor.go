package modelfile

import (
	"encoding/json"
	"fmt"
	"image"
	"slices"
	"strings"

	"github.com/cvfeeder/cvfeeder/transform"
)

// A processor is a preprocessor_config.json of transformers.
type processor struct {
	Type        string   `json:"image_processor_type"`
	Extractor   string   `json:"feature_extractor_type"`
	Resize      *bool    `json:"do_resize"`
	Crop        bool     `json:"do_center_crop"`
	Rescale     *bool    `json:"do_rescale"`
	Normalize   *bool    `json:"do_normalize"`
	Pad         bool     `json:"do_pad"`
	Flip        bool     `json:"do_flip_channel_order"`
	Splitting   bool     `json:"do_image_splitting"`
	PanAndScan  *bool    `json:"do_pan_and_scan"`
	Offset      bool     `json:"rescale_offset"`
	IncludeTop  bool     `json:"include_top"`
	KeepAspect  bool     `json:"keep_aspect_ratio"`
	Multiple    int      `json:"ensure_multiple_of"`
	Resample    *int     `json:"resample"`
	Size        edges    `json:"size"`
	CropSize    edges    `json:"crop_size"`
	PadSize     edges    `json:"pad_size"`
	RawCropPct  *float64 `json:"crop_pct"`
	Factor      *float64 `json:"rescale_factor"`
	Mean        channels `json:"image_mean"`
	Std         channels `json:"image_std"`
	PatchSize   side     `json:"patch_size"`
	MergeSize   int      `json:"merge_size"`
	MinPixels   int      `json:"min_pixels"`
	MaxPixels   int      `json:"max_pixels"`
	SizeDivisor int      `json:"size_divisor"`
}

// edges are a size: one number, a list, or an object.
type edges struct {
	Height   int `json:"height"`
	Width    int `json:"width"`
	Shortest int `json:"shortest_edge"`
	Longest  int `json:"longest_edge"`
	one      int // a number alone
}

// UnmarshalJSON implements [json.Unmarshaler].
func (e *edges) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, &e.one); err == nil {
		return nil
	}
	var pair []int
	if err := json.Unmarshal(text, &pair); err == nil && len(pair) == 2 {
		e.Height, e.Width = pair[0], pair[1]
		return nil
	}
	type plain edges
	return json.Unmarshal(text, (*plain)(e))
}

// channels are one number for each channel, or one for all.
type channels []float64

// UnmarshalJSON implements [json.Unmarshaler].
func (c *channels) UnmarshalJSON(text []byte) error {
	var one float64
	if err := json.Unmarshal(text, &one); err == nil {
		*c = channels{one}
		return nil
	}
	return json.Unmarshal(text, (*[]float64)(c))
}

// A side is a number, or the height of an object.
type side int

// UnmarshalJSON implements [json.Unmarshaler].
func (s *side) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, (*int)(s)); err == nil {
		return nil
	}
	var e edges
	err := json.Unmarshal(text, &e)
	*s = side(e.Height)
	return err
}

// How the processors differ, by the names of their types without "ImageProcessor".
var (
	// plain resize to a size, and cut the centre out of it.
	plain = []string{
		"CLIP", "Bit", "ViT", "DeiT", "Beit", "Siglip", "MobileNetV1", "MobileNetV2", "MobileViT", "Blip", "OwlViT", "Segformer",
		"RTDetr", "Pvt", "ChineseCLIP", "Flava", "Llava", "Gemma3", "DPT", "EfficientNet", "ConvNext", "PoolFormer", "Levit",
	}
	// shortest resize the short side unless the long one becomes too long.
	shortest = []string{"Detr", "ConditionalDetr", "DeformableDetr", "GroundingDino"}
	smart    = []string{"Qwen2VL"}
	// ofTorch are those that resize with PyTorch only, and how.
	ofTorch = map[string]struct{ plain, floats bool }{
		"DINOv3ViT": {floats: true}, "Sam2": {}, "Sam3": {}, "RfDetr": {plain: true, floats: true},
	}
)

// readProcessor reads a preprocessor_config.json.
func readProcessor(text []byte) (*Found, error) {
	var p processor
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("the preprocessor_config.json cannot be read: %w", err)
	}
	if p.Type == "" {
		p.Type = p.Extractor
	}
	name := p.Type
	for _, suffix := range []string{"Pil", "Fast", "ImageProcessor", "FeatureExtractor"} {
		name = strings.TrimSuffix(name, suffix)
	}
	f := &Found{Kind: "transformers' " + name + "ImageProcessor", Spec: none()}
	var why cannot
	p.common(f, &why)
	noteResampling(f)
	size := p.Size
	_, torch := ofTorch[name]
	switch {
	case torch && (size.Shortest == 0 || name == "RfDetr" && size.Longest > 0):
		p.torch(f, name, &why)
	case slices.Contains(plain, name):
		p.plain(f, name, &why)
	case slices.Contains(shortest, name) && size.Shortest > 0:
		f.Spec.Fit, f.Spec.ResizeTo, f.Spec.MaxSide = transform.ShortSide, square(size.Shortest), size.Longest
		p.paddedDetr(f)
	case slices.Contains(shortest, name):
		p.plain(f, name, &why)
	case name == "Sam" && size.Longest > 0 && p.PadSize.Height == size.Longest && p.PadSize.Width == size.Longest:
		f.Spec.Fit, f.Spec.Width, f.Spec.Height = transform.Letterbox, size.Longest, size.Longest
		f.Spec.Align, f.Spec.SizeRounding, f.Spec.PadNormalized = transform.TopLeft, transform.HalfUp, true
		f.Spec.Pad = 0
	case slices.Contains(smart, name):
		f.Spec.Fit, f.Spec.MultipleOf = transform.SmartResize, max(int(p.PatchSize), 14)*max(p.MergeSize, 2)
		f.Spec.MinPixels, f.Spec.MaxPixels = max(size.Shortest, p.MinPixels), max(size.Longest, p.MaxPixels)
		f.note("the tensor is the picture; the model's code cuts it into patches of %d pixels", max(int(p.PatchSize), 14))
	default:
		why.add("the processor %s: %s", p.Type, reasonOf(name))
	}
	return f, why.err(f.Kind)
}

// reasonOf says why a processor cannot be expressed.
func reasonOf(name string) string {
	switch name {
	case "Owlv2":
		return "it pads with gray and then resizes numbers between pixels with a Gaussian filter (scipy), which none of the ways to resize does"
	case "Siglip2":
		return "it gives patches in a sequence (NaFlex), not a picture"
	case "Pixtral":
		return "it rounds the number of patches up, and gives them in a sequence"
	case "Yolos":
		return "it stretches the picture to sides that are rounded down to multiples of 16"
	case "GLPN", "Vilt":
		return "it rounds both sides down to a multiple of size_divisor"
	case "MaskFormer", "Mask2Former", "OneFormer":
		return "it stretches the picture to sides that are rounded up to a multiple of size_divisor"
	case "VitPose", "Superpoint", "SuperGlue":
		return "it warps a person's box, or works on pairs of pictures"
	case "DINOv3ViT", "Sam2", "Sam3":
		return "its size is not height and width"
	case "LlavaNext", "LlavaOnevision", "Idefics2", "Idefics3", "Mllama", "SmolVLM", "InternVL":
		return "it cuts a picture into a number of tiles that depends on its size"
	}
	return "it is not known here; a config by hand may still do"
}

// common reads what all processors have.
func (p *processor) common(f *Found, why *cannot) {
	s := &f.Spec
	on := func(b *bool) bool { return b == nil || *b }
	if on(p.Rescale) {
		if p.Factor != nil {
			s.Scale = *p.Factor
		}
		if s.Scale == 0.00392156862745098 {
			s.Scale = 1.0 / 255
		}
	} else {
		s.Scale = 1
	}
	normalizes := on(p.Normalize)
	if p.Normalize == nil && (strings.HasPrefix(p.Type, "MobileViT") || len(p.Mean) == 0) {
		normalizes = false
	}
	if normalizes {
		if len(p.Mean) == 0 || len(p.Std) == 0 {
			why.add("do_normalize without image_mean and image_std: the file leaves them to the class; write them into it")
		}
		s.Mean, s.Std = triple(p.Mean, 0, why, "image_mean"), triple(p.Std, 1, why, "image_std")
	}
	if p.Flip {
		s.Color = transform.BGR
	}
	switch resample := p.Resample; {
	case !on(p.Resize):
	case resample == nil:
		why.add("resample is missing: the file leaves it to the class; write it into it")
	case *resample == 2:
		s.Resize = transform.PillowBilinear
	case *resample == 1:
		s.Resize = transform.PillowLanczos
	case *resample == 3:
		s.Resize = transform.PillowBicubic
	default:
		why.add("resample %d (%s): 1 (lanczos), 2 (bilinear) and 3 (bicubic) can be done", *resample,
			map[int]string{0: "nearest", 4: "box", 5: "hamming"}[*resample])
	}
	if p.Splitting {
		why.add("do_image_splitting: several crops of one picture")
	}
	if p.PanAndScan != nil && *p.PanAndScan {
		why.add("do_pan_and_scan: several crops of one picture")
	}
	if p.Offset || p.IncludeTop && strings.HasPrefix(p.Type, "EfficientNet") && p.Offset {
		why.add("rescale_offset: pixels from -1 to 1 before the mean is subtracted; set scale, mean and std to what that gives")
	}
}

// torch reads what is resized with PyTorch only.
func (p *processor) torch(f *Found, name string, why *cannot) {
	s, how := &f.Spec, ofTorch[name]
	f.Notes = nil
	method, ok := map[transform.Resize]transform.Resize{
		transform.PillowBilinear: transform.TorchBilinear, transform.PillowBicubic: transform.TorchBicubic,
	}[s.Resize]
	if s.NoAntialias = how.plain; ok {
		s.Resize = method
	} else if p.Resize == nil || *p.Resize {
		why.add("resample: PyTorch's bilinear and bicubic can be done")
	}
	if how.floats {
		s.ResizeDType = transform.Float32
	}
	if p.Size.Shortest > 0 {
		s.Fit, s.ResizeTo, s.MaxSide = transform.ShortSide, square(p.Size.Shortest), p.Size.Longest
		p.paddedDetr(f)
		return
	}
	p.plain(f, name, why)
}

// noteResampling says which of a processor's two ways to resize it is.
func noteResampling(f *Found) {
	torch := strings.Replace(string(f.Spec.Resize), "pillow-", "torch-", 1)
	if torch == string(transform.PillowLanczos) || f.Spec.Resize == none().Resize {
		return
	}
	f.note("the picture is resized with Pillow, as by the processor's variant for it (use_fast=False, in version 5 backend=\"pil\"); PyTorch's rounds differently, by up to 2 of 255: set resize to %s for it", torch)
}

// plain reads what resizes and crops.
func (p *processor) plain(f *Found, name string, why *cannot) {
	s, size := &f.Spec, p.Size
	short := size.Shortest
	switch {
	case size.one > 0 && slices.Contains([]string{"CLIP", "Bit", "ChineseCLIP", "Llava", "MobileNetV1", "MobileNetV2", "MobileViT", "Levit", "PoolFormer", "ConvNext"}, name):
		short = size.one
	case size.one > 0:
		size.Height, size.Width = size.one, size.one
	}
	crop := p.CropSize
	if crop.one > 0 {
		crop.Height, crop.Width = crop.one, crop.one
	}
	if p.KeepAspect || p.Multiple > 1 {
		why.add("keep_aspect_ratio and ensure_multiple_of: sides that are rounded to a multiple so that one of them is close to its size")
		return
	}
	s.CropRounding = transform.Floor
	switch {
	case p.Resize != nil && !*p.Resize:
		s.Fit, s.CropRounding = transform.Stretch, ""
		if p.Crop {
			why.add("do_center_crop without do_resize")
		}
		return
	case name == "ConvNext" && short >= 384:
		s.Fit, s.Width, s.Height, s.CropRounding = transform.Stretch, short, short, ""
		return
	case name == "ConvNext":
		s.Fit, s.Width, s.Height, s.ResizeTo = transform.ShortSide, short, short, square(int(float64(short)/p.pct(224.0/256)))
		return
	case name == "PoolFormer" && short > 0:
		short = int(float64(short) / p.pct(0.9))
	case name == "Levit" && short > 0:
		short = int(256.0 / 224 * float64(short))
	}
	switch {
	case short > 0:
		s.Fit, s.ResizeTo = transform.ShortSide, square(short)
	case size.Width > 0 && size.Height > 0:
		s.Fit, s.ResizeTo = transform.Stretch, image.Pt(size.Width, size.Height)
	default:
		why.add("size: shortest_edge, or height and width, are needed")
		return
	}
	if !p.Crop {
		s.CropRounding = ""
		if s.Fit == transform.Stretch {
			s.Width, s.Height, s.ResizeTo = size.Width, size.Height, image.Point{}
		}
		return
	}
	s.Width, s.Height = crop.Width, crop.Height
	switch {
	case s.Fit == transform.Stretch && s.ResizeTo == image.Pt(s.Width, s.Height):
		s.ResizeTo, s.CropRounding = image.Point{}, ""
	case s.Fit == transform.ShortSide && s.ResizeTo == image.Pt(s.Width, s.Height):
		s.Fit, s.ResizeTo = transform.Crop, image.Point{}
	}
}

// pct returns crop_pct.
func (p *processor) pct(usual float64) float64 {
	if p.RawCropPct != nil && *p.RawCropPct > 0 {
		return *p.RawCropPct
	}
	return usual
}

// paddedDetr sets the padding of the processors of DETR, which pad a single picture only where
// there is a pad_size.
func (p *processor) paddedDetr(f *Found) {
	if p.PadSize.Height > 0 {
		f.note("pad_size %dx%d is not padded to: set multiple_of, or let the model take pictures of any size", p.PadSize.Width, p.PadSize.Height)
	}
}

// square returns the size of a square.
func square(side int) image.Point { return image.Pt(side, side) }
