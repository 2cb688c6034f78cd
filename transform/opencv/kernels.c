#include "kernels.h"

static const cvf_kernels all[] = {
#ifdef __x86_64__
	{"avx2", &cvf_decode_avx2, &cvf_resize_avx2},
#endif
#ifdef __aarch64__
	{"neon", &cvf_decode_neon, &cvf_resize_neon},
#endif
	{"c", &cvf_decode_c, &cvf_resize_c},
};

// Tells how many of the tables this processor cannot use.
static int skipped(void) {
#ifdef __x86_64__
	return !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"));
#else
	return 0;
#endif
}

const cvf_kernels *cvf_kernels_all(int *count) {
	*count = (int)(sizeof all / sizeof *all) - skipped();
	return all + skipped();
}

const cvf_kernels *cvf_kernels_best(void) { return all + skipped(); }
