#define JPEG_INTERNALS // for struct jpeg_entropy_decoder: see internals.h
#include "huffman.h"

#include <string.h>

#include <jerror.h>

#if CVF_INTERNALS_KNOWN

// With BMI2 a shift can be by what is in any register, and leaves the flags alone. (A
// variant for "arch=haswell" would be used on processors of just that name.)
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("bmi2", "default")))
#else
#define CLONES
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define INLINE __attribute__((always_inline))

// The place of each coefficient in its block, by the order in the data (figure 5 of
// ITU-T T.81). As in libjpeg, indices beyond the last one are that of the last one:
// runs that are too long lead there, and so does the zero of an end of block.
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

#define END_OF_BLOCK 64 // a step from any coefficient to behind the last one

// The text does not matter: libjpeg decodes the data again and has its own.
static __attribute__((noreturn)) void give_up(j_decompress_ptr info) {
	info->err->msg_code = JWRN_HUFF_BAD_CODE;
	info->err->error_exit((j_common_ptr)info);
	__builtin_unreachable();
}

// The value of a coefficient whose size in bits, and whose bits, are given (table F.1
// of T.81).
static int extend(int bits, int size) {
	return bits < 1 << (size - 1) ? bits - (1 << size) + 1 : bits;
}

// The step to the coefficient of a symbol: for that of 16 zeros, to the last of them.
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

// Enters a code into t->look, for all bits that may follow it: with its value where
// that fits.
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

// Adds a second coefficient to the entries with one, where it fits.
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

// Adds up the codes that fit into each entry's bits, for skip_ac.
static void make_skips(cvf_huffman_table *t) {
	for (int i = 0; i < 1 << CVF_LOOK; i++) {
		unsigned length = 0, steps = 0, end = 0;
		while (!end) {
			cvf_huffman_entry e = t->look[i << length & ((1 << CVF_LOOK) - 1)];
			if (length_of(e) == 0 || length + first_of(e) > CVF_LOOK) break;
			if (step_of(e) < END_OF_BLOCK && steps + step_of(e) >= 63) break;
			length += first_of(e);
			if (step_of(e) == END_OF_BLOCK)
				end = 1;
			else
				steps += step_of(e);
		}
		if (length == 0) steps = 63; // ends the loop of skip_ac
		t->skip[i] = (cvf_huffman_skip)(length | (end ? steps + END_OF_BLOCK : steps) << 8);
	}
}

// libjpeg has checked that the table is a sound one, when the scan began.
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

// The reader's state while an MCU is decoded, which the compiler keeps in registers.
typedef struct {
	uint64_t bits;
	int count;
	const uint8_t *at, *end; // of the data, which ends at the first marker that was met
} reader;

// What a slow refill changes: little enough to be returned in registers.
typedef struct {
	uint64_t bits;
	const uint8_t *at;
} refilled;

// Adds one byte at a time until there are 56 bits. From a marker on, it makes up zeros.
static __attribute__((noinline)) refilled refill_slowly(j_decompress_ptr info, uint64_t bits, int count,
                                                        const uint8_t *at, const uint8_t *end) {
	bits &= ~(~0ull >> count); // a fast refill may have left bits of a marker behind the count
	for (; count < 56; count += 8) {
		int c = 0;
		if (info->unread_marker == 0) {
			do {
				if (at == end) give_up(info);
				c = *at++;
			} while (c == 0xff && at < end && *at == 0xff);
			if (c == 0xff) {
				if (at == end) give_up(info);
				info->unread_marker = *at++;
				c = info->unread_marker ? 0 : 0xff;
			}
		}
		if (info->unread_marker) ((cvf_huffman *)info->client_data)->made_up += 8;
		bits |= (uint64_t)c << (56 - count);
	}
	return (refilled){bits, at};
}

