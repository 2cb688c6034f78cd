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

static inline INLINE unsigned length_of(cvf_huffman_entry e) { return e & 255; }
static inline INLINE unsigned first_of(cvf_huffman_entry e) { return e >> 8 & 255; }
static inline INLINE unsigned step_of(cvf_huffman_entry e) { return e >> 16 & 255; }
static inline INLINE unsigned second_step_of(cvf_huffman_entry e) { return e >> 24 & 255; }
static inline INLINE int16_t value_of(cvf_huffman_entry e) { return (int16_t)(e >> 32); }
static inline INLINE int16_t second_value_of(cvf_huffman_entry e) { return (int16_t)(e >> 48); }

static cvf_huffman_entry entry(int length, int first, int step, int second_step, int value, int second_value) {
	return length | first << 8 | step << 16 | (uint64_t)second_step << 24 | (uint64_t)(uint16_t)value << 32 |
	       (uint64_t)(uint16_t)second_value << 48;
}

// Enters a code of the length into t->look, with each value that fits in.
static void enter(cvf_huffman_table *t, int code, int length, int symbol) {
	int rest = CVF_LOOK - length, size = symbol & 15;
	for (int i = 0; i < 1 << rest; i++) {
		cvf_huffman_entry *e = &t->look[code << rest | i];
		if (size > rest) {
			*e = entry(0, length, 0, 0, symbol, 0);
			continue;
		}
		int value = size ? extend(i >> (rest - size), size) : 0;
		*e = entry(length + size, length + size, step(t, symbol), 0, value, value);
	}
}

// Adds to entries of one coefficient the next one where that fits in.
static void pair(cvf_huffman_table *t) {
	for (int i = 0; i < 1 << CVF_LOOK; i++) {
		cvf_huffman_entry e = t->look[i];
		if (length_of(e) == 0 || step_of(e) == END_OF_BLOCK) continue;
		int first = first_of(e);
		cvf_huffman_entry next = t->look[i << first & ((1 << CVF_LOOK) - 1)];
		if (length_of(next) == 0 || first + first_of(next) > CVF_LOOK) continue;
		t->look[i] = entry(first + first_of(next), first, step_of(e), step_of(next), value_of(e), value_of(next));
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
	int count;
	const uint8_t *at, *end; // of the data, up to the first marker that was met
} reader;

// What a refill makes of them: few enough to be returned in registers.
typedef struct {
	uint64_t bits;
	const uint8_t *at;
} refilled;

// Adds byte by byte to the bits. From a marker on, zeros are made up.
static __attribute__((noinline)) refilled refill_slowly(j_decompress_ptr info, uint64_t bits, int count,
                                                        const uint8_t *at, const uint8_t *end) {
	bits &= ~(~0ull >> count); // they may be of a marker
	for (; count < 56; count += 8) {
		int c = 0;
		if (info->unread_marker == 0) {
			do {
				if (at == end) ERREXIT(info, JWRN_JPEG_EOF);
				c = *at++;
			} while (c == 0xff && at < end && *at == 0xff);
			if (c == 0xff) {
				if (at == end) ERREXIT(info, JWRN_JPEG_EOF);
				info->unread_marker = *at++;
				c = info->unread_marker ? 0 : 0xff;
			}
		}
		if (info->unread_marker) ((cvf_huffman *)info->client_data)->made_up += 8;
		bits |= (uint64_t)c << (56 - count);
	}
	return (refilled){bits, at};
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
	refilled slow = refill_slowly(info, r->bits, r->count, r->at, r->end);
	r->bits = slow.bits;
	r->at = slow.at;
	r->count |= 56;
	if (UNLIKELY(info->unread_marker)) r->end = r->at;
}

static inline INLINE void drop(reader *r, int n) {
	r->bits <<= n & 63;
	r->count -= n & 63;
}

// Reads a code that does not fit into a look-up with its value. Returns the step to the coefficient.
static inline INLINE int longer(j_decompress_ptr info, const cvf_huffman_table *t, reader *r, int *value) {
	refill(info, r);
	cvf_huffman_entry e = t->look[r->bits >> (64 - CVF_LOOK)];
	int length = first_of(e), symbol = value_of(e);
	if (!length) {
		length = CVF_LOOK + 1;
		while (length <= 16 && (int)(r->bits >> (64 - length)) > t->last[length]) length++;
		if (length > 16) {
			int made_up = ((cvf_huffman *)info->client_data)->made_up;
			ERREXIT(info, r->count - length < made_up ? JWRN_HIT_MARKER : JWRN_HUFF_BAD_CODE);
		}
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

// Leaves bits enough for looking up the first coefficients behind it.
static inline INLINE int decode_dc(j_decompress_ptr info, const cvf_huffman_table *t, reader *r) {
	refill(info, r);
	cvf_huffman_entry e = t->look[r->bits >> (64 - CVF_LOOK)];
	int value = value_of(e);
	if (LIKELY(length_of(e))) {
		drop(r, length_of(e));
	} else {
		longer(info, t, r, &value);
		refill(info, r);
	}
	return value;
}

#define AT_ONCE (56 / CVF_LOOK - 1) // look-ups that there are bits for, after one of a DC coefficient

// From here on the second of two coefficients may be behind the last one: of
// the next block.
#define ALONE (63 - 16)

static inline INLINE void decode_ac(j_decompress_ptr info, const cvf_huffman_table *t, reader *r,
                                    JCOEF *block) {
	unsigned k = 0;
	for (;;) {
		for (int i = 0; i < AT_ONCE; i++) {
			cvf_huffman_entry e = t->look[r->bits >> (64 - CVF_LOOK)];
			if (UNLIKELY(!length_of(e))) {
				int value;
				k += longer(info, t, r, &value);
				block[order[k]] = value;
				if (k >= ALONE) goto alone;
				break;
			}
			drop(r, length_of(e));
			k += step_of(e);
			block[order[k]] = value_of(e);
			k += second_step_of(e);
			block[order[k]] = second_value_of(e);
			if (k >= ALONE) goto alone;
		}
		refill(info, r);
	}
alone:
	while (k < 63) {
		refill(info, r);
		cvf_huffman_entry e = t->look[r->bits >> (64 - CVF_LOOK)];
		int value = value_of(e);
		if (LIKELY(length_of(e))) {
			drop(r, first_of(e));
			k += step_of(e);
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
	reader r = {h->bits, h->count, at, info->unread_marker ? at : at + src->bytes_in_buffer};
	for (int i = 0; i < info->blocks_in_MCU; i++) {
		JBLOCK unwanted;
		JCOEF *block = blocks ? *blocks[i] : unwanted;
		int c = info->MCU_membership[i]; // the component
		h->dc[c] += decode_dc(info, h->dc_table[c], &r);
		block[0] = (JCOEF)h->dc[c];
		decode_ac(info, h->ac_table[c], &r, block);
	}
	if (UNLIKELY(r.count < h->made_up)) ERREXIT(info, JWRN_HIT_MARKER);
	h->bits = r.bits;
	h->count = r.count;
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
