#define JPEG_INTERNALS // the entropy decoder's place, the same in all versions of libjpeg's ABI 6.2
#include "huffman.h"

#include <string.h>

#include <jerror.h>

// BMI2 shifts by what is in any register, without flags. (A variant for "arch=haswell"
// would be for processors of just that name.)
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("bmi2", "default")))
#else
#define CLONES
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define INLINE __attribute__((always_inline))
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

// Where coefficients are in a block, by their order in the data (figure 5 of
// ITU-T T.81). As in libjpeg, those behind the last one go to its place: runs that
// are too long, and the zero that an end of block writes.
static const uint8_t order[64 + 64] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
    63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
    63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
    63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
    63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
};

#define END_OF_BLOCK 64 // a step behind the last coefficient, from any of them

// The value that the bits of a size stand for (table F.1 of T.81).
static int extend(int bits, int size) {
	return bits < 1 << (size - 1) ? bits - (1 << size) + 1 : bits;
}

// The step to the coefficient of a symbol. That of a run of 16 is a zero, too.
static int step(const cvf_huffman_table *t, int symbol) {
	if (!t->ac) return 0;
	int run = symbol >> 4;
	return symbol & 15 || run == 15 ? run + 1 : END_OF_BLOCK;
}

// Enters a code of the length into t->look, with each value that fits in.
static void enter(cvf_huffman_table *t, int code, int length, int symbol) {
	int rest = CVF_LOOK - length, size = symbol & 15;
	for (int i = 0; i < 1 << rest; i++) {
		cvf_huffman_entry *e = &t->look[code << rest | i];
		if (size > rest) {
			*e = (cvf_huffman_entry){0, length, {0}, {symbol}};
			continue;
		}
		int16_t value = size ? extend(i >> (rest - size), size) : 0;
		uint8_t bits = length + size;
		*e = (cvf_huffman_entry){bits, bits, {step(t, symbol), 0}, {value, value}};
	}
}

// Adds to entries of one coefficient the next one where that fits in.
static void pair(cvf_huffman_table *t) {
	for (int i = 0; i < 1 << CVF_LOOK; i++) {
		cvf_huffman_entry *e = &t->look[i];
		if (e->length == 0 || e->step[0] == END_OF_BLOCK) continue;
		const cvf_huffman_entry *next = &t->look[i << e->first & ((1 << CVF_LOOK) - 1)];
		if (next->length == 0 || e->first + next->first > CVF_LOOK) continue;
		e->length = e->first + next->first;
		e->step[1] = next->step[0];
		e->value[1] = next->value[0];
	}
}

// libjpeg has checked the table: at the start of the scan it made its own of it.
static void make_table(cvf_huffman_table *t, const JHUFF_TBL *from, int ac) {
	t->ac = ac;
	memset(t->look, 0, sizeof t->look);
	memcpy(t->symbols, from->huffval, sizeof t->symbols);
	for (int length = 1, code = 0, i = 0; length <= 16; length++, code <<= 1) {
		t->offset[length] = i - code;
		for (int n = from->bits[length]; n > 0; n--, code++, i++)
			if (length <= CVF_LOOK) enter(t, code, length, from->huffval[i]);
		t->last[length] = from->bits[length] ? code - 1 : -1;
	}
	if (ac) pair(t);
}

// What is being read, in registers.
typedef struct {
	uint64_t bits;
	int count, made_up;
	const uint8_t *at, *end; // of the data, up to the first marker that was met
} reader;

// Adds byte by byte to the bits. From a marker on, zeros are made up.
static __attribute__((noinline)) reader refill_slowly(j_decompress_ptr info, reader r) {
	for (; r.count < 56; r.count += 8) {
		int c = 0;
		if (info->unread_marker == 0) {
			do {
				if (r.at == r.end) ERREXIT(info, JWRN_JPEG_EOF);
				c = *r.at++;
			} while (c == 0xff && r.at < r.end && *r.at == 0xff);
			if (c == 0xff) {
				if (r.at == r.end) ERREXIT(info, JWRN_JPEG_EOF);
				info->unread_marker = *r.at++;
				c = info->unread_marker ? 0 : 0xff;
				if (info->unread_marker) r.end = r.at;
			}
		}
		if (info->unread_marker) r.made_up += 8;
		r.bits &= ~(~0ull >> r.count); // they may be of the marker
		r.bits |= (uint64_t)c << (56 - r.count);
	}
	return r;
}

// Makes the bits 56 or more. Those behind the count may be there already.
static inline INLINE void refill(j_decompress_ptr info, reader *r) {
	uint64_t v;
	if (LIKELY(r->end - r->at >= 8)) {
		memcpy(&v, r->at, sizeof v);
		int n = (63 - r->count) >> 3;
		// None of the n bytes may be 0xff.
		if (LIKELY(!((~v - 0x0101010101010101) & v & (0x8080808080808080 & ~(~0ull << 8 * n))))) {
			r->bits |= __builtin_bswap64(v) >> r->count;
			r->at += n;
			r->count |= 56;
			return;
		}
	}
	*r = refill_slowly(info, *r);
}

static inline INLINE void drop(reader *r, int n) {
	r->bits <<= n & 63;
	r->count -= n & 63;
}