// Makes the bits 56 or more. Behind the count, bits of the next byte may be there
// already: to add them again changes nothing.
static inline INLINE void refill(j_decompress_ptr info, reader *r) {
	uint64_t v;
	if (LIKELY(r->end - r->at >= 8)) {
		memcpy(&v, r->at, sizeof v);
		int n = (63 - r->count) >> 3;
		// Only if none of the n bytes is 0xff, which may be a marker's first.
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

// Reads a code that does not fit into a look-up together with its value. Returns the
// step to the coefficient.
static inline INLINE int longer(j_decompress_ptr info, const cvf_huffman_table *t, reader *r, int *value) {
	refill(info, r);
	cvf_huffman_entry e = t->look[r->bits >> (64 - CVF_LOOK)];
	int length = first_of(e), symbol = value_of(e);
	if (!length) {
		length = CVF_LOOK + 1;
		while (length <= 16 && (int)(r->bits >> (64 - length)) > t->last[length]) length++;
		if (length > 16) give_up(info);
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

// Leaves enough bits to look up the first AC coefficients without another refill.
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

// The look-ups that 56 bits suffice for, less one for the DC coefficient.
#define AT_ONCE (56 / CVF_LOOK - 1)

// From this coefficient on, the first of two may be the block's last and the second of
// the next block: they are taken one at a time.
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

// Reads the AC coefficients of a block, as decode_ac does, and keeps none.
static inline INLINE void skip_ac(j_decompress_ptr info, const cvf_huffman_table *t, reader *r) {
	unsigned k = 0;
	for (;;) {
		for (int i = 0; i < AT_ONCE; i++) {
			unsigned e = t->skip[r->bits >> (64 - CVF_LOOK)], next = k + (e >> 8);
			// One branch for all ends, because the processor cannot foretell them.
			if (next >= 63) {
				// The codes behind the block's last coefficient are those of the next block.
				if (LIKELY(e >> 8 >= END_OF_BLOCK && next < END_OF_BLOCK + 63)) {
					drop(r, e & 255);
					return;
				}
				refill(info, r);
				cvf_huffman_entry one = t->look[r->bits >> (64 - CVF_LOOK)];
				int value;
				if (length_of(one)) {
					drop(r, first_of(one));
					k += step_of(one);
				} else {
					k += longer(info, t, r, &value);
				}
				if (k >= 63) return;
				break;
			}
			drop(r, e & 255);
			k = next;
		}
		refill(info, r);
	}
}

// The whole bytes that were read and not used.
static int bytes_left(const cvf_huffman *h) { return (h->count - h->made_up) / 8; }

// Reads the marker that has to come next, unless it was met already.
static int next_marker(j_decompress_ptr info) {
	struct jpeg_source_mgr *src = info->src;
	int marker = info->unread_marker;
	info->unread_marker = 0;
	if (marker) return marker;
	const uint8_t *at = src->next_input_byte, *end = at + src->bytes_in_buffer;
	if (at == end || *at != 0xff) give_up(info);
	while (at < end && *at == 0xff) at++; // any number of them may come before a marker
	if (at == end) give_up(info);
	marker = *at++;
	src->next_input_byte = at;
	src->bytes_in_buffer = end - at;
	return marker;
}

static void restart(j_decompress_ptr info, cvf_huffman *h) {
	if (bytes_left(h) || next_marker(info) != JPEG_RST0 + h->marker) give_up(info);
	h->marker = (h->marker + 1) & 7;
	h->bits = 0;
	h->count = h->made_up = 0;
	memset(h->dc, 0, sizeof h->dc);
	h->restart = info->restart_interval;
}

// Takes the place of libjpeg's function. The blocks are zero when it is called; blocks
// is NULL where the pixels are not needed.
CLONES static boolean decode_mcu(j_decompress_ptr info, JBLOCKROW *blocks) {
	cvf_huffman *h = info->client_data;
	if (info->restart_interval) {
		if (h->restart == 0) restart(info, h);
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
	if (UNLIKELY(r.count < h->made_up)) give_up(info);
	h->bits = r.bits;
	h->count = r.count;
	src->next_input_byte = r.at;
	src->bytes_in_buffer -= r.at - at;
	return TRUE;
}

// Writes the means of one MCU's blocks of the first component. x and y are those of its
// first block.
static inline INLINE void luma_mcu(j_decompress_ptr info, cvf_huffman *h, reader *r, int factor, uint8_t *dst, int x,
                                   int y, int w, int rows) {
	int last = x + (info->comps_in_scan > 1 ? info->cur_comp_info[0]->h_samp_factor : 1), bx = x;
	for (int i = 0; i < info->blocks_in_MCU; i++) {
		int c = info->MCU_membership[i];
		h->dc[c] += decode_dc(info, h->dc_table[c], r);
		skip_ac(info, h->ac_table[c], r);
		if (c > 0) continue;
		if (bx == last) bx = x, y++;
		int at = bx++;
		if (at >= w || y >= rows) continue; // it fills up the MCU beyond the edge
		// As in libjpeg's jpeg_idct_1x1, what is beyond the range included.
		const JSAMPLE *range = info->sample_range_limit + CENTERJSAMPLE;
		dst[y * w + at] = range[(((JCOEF)h->dc[0] * factor + 4) >> 3) & (MAXJSAMPLE * 4 + 3)];
	}
}

CLONES void cvf_huffman_luma(j_decompress_ptr info, uint8_t *dst, int w, int rows) {
	cvf_huffman *h = info->client_data;
	const jpeg_component_info *first = info->cur_comp_info[0];
	int across = info->comps_in_scan > 1 ? first->h_samp_factor : 1;
	int down = info->comps_in_scan > 1 ? first->v_samp_factor : 1;
	for (int c = 0; c < info->comps_in_scan; c++) make_skips(&h->tables[1][info->cur_comp_info[c]->ac_tbl_no]);
	struct jpeg_source_mgr *src = info->src;
	for (int y = 0; y < (int)info->MCU_rows_in_scan; y++) {
		for (int x = 0; x < (int)info->MCUs_per_row; x++) {
			if (info->restart_interval) {
				if (h->restart == 0) restart(info, h);
				h->restart--;
			}
			const uint8_t *at = src->next_input_byte;
			reader r = {h->bits, h->count, at, info->unread_marker ? at : at + src->bytes_in_buffer};
			luma_mcu(info, h, &r, (MULTIPLIER)first->quant_table->quantval[0], dst, x * across, y * down, w, rows);
			if (UNLIKELY(r.count < h->made_up)) give_up(info);
			h->bits = r.bits;
			h->count = r.count;
			src->next_input_byte = r.at;
			src->bytes_in_buffer -= r.at - at;
		}
	}
	if (bytes_left(h) || next_marker(info) != JPEG_EOI) give_up(info);
}

int cvf_huffman_suits(const struct jpeg_decompress_struct *info) {
	return !info->progressive_mode && !info->arith_code && info->data_precision == 8 &&
	       info->comps_in_scan == info->num_components;
}

void cvf_huffman_start(j_decompress_ptr info, cvf_huffman *h, const cvf_internals *internals) {
	if ((void (*)(void))info->entropy->decode_mcu != internals->decode_mcu) give_up(info);
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
	h->count = h->made_up = h->marker = 0;
	h->restart = info->restart_interval;
	info->client_data = h;
	info->entropy->decode_mcu = decode_mcu;
}

void cvf_huffman_end(j_decompress_ptr info) {
	if (bytes_left(info->client_data)) give_up(info);
}

#else

int cvf_huffman_suits(const struct jpeg_decompress_struct *info) {
	(void)info;
	return 0;
}

void cvf_huffman_start(j_decompress_ptr info, cvf_huffman *h, const cvf_internals *internals) {
	(void)info, (void)h, (void)internals;
}

void cvf_huffman_luma(j_decompress_ptr info, uint8_t *dst, int w, int h) { (void)info, (void)dst, (void)w, (void)h; }

void cvf_huffman_end(j_decompress_ptr info) { (void)info; }

#endif
