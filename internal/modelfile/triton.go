package modelfile

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/cvfeeder/cvfeeder/transform"
)

// pbtxt matches the config.pbtxt of a model of Triton.
var pbtxt = regexp.MustCompile(`(?m)^\s*input\s*[\[{:]`)

var (
	pbtxtType   = regexp.MustCompile(`data_type\s*:\s*TYPE_(\w+)`)
	pbtxtFormat = regexp.MustCompile(`format\s*:\s*FORMAT_(\w+)`)
	pbtxtDims   = regexp.MustCompile(`dims\s*:\s*\[([^\]]*)\]`)
	pbtxtBatch  = regexp.MustCompile(`max_batch_size\s*:\s*(\d+)`)
	comments    = regexp.MustCompile(`(?m)#.*$`)
)

// An input is what a model takes.
type input struct {
	name, datatype, format string
	dims                   []int // -1 is any
	batched                bool  // dims begin with the number of pictures
}

// readTriton reads the first input of a config.pbtxt.
func readTriton(text string) (*Found, error) {
	text = comments.ReplaceAllString(text, "")
	at := pbtxt.FindStringIndex(text)
	if at == nil {
		return nil, errUnknown
	}
	first, others, _ := strings.Cut(text[at[1]:], "}")
	var in input
	if m := pbtxtType.FindStringSubmatch(first); m != nil {
		in.datatype = m[1]
	}
	if m := pbtxtFormat.FindStringSubmatch(first); m != nil {
		in.format = m[1]
	}
	if m := pbtxtDims.FindStringSubmatch(first); m != nil {
		for _, n := range numbers.FindAllString(m[1], -1) {
			v, _ := strconv.Atoi(n)
			in.dims = append(in.dims, v)
		}
	}
	batch := pbtxtBatch.FindStringSubmatch(text)
	in.batched = batch == nil || batch[1] == "0"
	f := &Found{Kind: "a config.pbtxt of Triton"}
	if strings.HasPrefix(strings.TrimSpace(others), ", {") || strings.HasPrefix(strings.TrimSpace(others), ",\n") {
		f.note("the model has more inputs than the first, which is the one that is read")
	}
	if !in.batched {
		f.note("max_batch_size is %s: the tensor's first dimension, 1, is the batch's", batch[1])
	}
	return f, f.shaped(in)
}

// shaped sets size, layout and type, which is all that an input's shape and type say.
func (f *Found) shaped(in input) error {
	f.Spec = none()
	var why cannot
	dtype, ok := transform.DTypeOfWire(in.datatype)
	if !ok {
		why.add("the type %s: a tensor has one of %v", in.datatype, transform.DTypes())
	}
	f.Spec.DType = dtype
	dims := in.dims
	if in.batched && len(dims) == 4 {
		if dims[0] > 1 {
			why.add("a batch of %d pictures at once", dims[0])
		}
		dims = dims[1:]
	}
	if len(dims) != 3 {
		why.add("the shape %v: one picture has three dimensions, and a batch of them four", in.dims)
		return why.err(f.Kind)
	}
	channels, height, width := dims[0], dims[1], dims[2]
	f.Spec.Layout = transform.NCHW
	if in.format == "NHWC" || in.format == "" && dims[2] <= 3 && dims[2] > 0 && dims[0] != 3 {
		channels, height, width = dims[2], dims[0], dims[1]
		f.Spec.Layout = transform.NHWC
	}
	switch {
	case channels == 1:
		f.Spec.Color = transform.Gray
	case channels != 3:
		why.add("%d channels: 1 or 3 can be done", channels)
	}
	if width > 0 && height > 0 {
		f.Spec.Width, f.Spec.Height = width, height
	} else {
		f.note("the model takes pictures of any size")
	}
	f.note("the file has shape and type only: fit, resize, scale, mean and std are those that the model was trained with; start from its preset, and compare size, layout and dtype with these")
	return why.err(f.Kind)
}
