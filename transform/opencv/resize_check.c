#include "resize_check.h"

#include <math.h>
#include <string.h>

#define LONGEST 80
#define FACTOR 5 // of pixels, and of bytes in the largest
#define BEHIND 64
#define ROOM (LONGEST * 4 * FACTOR * 4 + 2 * BEHIND)
#define ROWS 12

typedef struct {
	const cvf_resize_kernels *k;
	uint64_t random;
	int n;
	_Alignas(64) uint8_t rows[ROWS][ROOM];
	_Alignas(64) uint8_t want[4][ROOM], got[4][ROOM];
	_Alignas(64) uint8_t numbers[2][ROOM]; // of 16 bits, or floats
	int32_t start[LONGEST], counts[LONGEST];
	cvf_taps taps[LONGEST * 3];
	float weights[LONGEST * FACTOR];
	int16_t pairs[2 * LONGEST];
} check;

static uint32_t next(check *c) {
	c->random = c->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(c->random >> 33);
}

// Fills bytes: with any, or with the least and the greatest.
static void fill(check *c, uint8_t *dst, size_t n) {
	int extreme = next(c) % 3 == 0;
	for (size_t i = 0; i < n; i++) dst[i] = (uint8_t)(extreme ? 255 * (next(c) & 1) : next(c));
}

// Sums of three groups stay within 31 bits: with small taps, or with a single one of 1.
static void prepare_taps(check *c) {
	int alone = next(c) % 3 == 0, at = (int)(next(c) % 4);
	for (int i = 0; i < LONGEST * 3; i++)
		for (int t = 0; t < 4; t++) {
			int32_t tap = (int32_t)(next(c) % (3 << 18)) - (1 << 18);
			if (alone) tap = i % 3 == 0 && t == at ? 1 << CVF_TAP_BITS : 0;
			c->taps[i].low[t] = (int16_t)(tap & 32767);
			c->taps[i].high[t] = (int16_t)(tap >> 15);
		}
}

static void prepare(check *c) {
	for (int r = 0; r < ROWS; r++) fill(c, c->rows[r], ROOM);
	for (int i = 0; i < LONGEST; i++) {
		c->counts[i] = 1 + (int32_t)(next(c) % 3);
		c->weights[i] = 1.f / (float)(1 + next(c) % 300);
		c->pairs[2 * i] = (int16_t)(next(c) % 2049);
		c->pairs[2 * i + 1] = (int16_t)(2048 - c->pairs[2 * i]);
	}
	for (int i = LONGEST; i < LONGEST * FACTOR; i++) c->weights[i] = c->weights[i % LONGEST];
	prepare_taps(c);
}

// Makes both results the same before they are made.
static void clear(check *c) {
	memset(c->want, 99, sizeof c->want);
	memset(c->got, 99, sizeof c->got);
}

// Tells whether the first n bytes of count rows are as they should, and those that lie
// further behind than may be written are untouched.
static int same(const check *c, int count, size_t n, size_t behind) {
	for (int r = 0; r < count; r++) {
		if (memcmp(c->want[r], c->got[r], n) != 0) return 0;
		for (size_t i = n + behind; i < ROOM; i++)
			if (c->got[r][i] != 99) return 0;
	}
	return 1;
}

// Offsets of pixels, which are size bytes large.
static void offsets(check *c, int size) {
	for (int i = 0; i < c->n; i++) c->start[i] = (int32_t)(next(c) % (LONGEST * 2)) * size;
}

static int across_is(check *c, int step) {
	const uint8_t *rows[4] = {c->rows[0], c->rows[1], c->rows[2], c->rows[3]};
	uint8_t *want[4] = {c->want[0], c->want[1], c->want[2], c->want[3]};
	uint8_t *got[4] = {c->got[0], c->got[1], c->got[2], c->got[3]};
	offsets(c, 4);
	clear(c);
	cvf_across a = {c->n, c->start, c->counts, c->taps};
	cvf_resize_c.across(&a, rows, want, step);
	c->k->across(&a, rows, got, step);
	return same(c, 4, (size_t)step * c->n, 0);
}

static int down_is(check *c) {
	const uint8_t *rows[ROWS];
	int groups = 1 + (int)(next(c) % 3);
	for (int r = 0; r < ROWS; r++) rows[r] = c->rows[r];
	clear(c);
	cvf_resize_c.down(c->taps, groups, rows, c->n, c->want[0]);
	c->k->down(c->taps, groups, rows, c->n, c->got[0]);
	return same(c, 1, c->n, BEHIND);
}

typedef void convert(const uint8_t *src, int n, uint8_t *dst);

