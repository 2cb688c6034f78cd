// Pillow's resampling for 8-bit channels: a convolution along the rows, and one along the
// columns, with a kernel that is widened by the scale where the picture shrinks.
// Coefficients are computed in double precision, normalized to a sum of 1, and
// rounded to fixed point with 22 bits. Each convolution rounds and clips its result to
// 8 bits. The sums are of integers, so that their order does not matter. PyTorch resizes
// tensors of bytes in the same way with other coefficients: see torch.h.
//
// The rows come one at a time. A few wait on a stage until there are enough to be convolved
// together. As many as a row of the result is made of are kept in a ring.

#include "pillow.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "torch.h"

#define PI 3.14159265358979323846

static double bilinear(double x) {
	x = fabs(x);
	return x < 1 ? 1 - x : 0;
}

// Keys' cubic with a = -0.5.
static double bicubic(double x) {
	const double a = -0.5;
	x = fabs(x);
	if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
	if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
	return 0;
}

static double sinc(double x) {
	if (x == 0) return 1;
	x *= PI;
	return sin(x) / x;
}

static double lanczos(double x) { return -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0; }

static const struct {
	double (*kernel)(double);
	double support;
} filters[] = {
	[CVF_BILINEAR] = {bilinear, 1},
	[CVF_BICUBIC] = {bicubic, 2},
	[CVF_LANCZOS] = {lanczos, 3},
};

// The convolution in one direction. Output i of count is made of the pixels from start[i] on,
// each times its tap: there are groups[i] groups of four taps, the last of which may be zero.
typedef struct {
	int count, width; // width: the most taps of an output
	int32_t *start, *ends, *groups; // ends: behind the last pixel
	cvf_taps *taps;
	double *weights; // room for those of one output
	int first, last; // the input pixels that are used: from first to before last
} axis;

static double axis_scale(int in, int out) { return (double)in / out; }

static int of_torch(const cvf_resize *r) { return r->kind == CVF_TORCH_BILINEAR || r->kind == CVF_TORCH_BICUBIC; }

static cvf_torch_side torch_side(const cvf_resize *r, int in, int out) {
	return (cvf_torch_side){in, out, r->kind == CVF_TORCH_BICUBIC, r->plain};
}

static int axis_width(const cvf_resize *r, int in, int out) {
	cvf_torch_side side = torch_side(r, in, out);
	if (of_torch(r)) return cvf_torch_most(&side);
	double widen = fmax(axis_scale(in, out), 1);
	return (int)ceil(filters[r->kind].support * widen) * 2 + 1;
}

static void axis_place(axis *a, uintptr_t *next, const cvf_resize *r, int in, int out, int count) {
	a->count = count;
	a->width = axis_width(r, in, out);
	a->start = cvf_sink_reserve(next, sizeof(int32_t) * count);
	a->ends = cvf_sink_reserve(next, sizeof(int32_t) * count);
	a->groups = cvf_sink_reserve(next, sizeof(int32_t) * count);
	a->taps = cvf_sink_reserve(next, sizeof(cvf_taps) * count * ((a->width + 3) / 4));
	a->weights = cvf_sink_reserve(next, sizeof(double) * a->width);
}

// Writes the taps of one output, with so many bits behind the point, and returns how many
// groups they are.
static int write_taps(const double *weights, double sum, int bits, int count, cvf_taps *taps) {
	int groups = (count + 3) / 4;
	for (int t = 0; t < 4 * groups; t++) {
		double w = 0;
		if (t < count) w = (sum != 0 ? weights[t] / sum : weights[t]) * (1 << bits);
		int32_t k = (int32_t)(w < 0 ? w - 0.5 : w + 0.5) * (1 << (CVF_TAP_BITS - bits));
		taps[t / 4].low[t % 4] = (int16_t)(k & 32767);
		taps[t / 4].high[t % 4] = (int16_t)(k >> 15);
	}
	return groups;
}

// Computes the weights of output i, and sets the first pixel that it is made of and the sum.
// It returns how many they are.
static int pillow_weights(int kind, int in, int out, int i, double *weights, int *start, double *sum) {
	double scale = axis_scale(in, out), widen = fmax(scale, 1);
	double support = filters[kind].support * widen, centre = (i + 0.5) * scale;
	int end = (int)(centre + support + 0.5);
	*start = (int)(centre - support + 0.5);
	if (*start < 0) *start = 0;
	if (end > in) end = in;
	*sum = 0;
	for (int t = 0; t < end - *start; t++) {
		weights[t] = filters[kind].kernel((t + *start - centre + 0.5) * (1 / widen));
		*sum += weights[t];
	}
	return end - *start;
}

