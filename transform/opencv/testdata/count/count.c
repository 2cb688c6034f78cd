// Runs one kernel of one table some times, for .ci/count.sh to count its instructions:
//
//	count                       lists the kernels
//	count TABLE                 says whether there is such a table here
//	count TABLE KERNEL TIMES
//
// The arguments are those of 1920x1080, 4:2:0.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

enum { WIDTH = 1920, BEHIND = 64, BLOCKS = WIDTH / 8, GROUPS = 3 };

typedef uint8_t row[4 * WIDTH + 2 * BEHIND];

static _Alignas(64) row in[4], out[4];
static _Alignas(64) float in_floats[4][4 * WIDTH + BEHIND], out_floats[4 * WIDTH + BEHIND];
static _Alignas(64) int16_t in_words[2][4 * WIDTH + BEHIND], out_words[4 * WIDTH + BEHIND];
static _Alignas(64) int32_t offsets[WIDTH], sums[4 * WIDTH + BEHIND], counts[WIDTH];
static _Alignas(64) int16_t blocks[BLOCKS * 64], weights[2 * WIDTH];
static _Alignas(64) uint8_t samples[16][16 * BLOCKS + BEHIND];
static cvf_taps taps[WIDTH * GROUPS];
static float mix_weights[8 * WIDTH];
static uint8_t ends[BLOCKS];
static cvf_dct dct;

static const uint8_t *rows[4 * GROUPS];
static uint8_t *const outs[4] = {out[0], out[1], out[2], out[3]};
static const float *const float_rows[4] = {in_floats[0], in_floats[1], in_floats[2], in_floats[3]};
static const float four[4] = {0.1f, 0.4f, 0.4f, 0.1f};

static void fill(void) {
	for (int r = 0; r < 4; r++)
		for (size_t i = 0; i < sizeof in[r]; i++) in[r][i] = (uint8_t)(i * 7 + i / 13 + 40 * r);
	for (int r = 0; r < 4; r++)
		for (int i = 0; i < 4 * WIDTH; i++) in_floats[r][i] = in[r][i];
	for (int i = 0; i < 4 * WIDTH; i++) in_words[0][i] = in_words[1][i] = (int16_t)(in[0][i] << 7);
	for (int i = 0; i < WIDTH * GROUPS; i++)
		for (int k = 0; k < 4; k++) taps[i].high[k] = 10, taps[i].low[k] = 21845;
	for (int i = 0; i < 8 * WIDTH; i++) mix_weights[i] = 0.2f;
	for (int i = 0; i < WIDTH; i++) weights[2 * i] = weights[2 * i + 1] = 1024, counts[i] = 5;
	for (int i = 0; i < 4 * GROUPS; i++) rows[i] = in[i % 4];
	dct.size = 8;
	for (int i = 0; i < 64; i++) dct.factors[i] = 1, dct.limits[i] = CVF_DCT_COEFFICIENT;
}

// Sets the offset of each of n pixels: step bytes for every n.
static void every(int n, int step) {
	for (int i = 0; i < n; i++) offsets[i] = i * step;
}

// Fills the blocks with coefficients up to the last one that is not 0: 0, 5 or 63.
static void coefficients(int last) {
	static const int first[6] = {CVF_COEFFICIENT(0, 0), CVF_COEFFICIENT(0, 1), CVF_COEFFICIENT(1, 0),
	                             CVF_COEFFICIENT(2, 0), CVF_COEFFICIENT(1, 1), CVF_COEFFICIENT(0, 2)};
	for (int b = 0; b < BLOCKS; b++) {
		ends[b] = (uint8_t)last;
		for (int i = 0; i <= last; i++) blocks[64 * b + (last < 6 ? first[i] : i)] = (int16_t)(i ? i % 3 - 1 : b);
	}
}

static void idct(const cvf_kernels *k) {
	cvf_dct_rows all = cvf_dct_rows_of(dct.size, ~0u);
	cvf_idct *transform = k->decode->idct(dct.size, &all);
	k->decode->prepare(&dct);
	for (int i = 0; i < BLOCKS; i++)
		if (transform(&dct, &all, blocks + 64 * i, ends[i], samples[0] + 8 * i, sizeof samples[0])) abort();
}

// What a kernel needs besides, and a call of it.
typedef struct {
	const char *name;
	void (*prepare)(void);
	void (*run)(const cvf_kernels *k);
} kernel;

#define PREPARE(name, code) static void prepare_##name(void) { code; }
#define RUN(name, code) static void run_##name(const cvf_kernels *k) { code; }
#define KERNEL(name, prepared, code) PREPARE(name, prepared) RUN(name, code)

