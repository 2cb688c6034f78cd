#ifndef CVF_DECODE_CHECK_H
#define CVF_DECODE_CHECK_H

#include "decode_kernels.h"

// cvf_decode_check compares the functions of a table with those of plain C, for random inputs:
// every size and every length, and numbers at the ends of their ranges. It returns the name
// of one that differs, or NULL.
const char *cvf_decode_check(const cvf_decode_kernels *kernels, uint64_t seed);

#endif
