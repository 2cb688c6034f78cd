#ifndef CVF_RESIZE_CHECK_H
#define CVF_RESIZE_CHECK_H

#include "resize_kernels.h"

// cvf_resize_check compares the functions with those in plain C, for one random input each
// and all lengths up to 80. It returns the name of the first that differs, or that writes
// further behind than it may; NULL if there is none. It is for tests.
const char *cvf_resize_check(const cvf_resize_kernels *k, uint64_t seed);

#endif
