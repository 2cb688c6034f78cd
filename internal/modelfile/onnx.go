package modelfile

import (
	"encoding/binary"
	"slices"
)

// ONNX models are messages of Protocol Buffers, whose fields are in onnx.proto
// (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Only those of the inputs, of the
// first operators and of the metadata are read here.

// A field is one field of a message.
type field struct {
	number int
	value  uint64
	data   []byte
}

// fields returns the fields of a message, and false if it is none.
func fields(data []byte) (all []field, ok bool) {
	for len(data) > 0 {
		tag, n := binary.Uvarint(data)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<28 {
			return nil, false
		}
		data = data[n:]
		f := field{number: int(tag >> 3)}
		switch tag & 7 {
		case 0:
			f.value, n = binary.Uvarint(data)
		case 1:
			n = 8
		case 5:
			n = 4
		case 2:
			length, m := binary.Uvarint(data)
			if m <= 0 || length > uint64(len(data)-m) {
				return nil, false
			}
			f.data, n = data[m:m+int(length)], m+int(length)
		default:
			return nil, false
		}
		if n <= 0 || n > len(data) {
			return nil, false
		}
		data = data[n:]
		all = append(all, f)
	}
	return all, true
}

// each calls do with the submessages of a number.
func each(message []byte, number int, do func([]byte)) {
	all, _ := fields(message)
	for _, f := range all {
		if f.number == number && f.data != nil {
			do(f.data)
		}
	}
}

// text returns the first text of a number.
func text(message []byte, number int) string {
	var s string
	each(message, number, func(b []byte) {
		if s == "" {
			s = string(b)
		}
	})
	return s
}

// A model is what is read of an ONNX model.
type model struct {
	metadata map[string]string
	inputs   []input
	// first are the operators that the first input goes into.
	first []string
}

// onnxTypes are the types of elements by number, as the Open Inference Protocol names them.
var onnxTypes = map[uint64]string{1: "FP32", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 10: "FP16", 11: "FP64", 16: "BF16"}

// parseONNX reads an ONNX model, and returns false if it is none.
func parseONNX(data []byte) (m model, ok bool) {
	top, ok := fields(data)
	if !ok {
		return m, false
	}
	m.metadata = map[string]string{}
	for _, f := range top {
		switch f.number {
		case 14:
			m.metadata[text(f.data, 1)] = text(f.data, 2)
		case 7:
			m.graph(f.data)
		}
	}
	return m, len(m.inputs) > 0
}

// graph reads the inputs that are no weights.
func (m *model) graph(graph []byte) {
	weights := map[string]bool{}
	each(graph, 5, func(tensor []byte) { weights[text(tensor, 8)] = true })
	each(graph, 11, func(value []byte) {
		in := input{name: text(value, 1), batched: true}
		if weights[in.name] {
			return
		}
		each(value, 2, func(kind []byte) { each(kind, 1, in.tensor) })
		m.inputs = append(m.inputs, in)
	})
	if len(m.inputs) == 0 {
		return
	}
	each(graph, 1, func(node []byte) {
		each(node, 1, func(name []byte) {
			if string(name) == m.inputs[0].name {
				m.first = append(m.first, text(node, 4))
			}
		})
	})
}

// tensor reads the type and the shape of an input.
func (in *input) tensor(kind []byte) {
	all, _ := fields(kind)
	for _, f := range all {
		switch f.number {
		case 1:
			in.datatype = onnxTypes[f.value]
		case 2:
			each(f.data, 1, func(dim []byte) {
				n := -1
				sides, _ := fields(dim)
				for _, s := range sides {
					if s.number == 1 && s.value < 1<<31 {
						n = int(s.value)
					}
				}
				in.dims = append(in.dims, n)
			})
		}
	}
}

// readONNX reads what the model says of its pictures: by the metadata that Ultralytics puts
// into its exports, or else by the shape and the type of its input.
func readONNX(m model) (*Found, error) {
	if m.metadata["imgsz"] != "" {
		f, err := readUltralytics(m.metadata)
		if err == nil && m.inputs[0].datatype == "FP16" {
			f.Spec.DType = "float16"
		}
		return f, err
	}
	f := &Found{Kind: "an ONNX model"}
	if err := f.shaped(m.inputs[0]); err != nil {
		return nil, err
	}
	for _, operator := range m.first {
		if slices.Contains([]string{"Cast", "Sub", "Div", "Mul", "Add", "Transpose", "Resize"}, operator) {
			f.note("the model begins with %s, so that part of the preprocessing is in it: look whether it normalizes, and if so set scale: 1", operator)
			break
		}
	}
	return f, nil
}
