package opencv

// #include "pack.h"
import "C"

import (
	"image"
	"unsafe"

	"github.com/cvfeeder/cvfeeder/transform"
)

// tableBytes is the size of the largest table that packing needs.
const tableBytes = 3 * 256 * 4

// placed returns where the visible part of the resized picture lies in the tensor.
func placed(g transform.Geometry) image.Rectangle { return g.Visible().Add(g.Offset) }

// pack writes src, the visible part of the resized picture, to the tensor's data:
// normalized, in the spec's channel order, type and layout. It writes the padding, too,
// unless it is there already. The worker's table must have room for tableBytes.
//
// A float element is (pixel*scale - mean)/std in float64, rounded once to float32. A
// float16 or bfloat16 is that float32, rounded to nearest even as by NumPy's astype, and a
// quantized element is that float32, too, see [transform.Spec.Quantize]. PyTorch
// and NumPy round every step to float32, so that their last bits differ: by 3e-7
// with ImageNet's mean and std.
func (w *Worker) pack(s *transform.Spec, g transform.Geometry, src view, dst []byte, padded bool) {
	at := placed(g).Min
	job := C.cvf_pack_job{
		src: (*C.uint8_t)(src.p), stride: C.ptrdiff_t(src.stride), step: C.int(src.step),
		w: C.int(src.size.X), h: C.int(src.size.Y), channels: C.int(src.channels),
		reverse: flag(s.Color == transform.RGB),
		planar:  flag(s.Layout.Planar()), pad: padding(s), padded: flag(padded),
		tw: C.int(g.Size.X), th: C.int(g.Size.Y), left: C.int(at.X), top: C.int(at.Y),
	}
	if src.floats {
		floats := packFloats(s)
		C.cvf_pack_of_floats(&job, &floats, unsafe.Pointer(&dst[0]))
		return
	}
	job.kind = C.int(fillTable(s, w.table.p))
	C.cvf_pack(&job, w.table.p, unsafe.Pointer(&dst[0]))
}

// packFloats returns what elements of the spec's type are made of pixels that are floats.
func packFloats(s *transform.Spec) C.cvf_pack_floats {
	p := C.cvf_pack_floats{
		kind: map[transform.DType]C.int{
			transform.Float32: C.CVF_FLOAT32, transform.Float16: C.CVF_FLOAT16, transform.BFloat16: C.CVF_BFLOAT16,
			transform.Uint8: C.CVF_QUANTIZED, transform.Int8: C.CVF_QUANTIZED,
		}[s.DType],
		scale: C.float(s.QuantScale), zero: C.int(s.QuantZeroPoint),
	}
	least, most := s.DType.Range()
	if s.DType.Size() == 1 {
		p.least, p.most = C.int(least), C.int(most)
	}
	for c := range s.Color.Channels() {
		p.factor[c], p.shift[c] = C.double(s.Scale/s.Std[c]), C.double(-s.Mean[c]/s.Std[c])
	}
	return p
}

// padding returns the elements that the tensor is padded with, in the lowest bits.
func padding(s *transform.Spec) (pad [3]C.uint32_t) {
	for c := range s.Color.Channels() {
		pad[c] = C.uint32_t(s.Element(s.Padding(c)))
	}
	return pad
}

// fillTable writes the table that packing elements of the spec's type needs, of up to
// 3*256 elements, to memory. It returns the kind of packing.
func fillTable(s *transform.Spec, memory unsafe.Pointer) int {
	if s.Raw() {
		return C.CVF_PIXEL
	}
	kinds := map[transform.DType]int{transform.Float32: C.CVF_DIVIDE32, transform.Float16: C.CVF_DIVIDE16, transform.BFloat16: C.CVF_DIVIDEB16}
	if kind, ok := kinds[s.DType]; ok {
		if d, exact := divisor(s); exact {
			*(*float32)(memory) = d
			return kind
		}
	}
	switch s.DType.Size() {
	case 4:
		tabulate[uint32](s, memory)
		return C.CVF_LOOK32
	case 2:
		tabulate[uint16](s, memory)
		return C.CVF_LOOK16
	}
	if tabulate[uint8](s, memory) {
		return C.CVF_PIXEL
	}
	return C.CVF_LOOK8
}

// tabulate writes what each pixel of each channel becomes, and tells whether these are the
// pixels themselves.
func tabulate[T uint8 | uint16 | uint32](s *transform.Spec, memory unsafe.Pointer) (same bool) {
	table := unsafe.Slice((*T)(memory), 3*256)
	same = true
	for i := range s.Color.Channels() * 256 {
		table[i] = T(s.Element(s.Value(i/256, uint8(i%256))))
		same = same && table[i] == T(i%256)
	}
	return same
}

// divisor returns a number by which all pixels can be divided, in float32, to get the very
// elements that the spec asks for: 255 where it only has a scale of 1/255.
func divisor(s *transform.Spec) (d float32, exact bool) {
	d = float32(s.Std[0] / s.Scale)
	for i := range s.Color.Channels() * 256 {
		if float32(i%256)/d != float32(s.Value(i/256, uint8(i%256))) {
			return 0, false
		}
	}
	return d, true
}

// flag returns b as C has it.
func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}
