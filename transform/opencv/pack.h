#ifndef CVF_PACK_H
#define CVF_PACK_H

#include <stddef.h>
#include <stdint.h>

// Gcc makes a variant for each, and chooses when the program is loaded.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CVF_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CVF_CLONES
#endif

// A picture of w x h 8-bit pixels, to be laid into a tensor of tw x th.
typedef struct {
	const uint8_t *src;
	ptrdiff_t stride; // bytes from row to row
	int step;         // bytes from pixel to pixel
	int w, h;
	int channels;  // 1 or 3
	int reverse;   // the tensor's channels are the picture's in reverse order
	int kind;      // of the tensor's elements, see below
	int planar;    // the tensor has one plane a channel
	uint8_t pad;   // the pixel that fills what the picture leaves of the tensor
	int padded;    // that is there already
	int tw, th;
	int left, top; // where the picture lies; all of it is within the tensor
} cvf_pack_job;

// What elements are, and what table is for them.
enum {
	CVF_PIXEL,  // 8 bits: pixels as they are; no table
	CVF_LOOK16, // 16 bits: 256 elements a channel, what each pixel becomes
	CVF_LOOK32, // 32 bits: the same
	CVF_DIVIDE, // float: pixels divided by one float
};

// cvf_pack writes the tensor to dst.
void cvf_pack(const cvf_pack_job *job, const void *table, void *dst);

// cvf_cmyk_to_bgr converts n pixels of inverted CMYK to BGR.
void cvf_cmyk_to_bgr(const uint8_t *src, uint8_t *dst, size_t n);

#endif
