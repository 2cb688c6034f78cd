#include "linear.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "kernels.h"

enum {
	WEIGH, // pixels are made of two by two neighbours
	PICK,  // of one
	HALVE, // of four: their mean
};

#define ONE 2048 // the weight of 1

typedef struct {
	cvf_sink sink;
	cvf_resize job;
	const cvf_resize_kernels *kernels;
	size_t bytes; // of scratch memory

	int how;            // see above
	int channels;       // bytes of a pixel of the result
	int y;              // the row of the result that comes next
	int first, last;    // the rows of the source that it is made of: one, or two neighbours
	int16_t weights[2]; // the weights of first and last
	int32_t *offsets;   // for each pixel of a row, where those begin that it is made of
	int16_t *weight;    // and the weights of two
	int16_t *wide[2];   // two rows of the source, resized to the result's width, times 128
	uint8_t *row[2];    // gray rows, or the first of two that are halved; pixels that were picked
} linear;

static linear lay_out(const cvf_resize *r, void *scratch) {
	linear l = {.job = *r, .channels = r->gray ? 1 : 3};
	uintptr_t next = (uintptr_t)scratch;
	size_t widest = 4 * (size_t)(r->w > r->vw ? r->w : r->vw) + CVF_SINK_BEHIND;
	cvf_sink_reserve(&next, sizeof l);
	l.offsets = cvf_sink_reserve(&next, r->vw * sizeof *l.offsets);
	l.weight = cvf_sink_reserve(&next, 2 * r->vw * sizeof *l.weight);
	for (int i = 0; i < 2; i++)
		l.wide[i] = cvf_sink_reserve(&next, (size_t)l.channels * r->vw * sizeof **l.wide + CVF_SINK_BEHIND);
	for (int i = 0; i < 2; i++) l.row[i] = cvf_sink_reserve(&next, widest);
	l.bytes = next - (uintptr_t)scratch;
	return l;
}

size_t cvf_linear_scratch(const cvf_resize *r) { return lay_out(r, NULL).bytes; }

// How often one side of the source is that of the result. The types are OpenCV's, here and
// below, so that the rounding is, too.
static double scale(int src, int dst) { return 1. / ((double)dst / src); }

// Returns the first of two pixels that pixel i of the result is made of, along one side, and the
// weight of the second. It may lie outside.
static int position(int kind, int i, int src, int dst, float *part) {
	if (kind == CVF_AREA) {
		int whole = (int)floor(i * scale(src, dst));
		float at = (float)((i + 1) - (whole + 1) * ((double)dst / src));
		*part = at <= 0 ? 0 : at - floorf(at);
		return whole;
	}
	float at = (float)((i + 0.5) * scale(src, dst) - 0.5), whole = floorf(at);
	*part = at - whole;
	return (int)whole;
}

static int16_t weight(float v) { return (int16_t)lrintf(v * ONE); }

static int clamp(int v, int last) { return v < 0 ? 0 : v > last ? last : v; }

// Returns the only pixel that pixel i of the result is made of, along one side.
static int picked(int kind, int i, int src, int dst) {
	if (kind == CVF_COPY) return i;
	if (kind == CVF_NEAREST) return clamp((int)floor(i * scale(src, dst)), src - 1);
	int n = src / dst;
	return i * n + n / 2;
}

// Finds the rows that the next row of the result is made of.
static void next_row(linear *l) {
	const cvf_resize *r = &l->job;
	if (l->y == r->vy + r->vh) {
		l->first = l->last = INT_MAX; // none
		return;
	}
	switch (l->how) {
	case PICK:
		l->first = l->last = picked(r->kind, l->y, r->h, r->full_h);
		return;
	case HALVE:
		l->first = 2 * l->y;
		l->last = l->first + 1;
		return;
	}
	float part;
	int whole = position(r->kind, l->y, r->h, r->full_h, &part);
	l->first = clamp(whole, r->h - 1);
	l->last = clamp(whole + 1, r->h - 1);
	l->weights[0] = weight(1.f - part);
	l->weights[1] = weight(part);
}

// Returns the first column of the source that pixel x of the result is made of, and the weight
// of the next.
static int column(const linear *l, int x, float *part) {
	const cvf_resize *r = &l->job;
	*part = 0;
	if (l->how == PICK) return picked(r->kind, x, r->w, r->full_w);
	if (l->how == HALVE) return 2 * x;
	int whole = position(r->kind, x, r->w, r->full_w, part);
	if (whole >= 0 && whole < r->w - 1) return whole;
	*part = 0;
	return clamp(whole, r->w - 1);
}

