// PyTorch's resampling on the CPU (aten/src/ATen/native/cpu/UpSampleKernel.cpp). With
// antialias=True the filters are Pillow's, and with antialias=False they are not widened where
// the picture shrinks, and the cubic has another parameter. Tensors of bytes are convolved with
// weights of 16 bits, along the rows and then along the columns, each rounded to a byte: that is
// done in pillow.c. Tensors of float32 are not rounded, and have weights of float32.

#include "torch.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "kernels.h"

static int support(const cvf_torch_side *s) { return s->cubic ? 2 : 1; }

static double widening(const cvf_torch_side *s) {
	double scale = (double)s->in / s->out;
	return s->plain || scale < 1 ? 1 : scale;
}

int cvf_torch_most(const cvf_torch_side *s) {
	return s->plain ? 2 * support(s) : (int)ceil(support(s) * widening(s)) * 2 + 1;
}

// Keys' cubic, of which a is the parameter.
static double keys(double x, double a) {
	if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
	if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
	return 0;
}

static double filter(const cvf_torch_side *s, double x) {
	x = fabs(x);
	if (s->cubic) return keys(x, s->plain ? -0.75 : -0.5);
	return x < 1 ? 1 - x : 0;
}

static int min(int a, int b) { return a < b ? a : b; }

static int max(int a, int b) { return a > b ? a : b; }

// The weights of a pixel at a distance behind pixel whole. Those of pixels outside go to the
// outermost.
static int plain_weights(const cvf_torch_side *s, int whole, double distance, double *weights, int *first) {
	int most = 2 * support(s), from = whole - support(s) + 1;
	*first = max(from, 0);
	int count = min(from + most, s->in) - *first;
	for (int i = 0; i < count; i++) weights[i] = 0;
	for (int i = 0; i < most; i++) {
		int at = max(0, min(from + i, s->in - 1)) - *first;
		weights[at] += filter(s, i + 1 - support(s) - distance);
	}
	return count;
}

int cvf_torch_weights(const cvf_torch_side *s, int i, double *weights, int *first) {
	double scale = (double)s->in / s->out;
	if (s->plain) {
		double at = scale * (i + 0.5) - 0.5;
		if (at < 0 && !s->cubic) at = 0;
		int whole = min((int)floor(at), s->in - 1);
		return plain_weights(s, whole, fmin(fmax(at - whole, 0), 1), weights, first);
	}
	double widen = widening(s), reach = support(s) * widen, centre = scale * (i + 0.5), sum = 0;
	*first = max((int)(centre - reach + 0.5), 0);
	int count = min(min((int)(centre + reach + 0.5), s->in) - *first, cvf_torch_most(s));
	for (int k = 0; k < count; k++) sum += weights[k] = filter(s, (k + *first - centre + 0.5) * (1 / widen));
	for (int k = 0; k < count; k++) weights[k] /= sum;
	return count;
}

int cvf_torch_bits(const cvf_torch_side *s, double *weights) {
	double largest = 0;
	for (int i = 0; i < s->out; i++) {
		int first, count = cvf_torch_weights(s, i, weights, &first);
		for (int k = 0; k < count; k++) largest = fmax(largest, weights[k]);
	}
	int bits = 0;
	while (bits < CVF_TAP_BITS && (int)(0.5 + largest * (1 << (bits + 1))) < 1 << 15) bits++;
	return bits;
}

// The same in float32, with its roundings.
static int float_weights(const cvf_torch_side *s, int i, float *weights, int *first) {
	float scale = (float)s->in / (float)s->out;
	if (s->plain) {
		double wide[4];
		float at = scale * ((float)i + 0.5f) - 0.5f;
		if (at < 0 && !s->cubic) at = 0;
		int whole = min((int)floorf(at), s->in - 1);
		int count = plain_weights(s, whole, fminf(fmaxf(at - (float)whole, 0), 1), wide, first);
		for (int k = 0; k < count; k++) weights[k] = (float)wide[k];
		return count;
	}
	float widen = scale < 1 ? 1 : scale, reach = (float)support(s) * widen, narrow = 1 / widen;
	float centre = (float)(scale * (i + 0.5)), sum = 0;
	*first = max((int)(centre - reach + 0.5), 0);
	int count = min(min((int)(centre + reach + 0.5), s->in) - *first, cvf_torch_most(s));
	for (int k = 0; k < count; k++) {
		weights[k] = (float)filter(s, (float)(((float)(k + *first) - centre + 0.5) * narrow));
		sum += weights[k];
	}
	for (int k = 0; k < count; k++) weights[k] /= sum;
	return count;
}

