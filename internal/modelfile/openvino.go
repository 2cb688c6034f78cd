package modelfile

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cvfeeder/cvfeeder/transform"
)

// openvino matches the beginning of an OpenVINO IR, behind the XML declaration.
var openvino = regexp.MustCompile(`^(?:<\?xml[^>]*\?>\s*)?<net\s`)

// An ir is what is read of an OpenVINO IR
// (https://docs.openvino.ai/2025/documentation/openvino-ir-format.html).
type ir struct {
	Layers []irLayer `xml:"layers>layer"`
	Edges  []struct {
		From string `xml:"from-layer,attr"`
		To   string `xml:"to-layer,attr"`
	} `xml:"edges>edge"`
	// Info is of the Model API: what a program does before the model, or the model itself where
	// embedded_processing says so.
	Info irInfo `xml:"rt_info>model_info"`
	// Converted and Older are the options of the conversion, which are in the model.
	Converted irInfo `xml:"rt_info>conversion_parameters"`
	Older     irInfo `xml:"meta_data>cli_parameters"`
}

type irLayer struct {
	ID   string `xml:"id,attr"`
	Type string `xml:"type,attr"`
	Data struct {
		Shape   string `xml:"shape,attr"`
		Element string `xml:"element_type,attr"`
		Mode    string `xml:"mode,attr"`
	} `xml:"data"`
	// Info is of the layer, as the mark of the preprocessing; the layout is of its output.
	Info    irAttributes `xml:"rt_info"`
	Outputs []struct {
		Info irAttributes `xml:"rt_info"`
	} `xml:"output>port"`
}

type irAttributes struct {
	All []irAttribute `xml:"attribute"`
}

type irAttribute struct {
	Name   string `xml:"name,attr"`
	Layout string `xml:"layout,attr"`
}

// An irInfo holds keys with their values, in the order of the file.
type irInfo struct {
	Keys []struct {
		XMLName xml.Name
		Value   string `xml:"value,attr"`
	} `xml:",any"`
}

// get returns the value of a key, "" where it is not there or says nothing.
func (i irInfo) get(key string) string {
	for _, k := range i.Keys {
		if k.XMLName.Local == key && !slices.Contains([]string{"", "None", "()", "[]", "Not specified"}, k.Value) {
			return k.Value
		}
	}
	return ""
}

// irTypes are the types of elements as the Open Inference Protocol names them.
var irTypes = map[string]string{"f32": "FP32", "f16": "FP16", "bf16": "BF16", "u8": "UINT8", "i8": "INT8"}

// readOpenVINO reads the xml of an OpenVINO IR. The weights, in which the numbers of its layers
// are, are in another file, and not needed: what the model does itself nobody else has to do.
func readOpenVINO(text []byte) (*Found, error) {
	var net ir
	if err := xml.NewDecoder(bytes.NewReader(text)).Decode(&net); err != nil {
		return nil, fmt.Errorf("the xml of the OpenVINO IR cannot be read: %w", err)
	}
	f := &Found{Kind: "an OpenVINO IR"}
	at := slices.IndexFunc(net.Layers, func(l irLayer) bool { return l.Type == "Parameter" })
	if at < 0 {
		return nil, errUnknown
	}
	parameter := net.Layers[at]
	in := input{datatype: irTypes[parameter.Data.Element], format: parameter.layout(), batched: true}
	if in.datatype == "" {
		in.datatype = parameter.Data.Element
	}
	for side := range strings.SplitSeq(parameter.Data.Shape, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(side))
		if err != nil {
			n = -1 // any, or a range
		}
		in.dims = append(in.dims, n)
	}
	if err := f.shaped(in); err != nil {
		return nil, err
	}
	var why cannot
	f.embedded(&net, parameter)
	if len(net.Info.Keys) > 0 {
		f.modelAPI(net.Info, &why)
	}
	return f, why.err(f.Kind)
}

// layout returns the layout of the input, "" where it is not said.
func (l irLayer) layout() string {
	for _, port := range l.Outputs {
		for _, a := range port.Info.All {
			if a.Name == "layout" {
				return strings.NewReplacer("[", "", "]", "", ",", "", " ", "").Replace(a.Layout)
			}
		}
	}
	return ""
}

