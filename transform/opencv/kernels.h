#ifndef CVF_KERNELS_H
#define CVF_KERNELS_H

#include "decode_kernels.h"
#include "resize_kernels.h"

// The functions that have vector code, for one kind of processor. All tables give the same
// results, bit for bit.
typedef struct {
	const char *name; // "c", "avx2", "neon"
	const cvf_decode_kernels *decode;
	const cvf_resize_kernels *resize;
} cvf_kernels;

// cvf_kernels_all returns the tables that this processor can use, the fastest first and that
// of plain C last, and their number.
const cvf_kernels *cvf_kernels_all(int *count);

// cvf_kernels_best returns the first of them.
const cvf_kernels *cvf_kernels_best(void);

#endif
