package opencv

// #include "decode_check.h"
// #include "kernels.h"
// #include "resize_check.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// kernels returns the tables of vector code that this processor can use, the fastest first.
func kernels() []C.cvf_kernels {
	var n C.int
	first := C.cvf_kernels_all(&n)
	return unsafe.Slice(first, n)
}

// kernelName returns the name of a table.
func kernelName(k C.cvf_kernels) string { return C.GoString(k.name) }

// checkKernels compares every function of every table with its plain C, for random inputs.
// An error names one that differs.
func checkKernels(seed uint64) error {
	for _, k := range kernels() {
		if name := C.cvf_decode_check(k.decode, C.uint64_t(seed)); name != nil {
			return fmt.Errorf("%s of %s, seed %d", C.GoString(name), kernelName(k), seed)
		}
		if name := C.cvf_resize_check(k.resize, C.uint64_t(seed)); name != nil {
			return fmt.Errorf("%s of %s, seed %d", C.GoString(name), kernelName(k), seed)
		}
	}
	return nil
}
