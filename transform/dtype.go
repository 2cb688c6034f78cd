package transform

import "math"

// A DType is the type of the tensor's elements.
type DType string

// The element types.
const (
	Float32  DType = "float32"
	Float16  DType = "float16"
	BFloat16 DType = "bfloat16" // the upper half of a float32
	Uint8    DType = "uint8"
	Int8     DType = "int8"
)

// A dtype is what there is to know about an element type.
type dtype struct {
	name DType
	wire string // in the Open Inference Protocol of KServe and Triton, and so in messages
	// numpy is NumPy's description of the type, little-endian. NumPy has no bfloat16, whose
	// elements are the bits.
	numpy string
	size  int // bytes
	// least and most are the range of its finite values.
	least, most float64
}

// dtypes is the table of element types. Every other table of them is made of it or checked
// against it: the enum of the config file, and by clients/conformance/dtypes.json those of the
// clients.
var dtypes = [...]dtype{
	{Float32, "FP32", "<f4", 4, -math.MaxFloat32, math.MaxFloat32},
	{Float16, "FP16", "<f2", 2, -65504, 65504},
	{BFloat16, "BF16", "<u2", 2, -0x1.fep127, 0x1.fep127},
	{Uint8, "UINT8", "|u1", 1, 0, 255},
	{Int8, "INT8", "|i1", 1, -128, 127},
}

// DTypes returns the values of [DType].
func DTypes() []DType {
	names := make([]DType, len(dtypes))
	for i := range dtypes {
		names[i] = dtypes[i].name
	}
	return names
}

// DTypeOfWire returns the element type with a name of the Open Inference Protocol, and false
// if no type has it: see [DType.Wire].
func DTypeOfWire(wire string) (DType, bool) {
	for i := range dtypes {
		if dtypes[i].wire == wire {
			return dtypes[i].name, true
		}
	}
	return "", false
}

// row returns the type's row of the table; for an unknown type an empty one.
func (d DType) row() dtype {
	for i := range dtypes {
		if dtypes[i].name == d {
			return dtypes[i]
		}
	}
	return dtype{}
}

// Size returns the bytes of one element; 0 if the type is unknown.
func (d DType) Size() int { return d.row().size }

// Range returns the least and the largest finite value of the type.
func (d DType) Range() (least, most float64) {
	r := d.row()
	return r.least, r.most
}

// Wire returns the type's name in the Open Inference Protocol: "FP32" of float32.
func (d DType) Wire() string { return d.row().wire }

// NumPy returns NumPy's description of the type in little-endian order: "<f4" of float32. That
// of bfloat16, which NumPy does not have, is the one of its bits, "<u2".
func (d DType) NumPy() string { return d.row().numpy }
