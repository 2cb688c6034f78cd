#ifndef CVF_PILLOW_H
#define CVF_PILLOW_H

#include <stddef.h>
#include <stdint.h>

enum { CVF_BILINEAR, CVF_BICUBIC, CVF_LANCZOS };

// The computation of a part of a resized picture.
typedef struct {
	const uint8_t *src; // interleaved pixels
	ptrdiff_t stride;   // bytes from row to row of src
	int channels;       // 1 or 3
	int src_w, src_h;
	int full_w, full_h; // the size that all of src would be resized to
	int x, y, w, h;     // the part of that which is computed
	int filter;         // one of the above
} cvf_pillow_job;

// cvf_pillow_scratch returns the bytes of scratch memory that the job needs.
size_t cvf_pillow_scratch(const cvf_pillow_job *job);

// cvf_pillow resizes as Pillow's Image.resize does, to the last bit, and writes
// the part of the result that the job names to dst, without gaps between rows.
// The scratch memory must be aligned to 64 bytes.
void cvf_pillow(const cvf_pillow_job *job, void *scratch, uint8_t *dst);

#endif
