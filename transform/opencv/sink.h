#ifndef CVF_SINK_H
#define CVF_SINK_H

#include <stddef.h>
#include <stdint.h>

// The bytes that a sink may read behind the pixels of a row.
#define CVF_SINK_BEHIND 64

// A sink takes rows of a picture, from top to bottom, and makes a resized picture of them.
// So whoever decodes the picture need not keep it, nor make what no sink reads.
typedef struct cvf_sink cvf_sink;
struct cvf_sink {
	int left, right; // the columns of the picture that it reads: from left to before right
	int next;        // the row that it takes next; INT_MAX when it needs no more
	int step;        // it takes every step-th row from there on; 0: which ones, next tells as it goes
	int across;      // of these columns, only every across-th is read; 0: all
	// take is given row next: pixels of four bytes, blue, green, red and one that means
	// nothing, from column left on. It sets next.
	void (*take)(cvf_sink *s, const uint8_t *row);
	// take_picked is there where across is more than 1. It is given only the pixels that are
	// read, one behind the other, and is else as take.
	void (*take_picked)(cvf_sink *s, const uint8_t *row);
};

// The ways to resize.
enum {
	CVF_COPY,     // not at all
	CVF_NEAREST,  // as cv::resize with INTER_NEAREST
	CVF_LINEAR,   // with INTER_LINEAR
	CVF_AREA,     // with INTER_AREA
	CVF_CUBIC,    // with INTER_CUBIC, of floats, rounded
	CVF_BILINEAR, // as Pillow's Image.resize with BILINEAR
	CVF_BICUBIC,  // with BICUBIC
	CVF_LANCZOS,  // with LANCZOS

	CVF_TORCH_BILINEAR, // as torch.nn.functional.interpolate with mode="bilinear"
	CVF_TORCH_BICUBIC,  // with mode="bicubic"
};

// What is to be made of a picture.
typedef struct {
	int kind;           // one of the above
	int plain;          // of torch: with antialias=False
	int floats;         // of torch: a tensor of float32 is resized, not one of bytes
	int gray;           // as cv::cvtColor with COLOR_BGR2GRAY, before it is resized
	int x, y, w, h;     // the part of the picture that is resized
	int full_w, full_h; // the size that it would be resized to
	int vx, vy, vw, vh; // the visible part of that, which is all that is made
	uint8_t *dst;       // for the visible part: pixels of three bytes, or of one, or of four floats, without gaps
} cvf_resize;

// The bytes that may be written behind dst.
#define CVF_RESIZE_BEHIND 64

// cvf_sink_scratch returns how many bytes of scratch memory the sink needs.
size_t cvf_sink_scratch(const cvf_resize *r);

// cvf_sink_start makes the sink in the scratch memory, which is aligned to 64 bytes.
cvf_sink *cvf_sink_start(const cvf_resize *r, void *scratch);

// A picture in memory whose rows sinks take.
typedef struct {
	const uint8_t *pixels;
	ptrdiff_t stride; // bytes from row to row
	int w, h;
	int channels; // 3: blue, green, red; 4: inverted CMYK; 1: gray
	const cvf_resize *resizes;
	int count;
} cvf_feed;

// cvf_feed_scratch returns how many bytes of scratch memory cvf_feed_run needs for a picture
// that is w pixels wide.
size_t cvf_feed_scratch(int w, const cvf_resize *resizes, int count);

// cvf_feed_run makes the resized pictures. It may read CVF_SINK_BEHIND bytes behind the
// pixels.
void cvf_feed_run(const cvf_feed *f, void *scratch);

// cvf_sink_reserve takes bytes of memory that is aligned to 64 bytes, and moves next behind
// them.
static inline void *cvf_sink_reserve(uintptr_t *next, size_t bytes) {
	void *p = (void *)*next;
	*next += (bytes + 63) / 64 * 64;
	return p;
}

#endif
