#ifndef CVF_STANDARD_H
#define CVF_STANDARD_H

#include <stddef.h>
#include <stdio.h>

#include <jpeglib.h>

// cvf_standard_or returns Huffman table i of those that a JPEG's header has for DC, or for AC. A
// JPEG that does not define table 0 or 1, as frames of MJPEG, means the standard's for luma and
// for chroma. It returns NULL where there is none.
const JHUFF_TBL *cvf_standard_or(JHUFF_TBL *const tables[NUM_HUFF_TBLS], int ac, int i);

#endif
