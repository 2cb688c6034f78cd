package modelfile

import (
	"bytes"
	"strconv"

	"github.com/cvfeeder/cvfeeder/internal/modelfile/flatbuffer"
	"github.com/cvfeeder/cvfeeder/transform"
)

// What is read of a TFLite model is in two schemas: that of the model
// (https://github.com/google-ai-edge/LiteRT, schema.fbs) and that of its metadata
// (https://github.com/tensorflow/tflite-support, metadata_schema.fbs). The numbers below are of
// their fields.
const (
	tfliteSubgraphs, tfliteBuffers, tfliteMetadata = 2, 4, 6
	subgraphTensors, subgraphInputs                = 0, 1
	tensorShape, tensorType, tensorQuantization    = 0, 1, 4
	tensorSignature                                = 7
	quantizationScale, quantizationZeroPoint       = 2, 3
	metadataName, metadataBuffer                   = 0, 1

	modelSubgraphs                = 3
	subgraphTensorMetadata        = 2
	tensorContent, tensorUnits    = 3, 4
	unionType, unionValue         = 0, 1
	imageProperties, colorSpace   = 2, 0
	normalizationOptions          = 1
	normalizeMean, normalizeStd   = 0, 1
	colorSpaceRGB, colorSpaceGray = 1, 2
)

// tfliteTypes are the types of elements by number, as the Open Inference Protocol names them.
var tfliteTypes = map[int]string{0: "FP32", 1: "FP16", 2: "INT32", 3: "UINT8", 4: "INT64", 9: "INT8", 18: "BF16"}

// isTFLite tells whether a file is a TFLite model.
func isTFLite(data []byte) bool { return len(data) > 8 && string(data[4:8]) == "TFL3" }

// readTFLite reads the first input of a TFLite model, and its metadata if there is one.
func readTFLite(data []byte) (*Found, error) {
	f := &Found{Kind: "a TFLite model"}
	model := flatbuffer.Root(data)
	subgraphs := model.Tables(tfliteSubgraphs)
	if len(subgraphs) == 0 {
		return nil, errUnknown
	}
	tensors, inputs := subgraphs[0].Tables(subgraphTensors), subgraphs[0].Ints(subgraphInputs)
	if len(inputs) == 0 || inputs[0] < 0 || inputs[0] >= len(tensors) {
		return nil, errUnknown
	}
	if len(inputs) > 1 {
		f.note("the model has %d inputs, of which the first is read", len(inputs))
	}
	tensor := tensors[inputs[0]]
	dims := tensor.Ints(tensorSignature)
	if len(dims) == 0 {
		dims = tensor.Ints(tensorShape)
	}
	err := f.shaped(input{datatype: tfliteTypes[tensor.Byte(tensorType)], format: "NHWC", dims: dims, batched: true})
	if err != nil {
		return nil, err
	}
	var why cannot
	quantized := f.quantization(tensor.Table(tensorQuantization), &why)
	if f.tfliteMetadata(model, &why) {
		f.Notes = f.Notes[:len(f.Notes)-1] // of shaped, that more is not known
		f.note("fit and resize are not in the file: the pictures of the training tell")
	}
	if quantized && f.Spec.DType == transform.Uint8 {
		f.note("TensorFlow Lite's task library gives such a model the pixels as they are: for that, remove quant_scale and quant_zero_point")
	}
	return f, why.err(f.Kind)
}

// quantization reads how the elements of the input are quantized, and returns whether they are.
func (f *Found) quantization(q flatbuffer.Table, why *cannot) bool {
	scales := q.Floats(quantizationScale)
	if f.Spec.DType.Size() != 1 || len(scales) == 0 {
		return false
	}
	if len(scales) > 1 {
		why.add("an input that is quantized with %d scales: one can be done", len(scales))
		return false
	}
	f.Spec.QuantScale = single(scales)[0]
	if zeros := q.Int64s(quantizationZeroPoint); len(zeros) > 0 {
		f.Spec.QuantZeroPoint = int(zeros[0])
	}
	return true
}

// tfliteMetadata reads the metadata, and returns whether it says how pixels are normalized.
func (f *Found) tfliteMetadata(model flatbuffer.Table, why *cannot) bool {
	buffers := model.Tables(tfliteBuffers)
	for _, m := range model.Tables(tfliteMetadata) {
		if n := m.Uint32(metadataBuffer); string(m.Bytes(metadataName)) == "TFLITE_METADATA" && n < len(buffers) {
			return f.tensorMetadata(buffers[n].Bytes(0), why)
		}
	}
	return false
}

func (f *Found) tensorMetadata(data []byte, why *cannot) bool {
	if !bytes.HasPrefix(data[min(4, len(data)):], []byte("M0")) {
		return false
	}
	subgraphs := flatbuffer.Root(data).Tables(modelSubgraphs)
	if len(subgraphs) == 0 {
		return false
	}
	inputs := subgraphs[0].Tables(subgraphTensorMetadata)
	if len(inputs) == 0 {
		return false
	}
	if c := inputs[0].Table(tensorContent); c.Byte(unionType) == imageProperties {
		space := c.Table(unionValue).Byte(colorSpace)
		if space == colorSpaceGray != (f.Spec.Color == transform.Gray) && space != 0 {
			why.add("color space %d with %d channels", space, f.Spec.Color.Channels())
		}
		if space != colorSpaceRGB && space != colorSpaceGray {
			f.note("the metadata does not say the order of the colors")
		}
	}
	for _, unit := range inputs[0].Tables(tensorUnits) {
		if unit.Byte(unionType) != normalizationOptions {
			why.add("a process unit of type %d: 1, a normalization, can be done", unit.Byte(unionType))
			continue
		}
		options := unit.Table(unionValue)
		f.Spec.Scale = 1
		f.Spec.Mean = triple(single(options.Floats(normalizeMean)), 0, why, "the mean of the metadata")
		f.Spec.Std = triple(single(options.Floats(normalizeStd)), 1, why, "the std of the metadata")
		return true
	}
	return false
}

// single returns numbers of float32 as short as they were written.
func single(values []float64) channels {
	all := make(channels, len(values))
	for i, v := range values {
		all[i], _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', -1, 32), 64)
	}
	return all
}