static int convert_is(check *c, convert *want, convert *got, int size) {
	clear(c);
	want(c->rows[0], c->n, c->want[0]);
	got(c->rows[0], c->n, c->got[0]);
	return same(c, 1, (size_t)size * c->n, BEHIND);
}

// The byte that is added to three may be any.
static void to_four_zero(const cvf_resize_kernels *k, const uint8_t *src, int n, uint8_t *dst) {
	k->to_four(src, n, dst);
	for (int i = 0; i < n; i++) dst[4 * i + 3] = 0;
}

static int to_four_is(check *c) {
	clear(c);
	to_four_zero(&cvf_resize_c, c->rows[0], c->n, c->want[0]);
	to_four_zero(c->k, c->rows[0], c->n, c->got[0]);
	return same(c, 1, 4 * (size_t)c->n, BEHIND);
}

static int weave_is(check *c) {
	const uint8_t *rows[4] = {c->rows[0], c->rows[1], c->rows[2], c->rows[3]};
	clear(c);
	cvf_resize_c.weave(rows, c->n, c->want[0]);
	c->k->weave(rows, c->n, c->got[0]);
	return same(c, 1, 4 * (size_t)c->n, BEHIND);
}

static int unweave_is(check *c) {
	uint8_t *want[4] = {c->want[0], c->want[1], c->want[2], c->want[3]};
	uint8_t *got[4] = {c->got[0], c->got[1], c->got[2], c->got[3]};
	clear(c);
	cvf_resize_c.unweave(c->rows[0], c->n, want);
	c->k->unweave(c->rows[0], c->n, got);
	return same(c, 4, c->n, 0);
}

static int pick_is(check *c, int step) {
	offsets(c, 4);
	clear(c);
	cvf_resize_c.pick(c->rows[0], c->start, c->n, step, c->want[0]);
	c->k->pick(c->rows[0], c->start, c->n, step, c->got[0]);
	return same(c, 1, (size_t)step * c->n, BEHIND);
}

typedef void widen(const uint8_t *src, const int32_t *offsets, const int16_t *weights, int n, int16_t *dst);

static int widen_is(check *c, widen *want, widen *got, int channels, int size) {
	offsets(c, size);
	clear(c);
	want(c->rows[0], c->start, c->pairs, c->n, (int16_t *)c->want[0]);
	got(c->rows[0], c->start, c->pairs, c->n, (int16_t *)c->got[0]);
	return same(c, 1, sizeof(int16_t) * channels * c->n, BEHIND);
}

static int blend_is(check *c) {
	int16_t *words = (int16_t *)c->numbers;
	for (size_t i = 0; i < sizeof c->numbers / 2; i++) words[i] = (int16_t)(next(c) % 32641); // 255 * 2048 / 16
	const int16_t *a = (const int16_t *)c->numbers[0], *b = (const int16_t *)c->numbers[1];
	clear(c);
	cvf_resize_c.blend(a, b, c->pairs[0], c->pairs[1], c->n, c->want[0]);
	c->k->blend(a, b, c->pairs[0], c->pairs[1], c->n, c->got[0]);
	return same(c, 1, c->n, BEHIND);
}

typedef void halve(const uint8_t *a, const uint8_t *b, int n, uint8_t *dst);

static int halve_is(check *c, halve *want, halve *got, int channels) {
	clear(c);
	want(c->rows[0], c->rows[1], c->n, c->want[0]);
	got(c->rows[0], c->rows[1], c->n, c->got[0]);
	return same(c, 1, (size_t)channels * c->n, BEHIND);
}

static int add_is(check *c) {
	int factor = 1 + (int)(next(c) % FACTOR);
	clear(c);
	cvf_resize_c.add(c->rows[0], factor, c->n, (int32_t *)c->want[0]);
	c->k->add(c->rows[0], factor, c->n, (int32_t *)c->got[0]);
	return same(c, 1, 16 * (size_t)c->n, 0);
}

static int mix_is(check *c) {
	offsets(c, 4);
	clear(c);
	cvf_mix m = {c->n, c->start, c->counts, c->weights};
	cvf_resize_c.mix(&m, c->rows[0], (float *)c->want[0]);
	c->k->mix(&m, c->rows[0], (float *)c->got[0]);
	return same(c, 1, 16 * (size_t)c->n, 0);
}

// Makes floats of the numbers, up to 255 and some a little above: any, and halves.
static const float *floats(check *c) {
	float *f = (float *)c->numbers;
	for (int i = 0; i < 4 * LONGEST + BEHIND; i++) f[i] = (float)(next(c) % 511) / (float)(1 + next(c) % 2);
	return f;
}

