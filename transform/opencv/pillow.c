// Pillow's resampling for 8-bit channels: a convolution along the rows, and one along the
// columns, with a kernel that is widened by the scale where the picture shrinks.
// Coefficients are computed in double precision, normalized to a sum of 1, and
// rounded to fixed point with 22 bits. Each convolution rounds and clips its result to
// 8 bits. The sums are of integers, so that their order does not matter.

#include "pillow.h"

#include <math.h>
#include <string.h>

#include "pack.h"

// 32 bits less 8 for the pixel and 2 for sums above 1.
#define PRECISION 22
#define PI 3.14159265358979323846

typedef int32_t v8 __attribute__((vector_size(32)));
typedef int32_t v8u __attribute__((vector_size(32), aligned(16), may_alias));

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

// The convolution in one direction: output i of count is the sum of taps[i] pixels from
// start[i] on, each times its coefficient. Each output has width coefficients, the last
// of which are zero.
typedef struct {
	int count, width;
	int *start, *taps;
	int32_t *coefficients;
	double *weights; // room for the width weights of one output
	int first, last; // the input pixels that are used: from first to before last
} axis;

static double axis_scale(int in, int out) { return (double)in / out; }

static int axis_width(int in, int out, int filter) {
	double widen = fmax(axis_scale(in, out), 1);
	return (int)ceil(filters[filter].support * widen) * 2 + 1;
}

// Takes bytes of the scratch memory.
static void *take(uintptr_t *next, size_t bytes) {
	void *p = (void *)*next;
	*next += (bytes + 63) / 64 * 64;
	return p;
}

static void axis_place(axis *a, uintptr_t *next, int in, int out, int count, int filter) {
	a->count = count;
	a->width = axis_width(in, out, filter);
	a->start = take(next, sizeof(int) * count);
	a->taps = take(next, sizeof(int) * count);
	a->coefficients = take(next, sizeof(int32_t) * count * a->width);
	a->weights = take(next, sizeof(double) * a->width);
}

// Computes the coefficients for a->count outputs, beginning with output from of all out.
static void axis_compute(axis *a, int in, int out, int from, int filter) {
	double scale = axis_scale(in, out), widen = fmax(scale, 1);
	double support = filters[filter].support * widen;
	double *weights = a->weights;
	a->first = in;
	a->last = 0;
	for (int i = 0; i < a->count; i++) {
		double centre = (from + i + 0.5) * scale, sum = 0;
		int start = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
		if (start < 0) start = 0;
		if (end > in) end = in;
		int taps = end - start;
		for (int t = 0; t < taps; t++) {
			weights[t] = filters[filter].kernel((t + start - centre + 0.5) * (1 / widen));
			sum += weights[t];
		}
		int32_t *k = a->coefficients + (size_t)i * a->width;
		memset(k, 0, sizeof(int32_t) * a->width);
		for (int t = 0; t < taps; t++) {
			double w = (sum != 0 ? weights[t] / sum : weights[t]) * (1 << PRECISION);
			k[t] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
		}
		a->start[i] = start;
		a->taps[i] = taps;
		if (start < a->first) a->first = start;
		if (end > a->last) a->last = end;
	}
}

static inline uint8_t clip(int32_t sum) {
	int v = sum >> PRECISION;
	return v < 0 ? 0 : v > 255 ? 255 : v;
}

// One row of 3-channel pixels. Each pixel is widened to four 32-bit numbers, so that two
// pixels are multiplied by two coefficients in one vector.
CVF_CLONES static void row3(const axis *a, const uint8_t *restrict src, int32_t *restrict wide,
                            const int32_t *restrict pairs, uint8_t *restrict dst) {
	const uint8_t *s = src + (size_t)a->first * 3;
	int n = a->last - a->first;
	for (int x = 0; x < n; x++) {
		wide[4 * x] = s[3 * x];
		wide[4 * x + 1] = s[3 * x + 1];
		wide[4 * x + 2] = s[3 * x + 2];
		wide[4 * x + 3] = 0;
	}
	for (int i = 0; i < a->count; i++) {
		const v8u *p = (const v8u *)(wide + 4 * (size_t)(a->start[i] - a->first));
		const v8u *k = (const v8u *)(pairs + 4 * (size_t)i * (a->width + 1));
		v8 even = {0}, odd = {0};
		int t = 0, halves = (a->taps[i] + 1) / 2;
		for (; t + 1 < halves; t += 2) {
			even += p[t] * k[t];
			odd += p[t + 1] * k[t + 1];
		}
		if (t < halves) even += p[t] * k[t];
		even += odd;
		for (int c = 0; c < 3; c++)
			dst[3 * i + c] = clip(even[c] + even[c + 4] + (1 << (PRECISION - 1)));
	}
}

// One row of single-channel pixels.
CVF_CLONES static void row1(const axis *a, const uint8_t *restrict src, uint8_t *restrict dst) {
	for (int i = 0; i < a->count; i++) {
		const uint8_t *p = src + a->start[i];
		const int32_t *k = a->coefficients + (size_t)i * a->width;
		int32_t sum = 1 << (PRECISION - 1);
		for (int t = 0; t < a->taps[i]; t++) sum += p[t] * k[t];
		dst[i] = clip(sum);
	}
}