static void start_columns(linear *l) {
	const cvf_resize *r = &l->job;
	float part;
	int left = column(l, r->vx, &part), right = column(l, r->vx + r->vw - 1, &part) + (l->how == PICK ? 1 : 2);
	if (right > r->w) right = r->w;
	int step = r->gray && l->how == WEIGH ? 1 : 4; // gray pixels are picked before they are gray
	for (int x = 0; x < r->vw; x++) {
		l->offsets[x] = step * (column(l, r->vx + x, &part) - left);
		l->weight[2 * x] = weight(1.f - part);
		l->weight[2 * x + 1] = weight(part);
	}
	l->sink.left = r->x + left;
	l->sink.right = r->x + right;
}

// Makes pixels of the result of those that were picked.
static void copy(const linear *l, const uint8_t *row, uint8_t *dst) {
	(l->job.gray ? l->kernels->gray : l->kernels->to_three)(row, l->job.vw, dst);
}

static void pick(const linear *l, const uint8_t *row, uint8_t *dst) {
	const cvf_resize *r = &l->job;
	if (r->kind == CVF_COPY) {
		copy(l, row, dst);
	} else if (r->gray) {
		l->kernels->pick(row, l->offsets, r->vw, 4, l->row[0]);
		copy(l, l->row[0], dst);
	} else {
		l->kernels->pick(row, l->offsets, r->vw, 3, dst);
	}
}

// Returns where the next row of the result begins.
static uint8_t *next_dst(const linear *l) {
	return l->job.dst + (size_t)l->channels * (l->y - l->job.vy) * l->job.vw;
}

// Makes the next row of the result, whose last row of the source is y.
static void make_row(linear *l, const uint8_t *row, int y) {
	const cvf_resize *r = &l->job;
	uint8_t *dst = next_dst(l);
	l->y++;
	switch (l->how) {
	case PICK:
		pick(l, row, dst);
		break;
	case HALVE:
		(r->gray ? l->kernels->halve1 : l->kernels->halve3)(l->row[0], row, r->vw, dst);
		break;
	default:
		l->kernels->blend(l->wide[l->first & 1], l->wide[y & 1], l->weights[0], l->weights[1], l->channels * r->vw, dst);
	}
	next_row(l);
}

static void take(cvf_sink *sink, const uint8_t *row) {
	linear *l = (linear *)sink;
	const cvf_resize *r = &l->job;
	int y = sink->next - r->y, columns = sink->right - sink->left;
	if (r->gray && l->how != PICK) {
		uint8_t *gray = l->row[l->how == HALVE && y == l->last];
		l->kernels->gray(row, columns, gray);
		row = gray;
	} else if (l->how == HALVE && y == l->first) {
		memcpy(l->row[0], row, 4 * (size_t)columns);
	}
	if (l->how == WEIGH)
		(r->gray ? l->kernels->widen1 : l->kernels->widen3)(row, l->offsets, l->weight, r->vw, l->wide[y & 1]);
	while (l->last == y) make_row(l, row, y);
	int next = l->first > y ? l->first : l->last;
	sink->next = next == INT_MAX ? next : r->y + next;
}

static void take_picked(cvf_sink *sink, const uint8_t *row) {
	linear *l = (linear *)sink;
	copy(l, row, next_dst(l));
	l->y++;
	next_row(l);
	sink->next = l->first == INT_MAX ? INT_MAX : l->job.y + l->first;
}

static int how(const cvf_resize *r) {
	if (r->kind == CVF_COPY || r->kind == CVF_NEAREST) return PICK;
	int n = r->w / r->full_w;
	if (r->w != n * r->full_w || r->h != n * r->full_h) return WEIGH;
	if (n == 2) return HALVE;
	return r->kind == CVF_LINEAR && n % 2 == 1 ? PICK : WEIGH;
}

cvf_sink *cvf_linear_start(const cvf_resize *r, void *scratch) {
	linear *l = scratch;
	*l = lay_out(r, scratch);
	l->kernels = cvf_kernels_best()->resize;
	l->y = r->vy;
	l->how = how(r);
	start_columns(l);
	next_row(l);
	l->sink.take = take;
	l->sink.next = r->y + l->first;
	if (l->how == PICK && r->kind != CVF_NEAREST) { // rows and columns are equally far apart
		l->sink.step = l->sink.across = r->h / r->full_h;
		l->sink.take_picked = take_picked;
	}
	return &l->sink;
}
