#ifndef CVF_IDCT_H
#define CVF_IDCT_H

#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>

// cvf_idct_start has libjpeg use an inverse DCT of our own for blocks that become 4x4
// pixels, half of their size, where the processor has AVX2: half as long as that of
// libjpeg-turbo, which has SSE2 only, and the same pixels. To be called after
// jpeg_start_decompress.
void cvf_idct_start(j_decompress_ptr info);

#endif
