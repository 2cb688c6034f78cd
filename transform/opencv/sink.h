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
	// take is given row next: pixels of four bytes, blue, green, red and one that means
	// nothing, from column left on. It sets next.
	void (*take)(cvf_sink *s, const uint8_t *row);
};

// The ways to resize.
enum {
	CVF_LINEAR, // as cv::resize with INTER_LINEAR
};

// What is to be made of a picture.
typedef struct {
	int kind;           // one of the above
	int x, y, w, h;     // the part of the picture that is resized
	int full_w, full_h; // the size that it would be resized to
	int vx, vy, vw, vh; // the visible part of that, which is all that is made
	uint8_t *dst;       // for the visible part: pixels of three bytes, without gaps
} cvf_resize;

// The bytes that may be written behind dst.
#define CVF_RESIZE_BEHIND 8

// cvf_sink_scratch returns how many bytes of scratch memory the sink needs.
size_t cvf_sink_scratch(const cvf_resize *r);

// cvf_sink_start makes the sink in the scratch memory, which is aligned to 64 bytes.
cvf_sink *cvf_sink_start(const cvf_resize *r, void *scratch);

#endif
