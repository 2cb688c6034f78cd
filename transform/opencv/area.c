#include "area.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "kernels.h"

// A side of the result: pixel i is made of counts[i] pixels from start[i] on, each times its
// weight.
typedef struct {
	int count;
	int32_t *start, *counts;
	float *weights;
} side;

typedef struct {
	cvf_sink sink;
	cvf_resize job;
	const cvf_resize_kernels *kernels;
	size_t bytes; // of scratch memory

	int across, down; // what the sides are divided by, where it is a whole number; otherwise 0
	side columns, rows;
	int32_t *sums;         // of whole pixels
	float *mixed, *floats; // a row of the source, and the sums of such rows
	uint8_t *row[2];       // a row of gray bytes; one of pixels of four bytes

	int y;                // the row of the result that comes next, as counted from the visible
	int taken;            // the rows of the source that are in it
	const float *weights; // of the next
} area;

// How often one side of the source is that of the result. The types are OpenCV's, here and
// below, so that the rounding is, too.
static double scale(int src, int dst) { return 1. / ((double)dst / src); }

// Returns the scale where it is a whole number, and otherwise 0.
static int whole(int src, int dst) {
	double s = scale(src, dst), n = rint(s);
	return fabs(s - n) < DBL_EPSILON ? (int)n : 0;
}

// The most pixels that one is made of.
static int most(int src, int dst) { return (int)scale(src, dst) + 3; }

static void place(side *s, uintptr_t *next, int src, int dst, int count) {
	s->count = count;
	s->start = cvf_sink_reserve(next, count * sizeof *s->start);
	s->counts = cvf_sink_reserve(next, count * sizeof *s->counts);
	s->weights = cvf_sink_reserve(next, (size_t)count * most(src, dst) * sizeof *s->weights);
}

static area lay_out(const cvf_resize *r, void *scratch) {
	area a = {.job = *r, .across = whole(r->w, r->full_w), .down = whole(r->h, r->full_h)};
	if (a.across == 0 || a.down == 0) a.across = a.down = 0;
	uintptr_t next = (uintptr_t)scratch;
	size_t floats = 4 * (size_t)r->vw * sizeof(float) + CVF_SINK_BEHIND;
	cvf_sink_reserve(&next, sizeof a);
	place(&a.columns, &next, r->w, r->full_w, r->vw);
	place(&a.rows, &next, r->h, r->full_h, r->vh);
	a.sums = cvf_sink_reserve(&next, floats);
	a.mixed = cvf_sink_reserve(&next, floats);
	a.floats = cvf_sink_reserve(&next, floats);
	for (int i = 0; i < 2; i++) a.row[i] = cvf_sink_reserve(&next, 4 * (size_t)r->w + CVF_SINK_BEHIND);
	a.bytes = next - (uintptr_t)scratch;
	return a;
}

size_t cvf_area_scratch(const cvf_resize *r) { return lay_out(r, NULL).bytes; }

// Finds what the pixels of one side are made of, from pixel from on.
static void compute(side *s, int src, int dst, int from) {
	double step = scale(src, dst);
	float *weight = s->weights;
	for (int i = 0; i < s->count; i++) {
		double begin = (from + i) * step, end = begin + step, cell = fmin(step, src - begin);
		int first = (int)ceil(begin), last = (int)floor(end);
		if (last > src - 1) last = src - 1;
		if (first > last) first = last;
		float *w = weight;
		s->start[i] = first;
		if (first - begin > 1e-3) {
			s->start[i] = first - 1;
			*w++ = (float)((first - begin) / cell);
		}
		for (int p = first; p < last; p++) *w++ = (float)(1.0 / cell);
		if (end - last > 1e-3) *w++ = (float)(fmin(fmin(end - last, 1.), cell) / cell);
		s->counts[i] = (int32_t)(w - weight);
		weight = w;
	}
}

// Makes the pixels of a row of the result, of four bytes each.
static void finish(area *a, uint8_t *dst) {
	const cvf_resize *r = &a->job;
	if (!a->across) {
		a->kernels->round(a->floats, 4 * r->vw, dst);
		return;
	}
	float part = 1.f / (float)(a->across * a->down);
	for (int i = 0; i < 4 * r->vw; i++) a->floats[i] = (float)a->sums[i] * part;
	a->kernels->round(a->floats, 4 * r->vw, dst);
	memset(a->sums, 0, 4 * (size_t)r->vw * sizeof *a->sums);
}

static void write_row(area *a) {
	const cvf_resize *r = &a->job;
	uint8_t *pixels = a->row[1], *dst = r->dst + (size_t)a->y * r->vw * (r->gray ? 1 : 3);
	finish(a, pixels);
	if (!r->gray)
		a->kernels->to_three(pixels, r->vw, dst);
	else
		for (int x = 0; x < r->vw; x++) dst[x] = pixels[4 * x];
	a->weights += a->rows.counts[a->y++];
	a->taken = 0;
}

// Adds row y to the next row of the result, and returns whether this has all of its rows.
static int add_row(area *a, const uint8_t *row) {
	const cvf_resize *r = &a->job;
	if (a->across)
		a->kernels->add(row, a->across, r->vw, a->sums);
	else
		a->kernels->mix_down(a->mixed, a->weights[a->taken], a->taken == 0, 4 * r->vw, a->floats);
	return ++a->taken == a->rows.counts[a->y];
}

// Gray pixels become ones of four equal bytes.
static void take(cvf_sink *sink, const uint8_t *row) {
	area *a = (area *)sink;
	const cvf_resize *r = &a->job;
	int y = sink->next - r->y;
	if (r->gray) {
		const uint8_t *rows[4] = {a->row[0], a->row[0], a->row[0], a->row[0]};
		a->kernels->gray(row, sink->right - sink->left, a->row[0]);
		a->kernels->weave(rows, sink->right - sink->left, a->row[1]);
		row = a->row[1];
	}
	if (!a->across)
		a->kernels->mix(&(cvf_mix){r->vw, a->columns.start, a->columns.counts, a->columns.weights}, row, a->mixed);
	while (a->y < r->vh && a->rows.start[a->y] + a->taken == y && add_row(a, row)) write_row(a);
	sink->next = a->y < r->vh ? r->y + a->rows.start[a->y] + a->taken : INT_MAX;
}

cvf_sink *cvf_area_start(const cvf_resize *r, void *scratch) {
	area *a = scratch;
	*a = lay_out(r, scratch);
	a->kernels = cvf_kernels_best()->resize;
	compute(&a->columns, r->w, r->full_w, r->vx);
	compute(&a->rows, r->h, r->full_h, r->vy);
	a->weights = a->rows.weights;
	int left = a->columns.start[0], last = r->vw - 1;
	for (int i = 0; i < r->vw; i++) a->columns.start[i] = 4 * (a->columns.start[i] - left);
	memset(a->sums, 0, 4 * (size_t)r->vw * sizeof *a->sums);
	a->sink = (cvf_sink){.left = r->x + left, .next = r->y + a->rows.start[0], .take = take};
	a->sink.right = a->sink.left + a->columns.start[last] / 4 + a->columns.counts[last];
	return &a->sink;
}