// Computes the taps for a->count outputs, beginning with output from of all out.
static void axis_compute(axis *a, const cvf_resize *r, int in, int out, int from) {
	cvf_torch_side side = torch_side(r, in, out);
	int bits = of_torch(r) ? cvf_torch_bits(&side, a->weights) : CVF_TAP_BITS;
	cvf_taps *taps = a->taps;
	a->first = in;
	a->last = 0;
	for (int i = 0; i < a->count; i++) {
		int start, count;
		double sum = 1;
		if (of_torch(r))
			count = cvf_torch_weights(&side, from + i, a->weights, &start);
		else
			count = pillow_weights(r->kind, in, out, from + i, a->weights, &start, &sum);
		int end = start + count;
		a->start[i] = start;
		a->ends[i] = end;
		a->groups[i] = write_taps(a->weights, sum, bits, count, taps);
		taps += a->groups[i];
		if (start < a->first) a->first = start;
		if (end > a->last) a->last = end;
	}
}

// A picture of four-byte pixels is convolved four rows at a time; a gray one sixteen, of
// which each four are woven into one row of such pixels.
#define TOGETHER 16

typedef struct {
	cvf_sink sink;
	cvf_resize job;
	const cvf_resize_kernels *kernels;
	size_t bytes; // of scratch memory

	axis across, down;
	int narrows, lowers;     // which of the two there are
	int columns_first;       // and their order
	int channels, full;      // bytes of a pixel of the result; rows that fill the stage
	int first, last;         // the rows of the part that are used: from first to before last
	int columns;             // that are used of each
	uint8_t *stage, *spare;  // rows that are to be convolved together; one of which nobody reads
	uint8_t *woven, *narrow; // four rows of four-byte pixels each: gray ones, and what becomes of them
	size_t line;             // bytes from row to row of these
	uint8_t *ring;           // rows that are to be convolved along the columns
	size_t pitch;
	int slots;
	const uint8_t **rows; // those of the ring that one row of the result is made of

	int staged;     // rows on the stage
	int done, made; // rows that have left it, and rows of the result
	const cvf_taps *taps;
} pillow;

// Which direction comes first matters, because each rounds. Since version 13, Pillow
// begins with the columns where the picture loses more than twice as many rows as
// columns; before, it always began with the rows. The rule is not documented, but found
// by experiments: see order() in testdata/golden.py.
static int columns_first(const cvf_resize *r) {
	return !of_torch(r) && r->full_h < r->h && r->full_w != r->w && r->h - r->full_h > 2 * (r->w - r->full_w);
}

static pillow lay_out(const cvf_resize *r, void *scratch) {
	pillow p = {.job = *r, .narrows = r->w != r->full_w, .lowers = r->h != r->full_h};
	uintptr_t next = (uintptr_t)scratch;
	cvf_sink_reserve(&next, sizeof p);
	axis_place(&p.across, &next, r, r->w, r->full_w, r->vw);
	axis_place(&p.down, &next, r, r->h, r->full_h, r->vh);
	p.columns_first = columns_first(r);
	p.channels = r->gray ? 1 : 3;
	p.full = r->gray ? TOGETHER : 4;
	size_t widest = r->w > r->vw ? r->w : r->vw;
	p.line = (4 * widest + CVF_SINK_BEHIND + 63) / 64 * 64;
	p.stage = cvf_sink_reserve(&next, p.line * p.full);
	p.spare = cvf_sink_reserve(&next, p.line);
	p.woven = cvf_sink_reserve(&next, r->gray ? 4 * p.line : 0);
	p.narrow = cvf_sink_reserve(&next, r->gray ? 4 * p.line : 0);
	p.pitch = p.columns_first ? p.line : ((size_t)r->vw * p.channels + 2 * CVF_SINK_BEHIND) / 64 * 64;
	p.slots = p.down.width + p.full;
	if (p.slots > r->h) p.slots = r->h;
	p.ring = cvf_sink_reserve(&next, p.lowers ? p.pitch * p.slots : 0);
	p.rows = cvf_sink_reserve(&next, sizeof *p.rows * (p.down.width + 3));
	p.bytes = next - (uintptr_t)scratch;
	return p;
}

size_t cvf_pillow_scratch(const cvf_resize *r) { return lay_out(r, NULL).bytes; }

static uint8_t *result(const pillow *p, int i) { return p->job.dst + (size_t)i * p->job.vw * p->channels; }

static uint8_t *slot(const pillow *p, int row) { return p->ring + row % p->slots * p->pitch; }

// Returns where row i of those that leave the stage goes.
static uint8_t *target(const pillow *p, int i) {
	if (p->columns_first || !p->lowers) return result(p, i);
	return slot(p, p->first + i);
}

