package modelfile

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/cvfeeder/cvfeeder/transform"
)

// printed matches what Python prints of the transforms of torchvision's weights, or of timm's.
var printed = regexp.MustCompile(`^(ImageClassification|SemanticSegmentation|ObjectDetection|VideoClassification|OpticalFlow|Compose)\(`)

// numbers matches the numbers of a list.
var numbers = regexp.MustCompile(`-?[0-9]+(\.[0-9]*)?(e-?[0-9]+)?`)

// readTorchvision reads what print(weights.transforms()) writes, or print(transform) of
// transforms that are composed of Resize, CenterCrop, ToTensor and Normalize.
func readTorchvision(text string) (*Found, error) {
	name, _, _ := strings.Cut(text, "(")
	f := &Found{Kind: "torchvision's " + name, Spec: none()}
	f.Spec.Fit, f.Spec.Resize = transform.ShortSide, transform.PillowBilinear
	var why cannot
	switch name {
	case "ObjectDetection":
		f.Spec.Fit, f.Spec.Resize = transform.Stretch, transform.OpenCVLinear
		f.note("the model resizes the pictures itself; they are given as they are, from 0 to 1")
		return f, nil
	case "VideoClassification", "OpticalFlow":
		why.add("it takes several pictures at once")
		return nil, why.err(f.Kind)
	case "Compose":
		return readComposed(f, text)
	}
	crop, resize := list(after(text, "crop_size=")), list(after(text, "resize_size="))
	if name == "SemanticSegmentation" {
		crop = nil
	}
	f.Spec.Mean, f.Spec.Std = triple(list(after(text, "mean=")), 0, &why, "mean"), triple(list(after(text, "std=")), 1, &why, "std")
	f.interpolate(text, &why)
	f.crop(resize, crop, &why)
	return f, why.err(f.Kind)
}

// readComposed reads the steps of Compose(...).
func readComposed(f *Found, text string) (*Found, error) {
	var why cannot
	var resize, crop []float64
	for _, line := range strings.Split(text, "\n")[1:] {
		step, arguments, _ := strings.Cut(strings.TrimSpace(line), "(")
		switch step {
		case "Resize":
			resize = list(after(arguments, "size="))
			f.interpolate(arguments, &why)
		case "CenterCrop":
			crop = list(after(arguments, "size="))
		case "Normalize":
			f.Spec.Mean, f.Spec.Std = triple(list(after(arguments, "mean=")), 0, &why, "mean"), triple(list(after(arguments, "std=")), 1, &why, "std")
		case "ToTensor", "MaybeToTensor", "PILToTensor", "ConvertImageDtype", "ToImage", "ToDtype", ")", "":
		default:
			why.add("the step %s", step)
		}
	}
	f.crop(resize, crop, &why)
	return f, why.err(f.Kind)
}

// interpolate sets how pictures are resized.
func (f *Found) interpolate(text string, why *cannot) {
	mode := after(text, "interpolation=")
	if end := strings.IndexAny(mode, ",\n)"); end >= 0 {
		mode = mode[:end]
	}
	mode = strings.ToLower(strings.TrimPrefix(strings.TrimSpace(mode), "InterpolationMode."))
	resize, ok := pillow[mode]
	if !ok {
		why.add("interpolation %q: bilinear, bicubic and lanczos can be done", mode)
	}
	f.Spec.Resize = resize
	f.note("the picture is resized as a Pillow image; torchvision resizes tensors with other roundings")
}

// crop sets what the picture is resized to, and what is cut out of it.
func (f *Found) crop(resize, crop []float64, why *cannot) {
	s := &f.Spec
	whole := func(v []float64, i int) int { return int(v[min(i, len(v)-1)]) }
	if len(crop) > 0 {
		s.Height, s.Width = whole(crop, 0), whole(crop, 1)
	}
	switch {
	case len(resize) == 0:
		why.add("no size that the picture is resized to")
	case len(resize) == 1:
		s.Fit = transform.ShortSide
		s.ResizeTo.X, s.ResizeTo.Y = whole(resize, 0), whole(resize, 0)
	case len(crop) == 0:
		s.Fit, s.Height, s.Width = transform.Stretch, whole(resize, 0), whole(resize, 1)
	default:
		s.Fit = transform.Stretch
		s.ResizeTo.Y, s.ResizeTo.X = whole(resize, 0), whole(resize, 1)
	}
}

// after returns the text after a key.
func after(text, key string) string {
	_, rest, _ := strings.Cut(text, key)
	return strings.TrimLeft(strings.TrimSpace(rest), "\n")
}

// list returns the numbers of a list, or the one number, that text begins with.
func list(text string) []float64 {
	if text == "" {
		return nil
	}
	end := len(text)
	for _, brackets := range []string{"[]", "()"} {
		if text[0] == brackets[0] {
			if i := strings.IndexByte(text, brackets[1]); i > 0 {
				end = i
			}
		}
	}
	if strings.HasPrefix(text, "tensor(") {
		end = strings.IndexByte(text+")", ')')
	}
	if end == len(text) {
		end = strings.IndexAny(text+",", ",)\n")
	}
	var all []float64
	for _, number := range numbers.FindAllString(text[:end], -1) {
		v, _ := strconv.ParseFloat(number, 64) // it matches
		all = append(all, v)
	}
	return all
}