// Reads a code that does not fit into a look-up with its value. Returns the step to the coefficient.
static inline INLINE int longer(j_decompress_ptr info, const cvf_huffman_table *t, reader *r, int *value) {
	refill(info, r);
	cvf_huffman_entry e = t->look[r->bits >> (64 - CVF_LOOK)];
	int length = e.first, symbol = e.value[0];
	if (!length) {
		length = CVF_LOOK + 1;
		while (length <= 16 && (int)(r->bits >> (64 - length)) > t->last[length]) length++;
		if (length > 16) ERREXIT(info, r->count - length < r->made_up ? JWRN_HIT_MARKER : JWRN_HUFF_BAD_CODE);
		symbol = t->symbols[((int)(r->bits >> (64 - length)) + t->offset[length]) & 255];
	}
	drop(r, length);
	int size = symbol & 15;
	*value = 0;
	if (size) {
		*value = extend((int)(r->bits >> (64 - size)), size);
		drop(r, size);
	}
	return step(t, symbol);
}

static inline INLINE int decode_dc(j_decompress_ptr info, const cvf_huffman_table *t, reader *r) {
	refill(info, r);
	cvf_huffman_entry e = t->look[r->bits >> (64 - CVF_LOOK)];
	int value = e.value[0];
	if (LIKELY(e.length))
		drop(r, e.length);
	else
		longer(info, t, r, &value);
	return value;
}

// From here on the second of two coefficients may be behind the last one: of
// the next block.
#define ALONE (63 - 16)

static inline INLINE void decode_ac(j_decompress_ptr info, const cvf_huffman_table *t, reader *r,
                                    JCOEF *block) {
	int k = 0;
	while (k < ALONE) {
		refill(info, r);
		// As many as there are bits for.
		for (int i = 0; i < 56 / CVF_LOOK && k < ALONE; i++) {
			cvf_huffman_entry e = t->look[r->bits >> (64 - CVF_LOOK)];
			if (UNLIKELY(!e.length)) {
				int value;
				k += longer(info, t, r, &value);
				block[order[k]] = value;
				break;
			}
			drop(r, e.length);
			k += e.step[0];
			block[order[k]] = e.value[0];
			k += e.step[1];
			block[order[k]] = e.value[1];
		}
	}
	while (k < 63) {
		refill(info, r);
		cvf_huffman_entry e = t->look[r->bits >> (64 - CVF_LOOK)];
		int value = e.value[0];
		if (LIKELY(e.length)) {
			drop(r, e.first);
			k += e.step[0];
		} else {
			k += longer(info, t, r, &value);
		}
		block[order[k]] = value;
	}
}

// Reads a restart marker, before which only the last byte's bits may be left.
static boolean restart(j_decompress_ptr info, cvf_huffman *h) {
	if (h->count > h->made_up) info->marker->discarded_bytes += (h->count - h->made_up) / 8;
	h->bits = 0;
	h->count = h->made_up = 0;
	if (!info->marker->read_restart_marker(info)) return FALSE;
	memset(h->dc, 0, sizeof h->dc);
	h->restart = info->restart_interval;
	return TRUE;
}

// In the place of libjpeg's own. The blocks are zero; there are none where the
// pixels are not wanted.
CLONES static boolean decode_mcu(j_decompress_ptr info, JBLOCKROW *blocks) {
	cvf_huffman *h = info->client_data;
	if (info->restart_interval) {
		if (h->restart == 0 && !restart(info, h)) return FALSE;
		h->restart--;
	}
	struct jpeg_source_mgr *src = info->src;
	const uint8_t *at = src->next_input_byte;
	reader r = {h->bits, h->count, h->made_up, at, info->unread_marker ? at : at + src->bytes_in_buffer};
	for (int i = 0; i < info->blocks_in_MCU; i++) {
		JBLOCK unwanted;
		JCOEF *block = blocks ? *blocks[i] : unwanted;
		int c = info->MCU_membership[i]; // the component
		h->dc[c] += decode_dc(info, h->dc_table[c], &r);
		block[0] = (JCOEF)h->dc[c];
		decode_ac(info, h->ac_table[c], &r, block);
	}
	if (UNLIKELY(r.count < r.made_up)) ERREXIT(info, JWRN_HIT_MARKER);
	h->bits = r.bits;
	h->count = r.count;
	h->made_up = r.made_up;
	src->next_input_byte = r.at;
	src->bytes_in_buffer -= r.at - at;
	return TRUE;
}

void cvf_huffman_start(j_decompress_ptr info, cvf_huffman *h) {
	if (info->progressive_mode || info->arith_code || info->data_precision != 8 ||
	    info->inputctl->has_multiple_scans)
		return;
	int made[2][NUM_HUFF_TBLS] = {{0}};
	for (int i = 0; i < info->comps_in_scan; i++) {
		int dc = info->cur_comp_info[i]->dc_tbl_no, ac = info->cur_comp_info[i]->ac_tbl_no;
		h->dc_table[i] = &h->tables[0][dc];
		h->ac_table[i] = &h->tables[1][ac];
		if (!made[0][dc]++) make_table(&h->tables[0][dc], info->dc_huff_tbl_ptrs[dc], 0);
		if (!made[1][ac]++) make_table(&h->tables[1][ac], info->ac_huff_tbl_ptrs[ac], 1);
		h->dc[i] = 0;
	}
	h->bits = 0;
	h->count = h->made_up = 0;
	h->restart = info->restart_interval;
	info->client_data = h;
	info->entropy->decode_mcu = decode_mcu;
}