static int mix_down_is(check *c, int first) {
	const float *src = floats(c);
	clear(c);
	cvf_resize_c.mix_down(src, c->weights[0], first, c->n, (float *)c->want[0]);
	c->k->mix_down(src, c->weights[0], first, c->n, (float *)c->got[0]);
	return same(c, 1, sizeof(float) * c->n, BEHIND);
}

static int mix_four_is(check *c) {
	const float *src = floats(c), *rows[4] = {src, src + 3, src + 7, src + 20};
	clear(c);
	cvf_resize_c.mix_four(rows, c->weights, c->n, (float *)c->want[0]);
	c->k->mix_four(rows, c->weights, c->n, (float *)c->got[0]);
	return same(c, 1, sizeof(float) * c->n, BEHIND);
}

static int round_is(check *c) {
	const float *src = floats(c);
	clear(c);
	cvf_resize_c.round(src, c->n, c->want[0]);
	c->k->round(src, c->n, c->got[0]);
	return same(c, 1, c->n, BEHIND);
}

static int split_is(check *c) {
	uint8_t *want[3] = {c->want[0], c->want[1], c->want[2]}, *got[3] = {c->got[0], c->got[1], c->got[2]};
	clear(c);
	cvf_resize_c.split(c->rows[0], c->n, want);
	c->k->split(c->rows[0], c->n, got);
	return same(c, 3, c->n, c->n % 16 ? BEHIND : 0);
}

// Divisors of all magnitudes, and the usual one.
static int divide_is(check *c) {
	float divisor = next(c) % 2 ? 255 : ldexpf((float)(1 + next(c) % (1 << 24)), (int)(next(c) % 90) - 60);
	clear(c);
	if (!c->k->divides(divisor)) return divisor != 255;
	cvf_resize_c.divide32(c->rows[0], c->n, divisor, (float *)c->want[0]);
	c->k->divide32(c->rows[0], c->n, divisor, (float *)c->got[0]);
	cvf_resize_c.divide16(c->rows[0], c->n, divisor, (uint16_t *)c->want[1]);
	c->k->divide16(c->rows[0], c->n, divisor, (uint16_t *)c->got[1]);
	cvf_resize_c.divideb16(c->rows[0], c->n, divisor, (uint16_t *)c->want[2]);
	c->k->divideb16(c->rows[0], c->n, divisor, (uint16_t *)c->got[2]);
	return same(c, 1, 4 * (size_t)c->n, 0) && memcmp(c->want[1], c->got[1], ROOM) == 0 && memcmp(c->want[2], c->got[2], ROOM) == 0;
}

static int look8_is(check *c) {
	uint8_t table[256];
	for (int i = 0; i < 256; i++) table[i] = (uint8_t)next(c);
	clear(c);
	cvf_resize_c.look8(c->rows[0], c->n, table, c->want[0]);
	c->k->look8(c->rows[0], c->n, table, c->got[0]);
	return same(c, 1, c->n, 0);
}

const char *cvf_resize_check(const cvf_resize_kernels *k, uint64_t seed) {
	static _Thread_local check c;
	const cvf_resize_kernels *p = &cvf_resize_c;
	c.k = k;
	c.random = seed;
	prepare(&c);
	for (c.n = 1; c.n <= LONGEST; c.n++) {
		if (!across_is(&c, 3) || !across_is(&c, 4)) return "across";
		if (!down_is(&c)) return "down";
		if (!convert_is(&c, p->gray, k->gray, 1)) return "gray";
		if (!convert_is(&c, p->to_three, k->to_three, 3)) return "to_three";
		if (!to_four_is(&c)) return "to_four";
		if (!weave_is(&c)) return "weave";
		if (!unweave_is(&c)) return "unweave";
		if (!pick_is(&c, 3) || !pick_is(&c, 4)) return "pick";
		if (!widen_is(&c, p->widen3, k->widen3, 3, 4)) return "widen3";
		if (!widen_is(&c, p->widen1, k->widen1, 1, 1)) return "widen1";
		if (!halve_is(&c, p->halve3, k->halve3, 3)) return "halve3";
		if (!halve_is(&c, p->halve1, k->halve1, 1)) return "halve1";
		if (!blend_is(&c)) return "blend";
		if (!add_is(&c)) return "add";
		if (!mix_is(&c)) return "mix";
		if (!mix_down_is(&c, 0) || !mix_down_is(&c, 1)) return "mix_down";
		if (!mix_four_is(&c)) return "mix_four";
		if (!split_is(&c)) return "split";
		if (!convert_is(&c, p->flip, k->flip, 3)) return "flip";
		if (!divide_is(&c)) return "divide";
		if (!look8_is(&c)) return "look8";
		if (!round_is(&c)) return "round";
	}
	return NULL;
}
