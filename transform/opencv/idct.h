#ifndef CVF_IDCT_H
#define CVF_IDCT_H

#include "internals.h"

// cvf_idct_start has libjpeg use an inverse DCT of our own for blocks that become 4x4
// pixels, half of their size. With AVX2 it takes half as long as libjpeg-turbo's, which
// has SSE2 only, and makes the same pixels. It is called between jpeg_start_decompress
// and the first row.
void cvf_idct_start(j_decompress_ptr info, const cvf_internals *internals);

// cvf_idct_runs tells whether this processor has what the inverse DCT needs.
int cvf_idct_runs(void);

#endif
