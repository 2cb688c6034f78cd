#include "pack.h"

#include <string.h>

#include "kernels.h"

// So many pixels are packed at a time, which stay in the fastest cache.
#define PART 512

// What packing one tensor needs.
typedef struct {
	const cvf_pack_job *job;
	const cvf_resize_kernels *kernels; // for divisions: plain C where no other is exact
	const void *table;
	size_t size; // of an element
	int alike;   // CVF_LOOK8 has the same table for all channels
	uint8_t *dst;
} packing;

static size_t element_size(int kind) {
	switch (kind) {
	case CVF_PIXEL:
	case CVF_LOOK8:
		return 1;
	case CVF_LOOK16:
	case CVF_DIVIDE16:
	case CVF_DIVIDEB16:
		return 2;
	}
	return 4;
}

// The entries of each table are apart channels of three, or side by side with 1.
static void look8(const uint8_t *src, int n, const uint8_t *table, int apart, uint8_t *restrict dst) {
	for (int i = 0; i < n; i++) dst[i * apart] = table[src[i * apart]];
}

static void look16(const uint8_t *src, int n, const uint16_t *table, int apart, uint16_t *restrict dst) {
	for (int i = 0; i < n; i++) dst[i * apart] = table[src[i * apart]];
}

static void look32(const uint8_t *src, int n, const uint32_t *table, int apart, uint32_t *restrict dst) {
	for (int i = 0; i < n; i++) dst[i * apart] = table[src[i * apart]];
}

// Makes elements of n bytes. Three channels are side by side, or all are of one.
static void elements(const packing *p, const uint8_t *src, int n, int channel, int channels, uint8_t *dst) {
	switch (p->job->kind) {
	case CVF_PIXEL:
		memcpy(dst, src, n);
		break;
	case CVF_LOOK8:
		if (channels == 1 || p->alike) {
			p->kernels->look8(src, n, (const uint8_t *)p->table + 256 * channel, dst);
			break;
		}
		for (int c = 0; c < channels; c++)
			look8(src + c, n / channels, (const uint8_t *)p->table + 256 * (channel + c), channels, dst + c);
		break;
	case CVF_LOOK16:
		for (int c = 0; c < channels; c++)
			look16(src + c, n / channels, (const uint16_t *)p->table + 256 * (channel + c), channels, (uint16_t *)dst + c);
		break;
	case CVF_LOOK32:
		for (int c = 0; c < channels; c++)
			look32(src + c, n / channels, (const uint32_t *)p->table + 256 * (channel + c), channels, (uint32_t *)dst + c);
		break;
	case CVF_DIVIDE16:
		p->kernels->divide16(src, n, *(const float *)p->table, (uint16_t *)dst);
		break;
	case CVF_DIVIDEB16:
		p->kernels->divideb16(src, n, *(const float *)p->table, (uint16_t *)dst);
		break;
	case CVF_DIVIDE32:
		p->kernels->divide32(src, n, *(const float *)p->table, (float *)dst);
	}
}

// Packs n pixels of three bytes, up to PART, to where the first of them belongs.
static void pack_colors(const packing *p, const uint8_t *src, int n, uint8_t *dst) {
	const cvf_pack_job *j = p->job;
	const cvf_resize_kernels *k = cvf_kernels_best()->resize;
	uint8_t rows[3][PART + 64], flipped[3 * PART + 64];
	if (j->planar) {
		size_t plane = (size_t)j->tw * j->th * p->size;
		if (j->kind == CVF_PIXEL) { // most of them need no other row
			int most = n / 16 * 16;
			k->split(src, most, j->reverse ? (uint8_t *[]){dst + 2 * plane, dst + plane, dst}
			                               : (uint8_t *[]){dst, dst + plane, dst + 2 * plane});
			src += 3 * most;
			dst += most;
			n -= most;
		}
		k->split(src, n, (uint8_t *[]){rows[0], rows[1], rows[2]});
		for (int c = 0; c < 3; c++) elements(p, rows[j->reverse ? 2 - c : c], n, c, 1, dst + c * plane);
		return;
	}
	if (j->reverse) {
		k->flip(src, n, flipped);
		src = flipped;
	}
	elements(p, src, 3 * n, 0, 3, dst);
}

