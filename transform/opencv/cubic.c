#include "cubic.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "kernels.h"

#define TAPS 4

// OpenCV sums so many floats of a row at a time, and those that are left over in another order.
#define LANES 4

typedef struct {
	cvf_sink sink;
	cvf_resize job;
	const cvf_resize_kernels *kernels;
	size_t bytes; // of scratch memory

	int32_t *start, *counts; // of each pixel of a row: where it begins among the columns, and TAPS
	float *weights;          // TAPS of each
	int first, end;          // the columns, which go on beyond the picture with its outermost pixels
	uint8_t *gray, *grays;   // a gray row, of single bytes and of four
	uint8_t *columns;        // a row of the columns
	float *ring[TAPS];       // rows of the source, resized to the result's width
	float *sums;             // a row of the result
	uint8_t *pixels;

	int y;             // the row of the result that comes next
	int top;           // the first of the rows that it is made of; it may lie outside, as the others
	float down[TAPS];  // and their weights
} cubic;

static cubic lay_out(const cvf_resize *r, void *scratch) {
	cubic c = {.job = *r};
	uintptr_t next = (uintptr_t)scratch;
	size_t row = 4 * (size_t)(r->w + 2 * TAPS) + CVF_SINK_BEHIND, floats = 4 * (size_t)r->vw * sizeof(float) + CVF_SINK_BEHIND;
	cvf_sink_reserve(&next, sizeof c);
	c.start = cvf_sink_reserve(&next, r->vw * sizeof *c.start);
	c.counts = cvf_sink_reserve(&next, r->vw * sizeof *c.counts);
	c.weights = cvf_sink_reserve(&next, r->vw * TAPS * sizeof *c.weights);
	c.gray = cvf_sink_reserve(&next, r->gray ? row : 0);
	c.grays = cvf_sink_reserve(&next, r->gray ? row : 0);
	c.columns = cvf_sink_reserve(&next, row);
	for (int i = 0; i < TAPS; i++) c.ring[i] = cvf_sink_reserve(&next, floats);
	c.sums = cvf_sink_reserve(&next, floats);
	c.pixels = cvf_sink_reserve(&next, 4 * (size_t)r->vw + CVF_SINK_BEHIND);
	c.bytes = next - (uintptr_t)scratch;
	return c;
}

size_t cvf_cubic_scratch(const cvf_resize *r) { return lay_out(r, NULL).bytes; }

// Returns the first of the four pixels that pixel i of the result is made of, along one side,
// and their weights: Keys' cubic with a = -0.75. The types are OpenCV's, so that the rounding
// is, too.
static int position(int i, int src, int dst, float weights[TAPS]) {
	const float a = -0.75f;
	float at = (float)((i + 0.5) * (1. / ((double)dst / src)) - 0.5), whole = floorf(at), x = at - whole;
	weights[0] = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
	weights[1] = ((a + 2) * x - (a + 3)) * x * x + 1;
	weights[2] = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1;
	weights[3] = 1.f - weights[0] - weights[1] - weights[2];
	return (int)whole - 1;
}

static int clamp(int v, int last) { return v < 0 ? 0 : v > last ? last : v; }

static void start_columns(cubic *c) {
	const cvf_resize *r = &c->job;
	for (int x = 0; x < r->vw; x++) {
		c->start[x] = position(r->vx + x, r->w, r->full_w, c->weights + TAPS * x);
		c->counts[x] = TAPS;
	}
	c->first = c->start[0];
	c->end = c->start[r->vw - 1] + TAPS;
	for (int x = 0; x < r->vw; x++) c->start[x] = 4 * (c->start[x] - c->first);
	c->sink.left = r->x + clamp(c->first, r->w - 1);
	c->sink.right = r->x + clamp(c->end - 1, r->w - 1) + 1;
}

// Writes the columns: the pixels of a row, with the outermost repeated where they lie outside.
static void extend(const cubic *c, const uint8_t *row, uint8_t *columns) {
	int before = c->sink.left - c->job.x - c->first, n = c->sink.right - c->sink.left;
	for (int i = 0; i < before; i++) memcpy(columns + 4 * i, row, 4);
	memcpy(columns + 4 * before, row, 4 * (size_t)n);
	for (int i = before + n; i < c->end - c->first; i++) memcpy(columns + 4 * i, row + 4 * (n - 1), 4);
}

static void next_row(cubic *c) {
	const cvf_resize *r = &c->job;
	if (c->y < r->vy + r->vh) c->top = position(c->y, r->h, r->full_h, c->down);
}

// Returns row i of those that the next row of the result is made of.
static int source_row(const cubic *c, int i) { return clamp(c->top + i, c->job.h - 1); }

// The floats that are left over in OpenCV's vectors are summed from the first row to the last.
static void sum_rest(const cubic *c, const float *const rows[TAPS]) {
	const cvf_resize *r = &c->job;
	int channels = r->gray ? 1 : 3, all = channels * r->full_w;
	for (int i = all - all % LANES; i < all; i++) {
		int x = i / channels - r->vx, at = 4 * x + i % channels;
		if (x < 0 || x >= r->vw) continue;
		float sum = rows[0][at] * c->down[0];
		for (int k = 1; k < TAPS; k++) sum += rows[k][at] * c->down[k];
		c->sums[at] = sum;
	}
}

static void write_row(cubic *c) {
	const cvf_resize *r = &c->job;
	const float *rows[TAPS];
	for (int i = 0; i < TAPS; i++) rows[i] = c->ring[source_row(c, i) % TAPS];
	uint8_t *dst = r->dst + (size_t)(c->y++ - r->vy) * r->vw * (r->gray ? 1 : 3);
	c->kernels->mix_four(rows, c->down, 4 * r->vw, c->sums);
	sum_rest(c, rows);
	c->kernels->round(c->sums, 4 * r->vw, c->pixels);
	if (!r->gray)
		c->kernels->to_three(c->pixels, r->vw, dst);
	else
		for (int x = 0; x < r->vw; x++) dst[x] = c->pixels[4 * x];
	next_row(c);
}

// Gray pixels become ones of four equal bytes.
static void take(cvf_sink *sink, const uint8_t *row) {
	cubic *c = (cubic *)sink;
	const cvf_resize *r = &c->job;
	int y = sink->next - r->y;
	if (r->gray) {
		const uint8_t *rows[4] = {c->gray, c->gray, c->gray, c->gray};
		c->kernels->gray(row, sink->right - sink->left, c->gray);
		c->kernels->weave(rows, sink->right - sink->left, c->grays);
		row = c->grays;
	}
	extend(c, row, c->columns);
	c->kernels->mix(&(cvf_mix){r->vw, c->start, c->counts, c->weights}, c->columns, c->ring[y % TAPS]);
	while (c->y < r->vy + r->vh && source_row(c, TAPS - 1) == y) write_row(c);
	int next = source_row(c, 0);
	sink->next = c->y < r->vy + r->vh ? r->y + (next > y ? next : y + 1) : INT_MAX;
}

cvf_sink *cvf_cubic_start(const cvf_resize *r, void *scratch) {
	cubic *c = scratch;
	*c = lay_out(r, scratch);
	c->kernels = cvf_kernels_best()->resize;
	c->y = r->vy;
	start_columns(c);
	next_row(c);
	c->sink.take = take;
	c->sink.next = r->y + source_row(c, 0);
	return &c->sink;
}