// Convolves the staged rows, of pixels of four bytes.
static void narrow_colors(pillow *p) {
	const uint8_t *rows[4];
	uint8_t *to[4];
	for (int r = 0; r < 4; r++) {
		int used = r < p->staged;
		rows[r] = p->stage + (used ? r : 0) * p->line;
		to[r] = used ? target(p, p->done + r) : p->spare;
	}
	p->kernels->across(&(cvf_across){p->across.count, p->across.start, p->across.groups, p->across.taps}, rows, to, 3);
}

// Convolves the staged rows, of gray pixels.
static void narrow_grays(pillow *p) {
	const uint8_t *rows[TOGETHER], *woven[4];
	uint8_t *to[TOGETHER], *narrow[4];
	for (int r = 0; r < TOGETHER; r++) {
		int used = r < p->staged;
		rows[r] = p->stage + (used ? r : 0) * p->line;
		to[r] = used ? target(p, p->done + r) : p->spare;
	}
	for (int i = 0; i < 4; i++) {
		woven[i] = p->woven + i * p->line;
		narrow[i] = p->narrow + i * p->line;
		p->kernels->weave(rows + 4 * i, p->columns, p->woven + i * p->line);
	}
	p->kernels->across(&(cvf_across){p->across.count, p->across.start, p->across.groups, p->across.taps}, woven, narrow, 4);
	for (int i = 0; i < 4; i++) p->kernels->unweave(narrow[i], p->across.count, to + 4 * i);
}

static void clear_stage(pillow *p) {
	if (p->job.gray)
		narrow_grays(p);
	else
		narrow_colors(p);
	p->done += p->staged;
	p->staged = 0;
}

// Makes the next row of the result, or one that is yet to be convolved along its columns.
static void lower(pillow *p) {
	const axis *d = &p->down;
	int i = p->made++, n = d->groups[i];
	for (int t = 0; t < 4 * n; t++) {
		int row = d->start[i] + t;
		p->rows[t] = slot(p, row < d->last ? row : d->last - 1);
	}
	uint8_t *to = p->columns_first ? p->stage + p->staged * p->line : result(p, i);
	int bytes = p->columns_first ? p->columns * (p->job.gray ? 1 : 4) : p->job.vw * p->channels;
	p->kernels->down(p->taps, n, p->rows, bytes, to);
	p->taps += n;
	if (p->columns_first && (++p->staged == p->full || p->made == p->job.vh)) clear_stage(p);
}

// Makes the rows of the result for which the ring has all rows, up to before row end.
static void lower_all(pillow *p, int end) {
	while (p->made < p->down.count && p->down.ends[p->made] <= end) lower(p);
}

static void put(pillow *p, const uint8_t *row, int raw, uint8_t *dst) {
	if (p->job.gray)
		p->kernels->gray(row, p->columns, dst);
	else if (raw)
		memcpy(dst, row, 4 * (size_t)p->columns);
	else
		p->kernels->to_three(row, p->columns, dst);
}

static void take(cvf_sink *sink, const uint8_t *row) {
	pillow *p = (pillow *)sink;
	int y = sink->next - p->job.y;
	sink->next = y + 1 == p->last ? INT_MAX : sink->next + 1;
	if (p->columns_first || !p->narrows) {
		put(p, row, p->columns_first, slot(p, y));
		lower_all(p, y + 1);
		return;
	}
	put(p, row, 1, p->stage + p->staged * p->line);
	if (++p->staged < p->full && sink->next != INT_MAX) return;
	clear_stage(p);
	if (p->lowers) lower_all(p, y + 1);
}

cvf_sink *cvf_pillow_start(const cvf_resize *r, void *scratch) {
	pillow *p = scratch;
	*p = lay_out(r, scratch);
	p->kernels = cvf_kernels_best()->resize;
	p->first = r->vy;
	p->last = r->vy + r->vh;
	if (p->lowers) {
		axis_compute(&p->down, r, r->h, r->full_h, r->vy);
		p->first = p->down.first;
		p->last = p->down.last;
	}
	int left = r->vx, right = r->vx + r->vw;
	if (p->narrows) {
		axis_compute(&p->across, r, r->w, r->full_w, r->vx);
		left = p->across.first;
		right = p->across.last;
		for (int i = 0; i < p->across.count; i++) p->across.start[i] = (p->across.start[i] - left) * 4;
	}
	p->columns = right - left;
	p->taps = p->down.taps;
	p->sink = (cvf_sink){.left = r->x + left, .right = r->x + right, .next = r->y + p->first, .take = take};
	return &p->sink;
}