// Packs up to PART pixels that are step bytes apart, as those that are picked from a larger
// picture.
static void pack_part(const packing *p, const uint8_t *src, int step, int n, uint8_t *dst) {
	uint8_t gathered[3 * PART + 64];
	int channels = p->job->channels;
	if (step != channels) {
		for (int i = 0; i < n; i++) memcpy(gathered + channels * i, src + (ptrdiff_t)i * step, channels);
		src = gathered;
	}
	if (channels == 1)
		elements(p, src, n, 0, 1, dst);
	else
		pack_colors(p, src, n, dst);
}

// Returns where the pixel of the tensor is, or begins.
static uint8_t *place(const packing *p, int x, int y) {
	size_t elements = p->job->planar ? 1 : p->job->channels;
	return p->dst + ((size_t)y * p->job->tw + x) * elements * p->size;
}

static void pack_row(const packing *p, const uint8_t *src, int step, int x, int y, int n) {
	for (int i = 0; i < n; i += PART)
		pack_part(p, src + (ptrdiff_t)i * step, step, n - i < PART ? n - i : PART, place(p, x + i, y));
}

// PART pixels of padding: of each plane, or in the first with the channels side by side.
typedef uint8_t padding[3][PART * 3 * sizeof(uint32_t)];

// Fills what the picture leaves free.
static void pad(const packing *p, padding pixels, int x, int y, int n) {
	const cvf_pack_job *j = p->job;
	int planes = j->planar ? j->channels : 1, channels = j->planar ? 1 : j->channels;
	size_t plane = (size_t)j->tw * j->th * p->size;
	for (int i = 0; i < n; i += PART)
		for (int c = 0; c < planes; c++)
			memcpy(place(p, x + i, y) + c * plane, pixels[c], (n - i < PART ? n - i : PART) * channels * p->size);
}

static void pad_all(const packing *p) {
	const cvf_pack_job *j = p->job;
	padding pixels;
	int channels = j->planar ? 1 : j->channels;
	for (int c = 0; c < j->channels; c++)
		for (int i = 0; i < PART; i++)
			memcpy(j->planar ? pixels[c] + i * p->size : pixels[0] + (i * channels + c) * p->size, &j->pad[c], p->size);
	for (int y = 0; y < j->th; y++) {
		int within = y >= j->top && y < j->top + j->h, right = j->left + j->w;
		pad(p, pixels, 0, y, within ? j->left : j->tw);
		if (within) pad(p, pixels, right, y, j->tw - right);
	}
}

void cvf_pack_padding(const cvf_pack_job *job, size_t size, void *dst) {
	pad_all(&(packing){.job = job, .size = size, .dst = dst});
}

void cvf_pack(const cvf_pack_job *job, const void *table, void *dst) {
	packing p = {.job = job, .kernels = cvf_kernels_best()->resize, .table = table, .size = element_size(job->kind), .dst = dst};
	int divided = job->kind >= CVF_DIVIDE16;
	if (divided && !p.kernels->divides(*(const float *)table)) p.kernels = &cvf_resize_c;
	p.alike = job->kind == CVF_LOOK8 && memcmp(table, (const uint8_t *)table + 256, 512) == 0;
	if (!job->padded) pad_all(&p);
	for (int y = 0; y < job->h; y++) pack_row(&p, job->src + y * job->stride, job->step, job->left, job->top + y, job->w);
}

// No ink is 255. A channel is key - (255 - ink) * key / 255, with the
// division rounded as Pillow's MULDIV255.
void cvf_cmyk_to_bgr(const uint8_t *src, uint8_t *dst, size_t n) {
	for (size_t i = 0; i < n; i++, src += 4, dst += 3) {
		int key = src[3];
		for (int c = 0; c < 3; c++) {
			int product = (255 - src[c]) * key + 128;
			dst[2 - c] = (uint8_t)(key - (((product >> 8) + product) >> 8));
		}
	}
}