// A side of the result: pixel i is made of counts[i] pixels from start[i] on, each times its
// weight.
typedef struct {
	cvf_torch_side side;
	int count, first, last; // the pixels that are used of the source: from first to before last
	int32_t *start, *counts;
	float *weights;
} axis;

typedef struct {
	cvf_sink sink;
	cvf_resize job;
	const cvf_resize_kernels *kernels;
	size_t bytes; // of scratch memory

	axis across, down;
	uint8_t *row[2]; // a row of gray bytes; one of pixels of four bytes
	float *ring;     // rows that are resized along their length
	size_t pitch;    // floats from row to row of these
	int slots;

	int made;             // rows of the result
	const float *weights; // of the next
} torch;

static void place(axis *a, uintptr_t *next, int count, cvf_torch_side side) {
	a->side = side;
	a->count = count;
	a->start = cvf_sink_reserve(next, count * sizeof *a->start);
	a->counts = cvf_sink_reserve(next, count * sizeof *a->counts);
	a->weights = cvf_sink_reserve(next, (size_t)count * cvf_torch_most(&side) * sizeof *a->weights);
}

static torch lay_out(const cvf_resize *r, void *scratch) {
	torch t = {.job = *r};
	int is_cubic = r->kind == CVF_TORCH_BICUBIC;
	uintptr_t next = (uintptr_t)scratch;
	cvf_sink_reserve(&next, sizeof t);
	place(&t.across, &next, r->vw, (cvf_torch_side){r->w, r->full_w, is_cubic, r->plain});
	place(&t.down, &next, r->vh, (cvf_torch_side){r->h, r->full_h, is_cubic, r->plain});
	for (int i = 0; i < 2; i++) t.row[i] = cvf_sink_reserve(&next, r->gray ? 4 * (size_t)r->w + CVF_SINK_BEHIND : 0);
	t.pitch = 4 * (size_t)r->vw + CVF_SINK_BEHIND / sizeof *t.ring;
	t.slots = min(cvf_torch_most(&t.down.side), r->h);
	t.ring = cvf_sink_reserve(&next, t.pitch * t.slots * sizeof *t.ring);
	t.bytes = next - (uintptr_t)scratch;
	return t;
}

size_t cvf_torch_scratch(const cvf_resize *r) { return lay_out(r, NULL).bytes; }

// Finds what the pixels of one side are made of, from pixel from on.
static void compute(axis *a, int from) {
	float *weights = a->weights;
	a->first = a->side.in;
	a->last = 0;
	for (int i = 0; i < a->count; i++) {
		int first, count = float_weights(&a->side, from + i, weights, &first);
		a->start[i] = first;
		a->counts[i] = count;
		weights += count;
		a->first = min(a->first, first);
		a->last = max(a->last, first + count);
	}
}

static void make_row(torch *t) {
	int i = t->made++, n = t->down.counts[i];
	float *dst = (float *)t->job.dst + (size_t)i * 4 * t->job.vw;
	for (int k = 0; k < n; k++) {
		const float *row = t->ring + (t->down.start[i] + k) % t->slots * t->pitch;
		t->kernels->mix_down(row, t->weights[k], k == 0, 4 * t->job.vw, dst);
	}
	t->weights += n;
}

// Gray pixels become ones of four equal bytes.
static void take(cvf_sink *sink, const uint8_t *row) {
	torch *t = (torch *)sink;
	int y = sink->next - t->job.y;
	if (t->job.gray) {
		const uint8_t *rows[4] = {t->row[0], t->row[0], t->row[0], t->row[0]};
		t->kernels->gray(row, sink->right - sink->left, t->row[0]);
		t->kernels->weave(rows, sink->right - sink->left, t->row[1]);
		row = t->row[1];
	}
	float *mixed = t->ring + y % t->slots * t->pitch;
	t->kernels->mix(&(cvf_mix){t->across.count, t->across.start, t->across.counts, t->across.weights}, row, mixed);
	while (t->made < t->down.count && t->down.start[t->made] + t->down.counts[t->made] <= y + 1) make_row(t);
	sink->next = y + 1 == t->down.last ? INT_MAX : sink->next + 1;
}

cvf_sink *cvf_torch_start(const cvf_resize *r, void *scratch) {
	torch *t = scratch;
	*t = lay_out(r, scratch);
	t->kernels = cvf_kernels_best()->resize;
	compute(&t->across, r->vx);
	compute(&t->down, r->vy);
	t->weights = t->down.weights;
	for (int i = 0; i < t->across.count; i++) t->across.start[i] = 4 * (t->across.start[i] - t->across.first);
	t->sink = (cvf_sink){.left = r->x + t->across.first, .right = r->x + t->across.last, .next = r->y + t->down.first, .take = take};
	return &t->sink;
}