// All columns of rows that are n bytes wide. src begins with input row a->first.
CVF_CLONES static void columns(const axis *a, const uint8_t *restrict src, ptrdiff_t stride,
                               int n, int32_t *restrict sums, uint8_t *restrict dst) {
	for (int i = 0; i < a->count; i++, dst += n) {
		const int32_t *k = a->coefficients + (size_t)i * a->width;
		const uint8_t *restrict p = src + (a->start[i] - a->first) * stride;
		for (int x = 0; x < n; x++) sums[x] = 1 << (PRECISION - 1);
		for (int t = 0; t < a->taps[i]; t++, p += stride) {
			int32_t factor = k[t];
			for (int x = 0; x < n; x++) sums[x] += p[x] * factor;
		}
		for (int x = 0; x < n; x++) dst[x] = clip(sums[x]);
	}
}

// The parts of the scratch memory.
typedef struct {
	axis across, down;
	int32_t *wide, *pairs, *sums;
	uint8_t *middle;
	size_t bytes;
} parts;

// Which direction comes first matters, because each rounds. Since version 13, Pillow
// begins with the columns where the picture loses more than twice as many rows as
// columns; before, it always began with the rows. The rule is not documented, but found
// by experiments: see order() in testdata/golden.py.
static int columns_first(const cvf_pillow_job *job) {
	return job->full_h < job->src_h && job->full_w != job->src_w &&
	       job->src_h - job->full_h > 2 * (job->src_w - job->full_w);
}

static parts lay_out(const cvf_pillow_job *job, void *scratch) {
	parts p;
	uintptr_t next = (uintptr_t)scratch;
	axis_place(&p.across, &next, job->src_w, job->full_w, job->w, job->filter);
	axis_place(&p.down, &next, job->src_h, job->full_h, job->h, job->filter);
	// A pixel behind the last is multiplied by a coefficient of 0.
	p.wide = take(&next, sizeof(int32_t) * 4 * ((size_t)job->src_w + 1));
	p.pairs = take(&next, sizeof(int32_t) * 4 * job->w * ((size_t)p.across.width + 1));
	// The result of the first direction.
	size_t w = job->w, h = job->src_h;
	if (columns_first(job)) w = job->src_w, h = job->h;
	p.sums = take(&next, sizeof(int32_t) * job->channels * w);
	p.middle = take(&next, job->channels * w * h);
	p.bytes = next - (uintptr_t)scratch;
	return p;
}

size_t cvf_pillow_scratch(const cvf_pillow_job *job) { return lay_out(job, NULL).bytes; }

// Writes each coefficient four times, for the four numbers of a pixel.
static void spread(const axis *a, int32_t *pairs) {
	for (int i = 0; i < a->count; i++) {
		const int32_t *k = a->coefficients + (size_t)i * a->width;
		for (int t = 0; t <= a->width; t++)
			for (int c = 0; c < 4; c++) *pairs++ = t < a->width ? k[t] : 0;
	}
}

// Convolves count rows of the picture, to rows without gaps.
static void across(const cvf_pillow_job *job, parts *p, const uint8_t *src, ptrdiff_t stride,
                   int count, uint8_t *dst) {
	const axis *a = &p->across;
	if (job->channels == 3) {
		spread(a, p->pairs);
		memset(p->wide + 4 * (a->last - a->first), 0, sizeof(int32_t) * 4);
	}
	for (int y = 0; y < count; y++, src += stride, dst += job->w * job->channels) {
		if (job->channels == 3)
			row3(a, src, p->wide, p->pairs, dst);
		else
			row1(a, src, dst);
	}
}

void cvf_pillow(const cvf_pillow_job *job, void *scratch, uint8_t *dst) {
	parts p = lay_out(job, scratch);
	int n = job->w * job->channels, narrow = job->src_w != job->full_w, low = job->src_h != job->full_h;
	axis *a = &p.across, *d = &p.down;
	if (narrow) axis_compute(a, job->src_w, job->full_w, job->x, job->filter);
	// Where the height stays, these are the rows of the part.
	int first = job->y, last = job->y + job->h;
	if (low) {
		axis_compute(d, job->src_h, job->full_h, job->y, job->filter);
		first = d->first;
		last = d->last;
	}
	const uint8_t *src = job->src + first * job->stride;
	if (columns_first(job)) {
		int used = (a->last - a->first) * job->channels;
		columns(d, src + (ptrdiff_t)a->first * job->channels, job->stride, used, p.sums, p.middle);
		for (int i = 0; i < a->count; i++) a->start[i] -= a->first;
		a->last -= a->first;
		a->first = 0;
		across(job, &p, p.middle, used, job->h, dst);
		return;
	}
	ptrdiff_t stride = job->stride;
	if (narrow) {
		across(job, &p, src, stride, last - first, low ? p.middle : dst);
		if (!low) return;
		src = p.middle;
		stride = n;
	} else {
		src += (ptrdiff_t)job->x * job->channels;
	}
	if (low) {
		columns(d, src, stride, n, p.sums, dst);
		return;
	}
	for (int y = 0; y < job->h; y++) memcpy(dst + (size_t)y * n, src + y * stride, n);
}