// marked tells whether the layer is of the preprocessing, as ov::preprocess marks it.
func (l irLayer) marked() bool {
	return slices.ContainsFunc(l.Info.All, func(a irAttribute) bool { return a.Name == "preprocessing" })
}

// irSteps are the layers that ov::preprocess puts behind an input, and what they do.
var irSteps = map[string]string{
	"Convert": "converts the type", "Gather": "reverses the channels", "Interpolate": "resizes", "Transpose": "changes the layout",
	"Subtract": "subtracts a mean", "Multiply": "multiplies by a scale", "Divide": "divides by a scale", "Add": "adds a shift",
	"Clamp": "limits the range", "Round": "rounds",
}

// embedded follows the layers behind the input as long as they are steps of a preprocessing.
func (f *Found) embedded(net *ir, from irLayer) {
	var steps []string
	scaled := false
	for at := from; ; {
		next := net.behind(at)
		if next == nil || irSteps[next.Type] == "" {
			break
		}
		at = *next
		step := irSteps[at.Type]
		switch {
		case at.Type == "Interpolate":
			step += " (" + at.Data.Mode + ")"
		case at.marked() || at.Type == "Subtract" || at.Type == "Multiply" || at.Type == "Divide":
			scaled = true
		}
		steps = append(steps, step)
	}
	converted := slices.ContainsFunc([]irInfo{net.Converted, net.Older}, func(i irInfo) bool {
		return i.get("mean_values") != "" || i.get("scale_values") != "" || i.get("scale") != "" || i.get("mean_scale_values") != ""
	})
	if len(steps) > 0 {
		f.note("the model itself %s: that is not to be done twice", strings.Join(steps, ", "))
	}
	if scaled || converted || f.Spec.DType == transform.Uint8 {
		f.Spec.Scale = 1
		f.note("the model takes pixels from 0 to 255, and normalizes them itself")
	}
	if f.Spec.Color != transform.Gray {
		f.note("the order of the colors is not in the file: set color to that of the conversion, which for Intel's models is bgr")
	}
}

// behind returns the only layer that takes what a layer gives, nil where there are several.
func (net *ir) behind(l irLayer) *irLayer {
	var found *irLayer
	for _, e := range net.Edges {
		if e.From != l.ID {
			continue
		}
		i := slices.IndexFunc(net.Layers, func(l irLayer) bool { return l.ID == e.To })
		if i < 0 || found != nil {
			return nil
		}
		found = &net.Layers[i]
	}
	return found
}

// modelAPI reads what the Model API (https://github.com/open-edge-platform/model_api) does with
// pictures, whose colors it takes as BGR.
func (f *Found) modelAPI(info irInfo, why *cannot) {
	if strings.EqualFold(info.get("embedded_processing"), "true") {
		f.note("embedded_processing: the model resizes and normalizes pictures itself")
		f.Spec.Scale = 1
		return
	}
	s := &f.Spec
	if s.Color = transform.BGR; strings.EqualFold(info.get("reverse_input_channels"), "true") {
		s.Color = transform.RGB
	}
	s.Scale = 1
	s.Mean = triple(list(info.get("mean_values")), 0, why, "mean_values")
	s.Std = triple(list(info.get("scale_values")), 1, why, "scale_values")
	switch how := info.get("resize_type"); how {
	case "", "standard":
		s.Fit = transform.Stretch
	case "fit_to_window":
		s.Fit, s.Align, s.Pad = transform.Letterbox, transform.TopLeft, 0
	case "fit_to_window_letterbox":
		s.Fit, s.Pad = transform.Letterbox, 0
	case "crop":
		s.Fit = transform.Crop
	default:
		why.add("resize_type %q: standard, fit_to_window, fit_to_window_letterbox and crop can be done", how)
	}
	if pad := info.get("pad_value"); pad != "" && s.Fit == transform.Letterbox {
		var err error
		if s.Pad, s.PadChannels, err = transform.ParsePad(pad); err != nil {
			why.add("pad_value: %v", err)
		}
	}
	f.Notes = slices.DeleteFunc(f.Notes, func(note string) bool {
		return strings.HasPrefix(note, "the file has shape and type only") || strings.HasPrefix(note, "the order of the colors")
	})
}