KERNEL(idct_dc, coefficients(0), idct(k))
KERNEL(idct_few, coefficients(5), idct(k))
KERNEL(idct_all, coefficients(63), idct(k))
KERNEL(h2v1, , k->decode->h2v1(in[0] + BEHIND, WIDTH / 2, out[0]))
KERNEL(h2v2, , k->decode->h2v2(in[0] + BEHIND, in[1] + BEHIND, WIDTH / 2, out[0]))
KERNEL(h1v2, , k->decode->h1v2(in[0] + BEHIND, in[1] + BEHIND, 1, WIDTH, out[0]))
KERNEL(h2v2_third, , k->decode->h2v2_third(in[0] + BEHIND, in[1] + BEHIND, 1, WIDTH / 3, out[0]))
KERNEL(thin, , k->decode->thin(in[0], 3, WIDTH / 3, out[0]))
KERNEL(ycc, , k->decode->ycc(in[0], in[1], in[2], WIDTH, out[0]))
KERNEL(rgb, , k->decode->rgb(in[0], in[1], in[2], WIDTH, out[0]))

static int32_t groups[WIDTH];
static void prepare_across(void) {
	every(224, 4 * 8);
	for (int i = 0; i < 224; i++) groups[i] = GROUPS;
}
static void run_across(const cvf_kernels *k) {
	const cvf_across a = {224, offsets, groups, taps};
	k->resize->across(&a, rows, outs, 4);
}
KERNEL(down, , k->resize->down(taps, GROUPS, rows, 4 * 224, out[0]))
KERNEL(gray, , k->resize->gray(in[0], WIDTH, out[0]))
KERNEL(to_three, , k->resize->to_three(in[0], WIDTH, out[0]))
KERNEL(to_four, , k->resize->to_four(in[0], WIDTH, out[0]))
KERNEL(weave, , k->resize->weave(rows, WIDTH, out[0]))
KERNEL(unweave, , k->resize->unweave(in[0], WIDTH, outs))
KERNEL(pick, every(640, 12), k->resize->pick(in[0], offsets, 640, 3, out[0]))
KERNEL(widen3, every(416, 16), k->resize->widen3(in[0], offsets, weights, 416, out_words))
KERNEL(widen1, every(416, 4), k->resize->widen1(in[0], offsets, weights, 416, out_words))
KERNEL(blend, , k->resize->blend(in_words[0], in_words[1], 1024, 1024, 3 * 416, out[0]))
KERNEL(halve3, , k->resize->halve3(in[0], in[1], WIDTH / 2, out[0]))
KERNEL(halve1, , k->resize->halve1(in[0], in[1], WIDTH / 2, out[0]))
KERNEL(add, , k->resize->add(in[0], 3, 640, sums))
static void prepare_mix(void) { every(416, 16); }
static void run_mix(const cvf_kernels *k) {
	const cvf_mix m = {416, offsets, counts, mix_weights};
	k->resize->mix(&m, in[0], out_floats);
}
KERNEL(mix_down, , k->resize->mix_down(in_floats[0], 0.2f, 0, 4 * 416, out_floats))
KERNEL(mix_four, , k->resize->mix_four(float_rows, four, 4 * 416, out_floats))
KERNEL(round, , k->resize->round(in_floats[0], 4 * 416, out[0]))

#define ENTRY(name) {#name, prepare_##name, run_##name}
static const kernel kernels[] = {
	ENTRY(idct_dc), ENTRY(idct_few), ENTRY(idct_all), ENTRY(h2v1),   ENTRY(h2v2),    ENTRY(h1v2),    ENTRY(ycc),
	ENTRY(h2v2_third), ENTRY(thin),
	ENTRY(rgb),     ENTRY(across),   ENTRY(down),     ENTRY(gray),   ENTRY(to_three), ENTRY(to_four), ENTRY(weave),
	ENTRY(unweave), ENTRY(pick),     ENTRY(widen3),   ENTRY(widen1), ENTRY(blend),   ENTRY(halve3),  ENTRY(halve1),
	ENTRY(add),     ENTRY(mix),      ENTRY(mix_down), ENTRY(mix_four), ENTRY(round),
};
enum { KERNELS = sizeof kernels / sizeof *kernels };

int main(int argc, char **argv) {
	int tables = 0;
	const cvf_kernels *table = cvf_kernels_all(&tables);
	if (argc < 2) {
		for (int i = 0; i < KERNELS; i++) puts(kernels[i].name);
		return 0;
	}
	while (tables > 0 && strcmp(table->name, argv[1])) table++, tables--;
	if (tables == 0 || argc < 4) return tables == 0;
	fill();
	for (int i = 0; i < KERNELS; i++) {
		if (strcmp(kernels[i].name, argv[2])) continue;
		kernels[i].prepare();
		for (int n = atoi(argv[3]); n > 0; n--) kernels[i].run(table);
		return 0;
	}
	return 2;
}
