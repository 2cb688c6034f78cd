#include <math.h>
#include <string.h>

#include "pack.h"

// So many values are made at a time, which stay in the fastest cache.
#define PART 512

// Rounds a float to half precision, halves to even.
static uint16_t half(float f) {
	uint32_t bits, shift = 13;
	memcpy(&bits, &f, sizeof bits);
	uint16_t sign = bits >> 16 & 0x8000;
	int exponent = (int)(bits >> 23 & 0xff) - 127 + 15;
	if (exponent > 30) return sign | 0x7c00; // infinity
	if (exponent < -10) return sign;
	bits &= 0x7fffff;
	if (exponent <= 0) { // not normal
		bits |= 0x800000;
		shift = (uint32_t)(14 - exponent);
	} else {
		bits |= (uint32_t)exponent << 23;
	}
	// A carry out of the mantissa raises the exponent.
	bits += (1u << (shift - 1)) - 1 + (bits >> shift & 1);
	return sign | (uint16_t)(bits >> shift);
}

// Rounds a float to bfloat16, halves to even.
static uint16_t brain(float f) {
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint8_t quantized(const cvf_pack_floats *p, float f) {
	float q = rintf(f / p->scale) + (float)p->zero;
	return (uint8_t)(int)fmaxf(fminf(q, (float)p->most), (float)p->least);
}

// Writes n values as elements that are apart elements from each other.
static void write(const cvf_pack_floats *p, const float *values, int n, int apart, uint8_t *dst) {
	switch (p->kind) {
	case CVF_FLOAT32:
		for (int i = 0; i < n; i++) memcpy(dst + 4 * (size_t)i * apart, values + i, 4);
		break;
	case CVF_FLOAT16:
		for (int i = 0; i < n; i++) ((uint16_t *)dst)[(size_t)i * apart] = half(values[i]);
		break;
	case CVF_BFLOAT16:
		for (int i = 0; i < n; i++) ((uint16_t *)dst)[(size_t)i * apart] = brain(values[i]);
		break;
	case CVF_QUANTIZED:
		for (int i = 0; i < n; i++) dst[(size_t)i * apart] = quantized(p, values[i]);
	}
}

void cvf_pack_of_floats(const cvf_pack_job *j, const cvf_pack_floats *p, void *dst) {
	size_t size = p->kind == CVF_FLOAT32 ? 4 : p->kind == CVF_QUANTIZED ? 1 : 2;
	size_t plane = j->planar ? (size_t)j->tw * j->th : 1;
	int apart = j->planar ? 1 : j->channels;
	if (!j->padded) cvf_pack_padding(j, size, dst);
	float values[PART];
	for (int y = 0; y < j->h; y++)
		for (int c = 0; c < j->channels; c++)
			for (int x = 0; x < j->w; x += PART) {
				int n = j->w - x < PART ? j->w - x : PART;
				const float *src = (const float *)(j->src + y * j->stride) + 4 * x + (j->reverse && j->channels == 3 ? 2 - c : c);
				for (int i = 0; i < n; i++) values[i] = (float)((src[4 * i] * p->factor[c]) + p->shift[c]);
				size_t at = ((size_t)(j->top + y) * j->tw + j->left + x) * apart + c * plane;
				write(p, values, n, apart, (uint8_t *)dst + at * size);
			}
}
