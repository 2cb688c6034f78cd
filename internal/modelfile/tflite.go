package modelfile

import (
	"bytes"
	"encoding/binary"
	"strconv"

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
	model := root(data)
	subgraphs := model.tables(tfliteSubgraphs)
	if len(subgraphs) == 0 {
		return nil, errUnknown
	}
	tensors, inputs := subgraphs[0].tables(subgraphTensors), subgraphs[0].ints(subgraphInputs)
	if len(inputs) == 0 || inputs[0] < 0 || inputs[0] >= len(tensors) {
		return nil, errUnknown
	}
	if len(inputs) > 1 {
		f.note("the model has %d inputs, of which the first is read", len(inputs))
	}
	tensor := tensors[inputs[0]]
	dims := tensor.ints(tensorSignature)
	if len(dims) == 0 {
		dims = tensor.ints(tensorShape)
	}
	err := f.shaped(input{datatype: tfliteTypes[tensor.number(tensorType)], format: "NHWC", dims: dims, batched: true})
	if err != nil {
		return nil, err
	}
	var why cannot
	quantized := f.quantization(tensor.table(tensorQuantization), &why)
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
func (f *Found) quantization(q table, why *cannot) bool {
	scales := q.floats(quantizationScale)
	at, zeros := q.vector(quantizationZeroPoint, 8)
	if f.Spec.DType.Size() != 1 || len(scales) == 0 {
		return false
	}
	if len(scales) > 1 {
		why.add("an input that is quantized with %d scales: one can be done", len(scales))
		return false
	}
	f.Spec.QuantScale = single(scales)[0]
	if zeros > 0 {
		f.Spec.QuantZeroPoint = int(int64(binary.LittleEndian.Uint64(q.data[at:])))
	}
	return true
}

// tfliteMetadata reads the metadata, and returns whether it says how pixels are normalized.
func (f *Found) tfliteMetadata(model table, why *cannot) bool {
	buffers := model.tables(tfliteBuffers)
	for _, m := range model.tables(tfliteMetadata) {
		if n := m.whole(metadataBuffer); string(m.bytes(metadataName)) == "TFLITE_METADATA" && n < len(buffers) {
			return f.tensorMetadata(buffers[n].bytes(0), why)
		}
	}
	return false
}

func (f *Found) tensorMetadata(data []byte, why *cannot) bool {
	if !bytes.HasPrefix(data[min(4, len(data)):], []byte("M0")) {
		return false
	}
	subgraphs := root(data).tables(modelSubgraphs)
	if len(subgraphs) == 0 {
		return false
	}
	inputs := subgraphs[0].tables(subgraphTensorMetadata)
	if len(inputs) == 0 {
		return false
	}
	if c := inputs[0].table(tensorContent); c.number(unionType) == imageProperties {
		space := c.table(unionValue).number(colorSpace)
		if space == colorSpaceGray != (f.Spec.Color == transform.Gray) && space != 0 {
			why.add("color space %d with %d channels", space, f.Spec.Color.Channels())
		}
		if space != colorSpaceRGB && space != colorSpaceGray {
			f.note("the metadata does not say the order of the colors")
		}
	}
	for _, unit := range inputs[0].tables(tensorUnits) {
		if unit.number(unionType) != normalizationOptions {
			why.add("a process unit of type %d: 1, a normalization, can be done", unit.number(unionType))
			continue
		}
		options := unit.table(unionValue)
		f.Spec.Scale = 1
		f.Spec.Mean = triple(single(options.floats(normalizeMean)), 0, why, "the mean of the metadata")
		f.Spec.Std = triple(single(options.floats(normalizeStd)), 1, why, "the std of the metadata")
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
