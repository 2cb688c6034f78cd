#include "pack.h"

#include <string.h>

// Pixels that are not side by side are brought together first, this many at a
// time: vectors of them then take half the time.
#define CVF_GATHERED 640

static void cvf_gather(const uint8_t *src, int step, int n, uint8_t *dst) {
	for (int i = 0; i < n; i++) memcpy(dst + 3 * i, src + (ptrdiff_t)i * step, 3);
}

#define T uint8_t
#define NAME pixel
#define VALUE(c, v) (v)
#include "pack_rows.h"

#define T uint16_t
#define NAME look16
#define VALUE(c, v) table[(c) * 256 + (v)]
#include "pack_rows.h"

#define T uint32_t
#define NAME look32
#define VALUE(c, v) table[(c) * 256 + (v)]
#include "pack_rows.h"

// Twice as fast as a table, because it is done in vectors.
#define T float
#define NAME divide
#define VALUE(c, v) ((float)(v) / table[0])
#include "pack_rows.h"

void cvf_pack(const cvf_pack_job *job, const void *table, void *dst) {
	switch (job->kind) {
	case CVF_PIXEL:
		pixel(job, table, dst);
		break;
	case CVF_LOOK16:
		look16(job, table, dst);
		break;
	case CVF_LOOK32:
		look32(job, table, dst);
		break;
	case CVF_DIVIDE:
		divide(job, table, dst);
		break;
	}
}

// Ink that is absent is 255. A channel is key - (255 - ink) * key / 255, with the
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
