#ifndef CVF_PACK_H
#define CVF_PACK_H

#include <stddef.h>
#include <stdint.h>

// A picture of w x h 8-bit pixels, to be written to a tensor of tw x th.
typedef struct {
	const uint8_t *src;
	ptrdiff_t stride; // bytes from row to row
	int step;         // bytes from pixel to pixel
	int w, h;
	int channels;  // 1 or 3
	int reverse;   // the tensor has the picture's channels in reverse order
	int kind;      // of the tensor's elements: see below
	int planar;    // the tensor has a plane for each channel
	uint32_t pad[3]; // the element that fills each channel around the picture, in its lowest bits
	int padded;    // this has been done already
	int tw, th;
	int left, top; // where the picture lies in the tensor, which holds all of it
} cvf_pack_job;

// The kinds of elements, and the table that each needs.
enum {
	CVF_PIXEL,    // of 8 bits, the pixels as they are: no table
	CVF_LOOK8,    // of 8 bits: what each of the 256 pixels becomes, for each channel
	CVF_LOOK16,   // of 16 bits: the same
	CVF_LOOK32,   // of 32 bits: the same
	CVF_DIVIDE16, // pixels divided by a number, in half precision: that number, a float
	CVF_DIVIDEB16, // the same in bfloat16
	CVF_DIVIDE32, // floats, pixels divided by a number: that number
};

// cvf_pack writes the tensor to dst.
void cvf_pack(const cvf_pack_job *job, const void *table, void *dst);

// cvf_pack_padding writes the elements around the picture, of size bytes each.
void cvf_pack_padding(const cvf_pack_job *job, size_t size, void *dst);

// The kinds of elements that are made of floats.
enum {
	CVF_FLOAT32,
	CVF_FLOAT16,
	CVF_BFLOAT16,
	CVF_QUANTIZED, // of 8 bits
};

// What elements are made of pixels that are floats.
typedef struct {
	int kind;
	double factor[3], shift[3]; // a value is the pixel * factor + shift, for each channel
	float scale;                // a quantized one is value / scale + zero, rounded, from least to most
	int zero, least, most;
} cvf_pack_floats;

// cvf_pack_of_floats writes the tensor to dst. The job's pixels are four floats each, of which
// the first are the channels. Its kind is not used.
void cvf_pack_of_floats(const cvf_pack_job *job, const cvf_pack_floats *floats, void *dst);

// cvf_cmyk_to_bgr converts n pixels of inverted CMYK to BGR.
void cvf_cmyk_to_bgr(const uint8_t *src, uint8_t *dst, size_t n);

#endif
