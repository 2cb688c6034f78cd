#include "huffman.h"

#include <string.h>

#include "entries.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words of the data are read as little-endian");

// With BMI2 a shift can be by what is in any register, and leaves the flags alone. (A
// variant for "arch=haswell" would be used on processors of just that name.)
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("bmi2", "default")))
#else
#define CLONES
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

// The place of each coefficient in its block, by the order in the data (figure 5 of
// ITU-T T.81). As in libjpeg, indices beyond the last one are that of the last one:
// runs that are too long lead there, and so does the zero of an end of block.
#define AT CVF_COEFFICIENT
static const uint8_t order[64 + CVF_END_OF_BLOCK] = {
    AT(0, 0), AT(0, 1), AT(1, 0), AT(2, 0), AT(1, 1), AT(0, 2), AT(0, 3), AT(1, 2),
    AT(2, 1), AT(3, 0), AT(4, 0), AT(3, 1), AT(2, 2), AT(1, 3), AT(0, 4), AT(0, 5),
    AT(1, 4), AT(2, 3), AT(3, 2), AT(4, 1), AT(5, 0), AT(6, 0), AT(5, 1), AT(4, 2),
    AT(3, 3), AT(2, 4), AT(1, 5), AT(0, 6), AT(0, 7), AT(1, 6), AT(2, 5), AT(3, 4),
    AT(4, 3), AT(5, 2), AT(6, 1), AT(7, 0), AT(7, 1), AT(6, 2), AT(5, 3), AT(4, 4),
    AT(3, 5), AT(2, 6), AT(1, 7), AT(2, 7), AT(3, 6), AT(4, 5), AT(5, 4), AT(6, 3),
    AT(7, 2), AT(7, 3), AT(6, 4), AT(5, 5), AT(4, 6), AT(3, 7), AT(4, 7), AT(5, 6),
    AT(6, 5), AT(7, 4), AT(7, 5), AT(6, 6), AT(5, 7), AT(6, 7), AT(7, 6), AT(7, 7),
    [64 ... 63 + CVF_END_OF_BLOCK] = AT(7, 7),
};

// The text does not matter: libjpeg decodes the data again and has its own.
static __attribute__((noreturn)) void give_up(const cvf_huffman *h) {
	cvf_session_fail(h->session, "this is not right to the last bit");
}

// The reader's state while MCUs are decoded, which the compiler keeps in registers.
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
static __attribute__((noinline)) refilled refill_slowly(cvf_huffman *h, uint64_t bits, int count,
                                                        const uint8_t *at, const uint8_t *end) {
	bits &= ~(~0ull >> count); // a fast refill may have left bits of a marker behind the count
	for (; count < 56; count += 8) {
		int c = 0;
		if (h->met == 0) {
			do {
				if (at == end) give_up(h);
				c = *at++;
			} while (c == 0xff && at < end && *at == 0xff);
			if (c == 0xff) {
				if (at == end) give_up(h);
				h->met = *at++;
				c = h->met ? 0 : 0xff;
			}
		}
		if (h->met) h->made_up += 8;
		bits |= (uint64_t)c << (56 - count);
	}
	return (refilled){bits, at};
}

// Makes the bits 56 or more. Behind the count, bits of the next byte may be there
// already: to add them again changes nothing.
CVF_INLINE void refill(cvf_huffman *h, reader *r) {
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
	refilled slow = refill_slowly(h, r->bits, r->count, r->at, r->end);
	r->bits = slow.bits;
	r->at = slow.at;
	r->count |= 56;
	if (UNLIKELY(h->met)) r->end = r->at;
}

CVF_INLINE void drop(reader *r, int n) {
	r->bits <<= n & 63;
	r->count -= n & 63;
}

// Reads a code that does not fit into a look-up together with its value. Returns the
// step to the coefficient.
CVF_INLINE int longer(cvf_huffman *h, const cvf_huffman_table *t, reader *r, int *value) {
	refill(h, r);
	cvf_huffman_entry e = t->look[r->bits >> (64 - CVF_LOOK)];
	int length = first_of(e), symbol = value_of(e);
	if (!length) {
		length = CVF_LOOK + 1;
		while (length <= 16 && (int)(r->bits >> (64 - length)) > t->last[length]) length++;
		if (length > 16) give_up(h);
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

// The look-ups that 56 bits suffice for, less one for the DC coefficient.
#define AT_ONCE (56 / CVF_LOOK - 1)

// From this coefficient on, the first of two may be the block's last and the second of
// the next block: they are taken one at a time.
#define ALONE (63 - 16)

// Reads the AC coefficients of a block behind index k, and keeps none.
CVF_INLINE void skip_ac(cvf_huffman *h, const cvf_huffman_table *t, reader *r, unsigned k) {
	for (;;) {
		for (int i = 0; i < AT_ONCE; i++) {
			unsigned e = t->skip[r->bits >> (64 - CVF_LOOK)], next = k + (e >> 8);
			// One branch for all ends, because the processor cannot foretell them.
			if (next >= 63) {
				// The codes behind the block's last coefficient are those of the next block.
				if (LIKELY(e >> 8 >= CVF_END_OF_BLOCK && next < CVF_END_OF_BLOCK + 63)) {
					drop(r, e & 255);
					return;
				}
				refill(h, r);
				cvf_huffman_entry one = t->look[r->bits >> (64 - CVF_LOOK)];
				int value;
				if (length_of(one)) {
					drop(r, first_of(one));
					k += step_of(one);
				} else {
					k += longer(h, t, r, &value);
				}
				if (k >= 63) return;
				break;
			}
			drop(r, e & 255);
			k = next;
		}
		refill(h, r);
	}
}

// Reads the AC coefficients of a block one at a time, from index k on.
CVF_INLINE unsigned decode_alone(cvf_huffman *h, const cvf_huffman_table *t, reader *r, int16_t *block,
                                           unsigned k) {
	while (k < 63) {
		refill(h, r);
		cvf_huffman_entry e = t->look[r->bits >> (64 - CVF_LOOK)];
		int value = value_of(e);
		if (LIKELY(length_of(e))) {
			drop(r, first_of(e));
			k += step_of(e);
		} else {
			k += longer(h, t, r, &value);
		}
		block[order[k]] = (int16_t)value;
	}
	return k;
}

// Reads the AC coefficients of a block, and returns the index of the last one that may not
// be zero. Those behind index limit need not be kept.
CVF_INLINE unsigned decode_ac(cvf_huffman *h, const cvf_huffman_table *t, reader *r, int16_t *block,
                                        unsigned limit) {
	unsigned k = 0, stop = limit < ALONE ? limit : ALONE;
	for (;;) {
		for (int i = 0; i < AT_ONCE; i++) {
			cvf_huffman_entry e = t->look[r->bits >> (64 - CVF_LOOK)];
			if (UNLIKELY(!length_of(e))) {
				int value;
				k += longer(h, t, r, &value);
				block[order[k]] = (int16_t)value;
				if (k >= stop) goto stopped;
				break;
			}
			drop(r, length_of(e));
			k += step_of(e);
			block[order[k]] = value_of(e);
			k += second_step_of(e);
			block[order[k]] = second_value_of(e);
			if (k >= stop) goto stopped;
		}
		refill(h, r);
	}
stopped:
	if (k < 63) {
		if (limit >= ALONE) {
			k = decode_alone(h, t, r, block, k);
		} else {
			refill(h, r);
			skip_ac(h, t, r, k);
		}
	}
	return k >= CVF_END_OF_BLOCK ? k - CVF_END_OF_BLOCK : k < 63 ? k : 63;
}

// The whole bytes that were read and not used. Bits that were made up must not be used.
static int bytes_left(const cvf_huffman *h, const reader *r) {
	if (r->count < h->made_up) give_up(h);
	return (r->count - h->made_up) / 8;
}

// Reads the marker that has to come next, unless it was met already.
static int next_marker(cvf_huffman *h, reader *r) {
	int marker = h->met;
	h->met = 0;
	if (marker) return marker;
	if (r->at == h->end || *r->at != 0xff) give_up(h);
	while (r->at < h->end && *r->at == 0xff) r->at++; // any number of them may come before a marker
	if (r->at == h->end) give_up(h);
	return *r->at++;
}

static __attribute__((noinline)) reader restart(cvf_huffman *h, reader r) {
	if (bytes_left(h, &r) || next_marker(h, &r) != JPEG_RST0 + h->marker) give_up(h);
	h->marker = (h->marker + 1) & 7;
	h->made_up = 0;
	h->left = h->interval;
	memset(h->dc, 0, sizeof h->dc);
	return (reader){.at = r.at, .end = h->end};
}

// Sets a block to zero. Of memset, or of a loop, the compiler makes an instruction that is slow
// for so few bytes.
CVF_INLINE void clear(int16_t *block) {
	typedef int16_t eight __attribute__((vector_size(16)));
	eight *b = (eight *)block;
	const eight zero = {0};
	b[0] = zero, b[1] = zero, b[2] = zero, b[3] = zero, b[4] = zero, b[5] = zero, b[6] = zero, b[7] = zero;
}

// Returns whether a number was out of range.
CVF_INLINE int decode_block(cvf_huffman *h, reader *r, const cvf_huffman_place *p, int kept, int x,
                                      const int means, int16_t *block) {
	int c = p->component, value;
	refill(h, r);
	uint32_t e = h->first[c]->look[r->bits >> (64 - CVF_LOOK)];
	if (LIKELY(e & 255)) { // there are enough bits left to look up AC coefficients
		drop(r, (int)(e & 255));
		value = (int16_t)(e >> 16);
	} else {
		longer(h, h->dc_table[c], r, &value);
		refill(h, r);
	}
	int dc = h->dc[c] += value;
	if (UNLIKELY(dc > INT16_MAX || dc < -INT16_MAX)) give_up(h);
	if (means) p->means[p->means_apart * x] = (int16_t)dc;
	if (!kept || p->limit <= 0) {
		if (!(e & CVF_ENDS)) skip_ac(h, h->ac_table[c], r, 0);
		if (!kept || p->limit < 0) return 0;
		e |= CVF_ENDS;
	}
	unsigned last = 0;
	if (e & CVF_ENDS) {
		block[0] = (int16_t)dc;
	} else {
		clear(block);
		block[0] = (int16_t)dc; // early: a row cannot be loaded right behind one of its numbers was stored
		last = decode_ac(h, h->ac_table[c], r, block, (unsigned)p->limit);
	}
	return p->idct(p->dct, p->rows, block, (int)last, p->dst + p->apart * x, p->stride);
}

// Makes what skip_ac needs, as soon as there are blocks of which not all is kept.
static void prepare(cvf_huffman *h, const cvf_huffman_place *places, int kept) {
	for (int i = 0; i < h->blocks; i++) {
		cvf_huffman_table *t = h->ac_table[places[i].component];
		if (!t->skips && (!kept || places[i].limit < 63)) cvf_make_skips(t);
	}
}

// Returns a bit for each block of an MCU whose mean is wanted.
static int means_of(const cvf_huffman *h, const cvf_huffman_place *places) {
	int means = 0;
	for (int i = 0; i < h->blocks; i++) means |= (places[i].means != NULL) << i;
	return means;
}

// Reads MCUs of a number of blocks. Where that is a constant, each of the blocks has code of its
// own, and the processor foretells the ways of each kind better.
CVF_INLINE int read_mcus(cvf_huffman *h, reader *reading, const cvf_huffman_place *places, int n, int kept,
                                   const int means, const int blocks) {
	_Alignas(64) int16_t block[64];
	reader r = *reading;
	int wrong = 0;
	for (int x = 0; x < n; x++) {
		if (h->interval) {
			if (h->left == 0) r = restart(h, r);
			h->left--;
		}
#pragma GCC unroll 6
		for (int i = 0; i < blocks; i++) wrong |= decode_block(h, &r, &places[i], kept, x, means >> i & 1, block);
	}
	*reading = r;
	return wrong;
}

CLONES void cvf_huffman_read(cvf_huffman *h, const cvf_huffman_place *places, int n, int kept) {
	if (n == 0) return;
	prepare(h, places, kept);
	reader r = {h->bits, h->count, h->at, h->met ? h->at : h->end};
	int wrong;
	int means = means_of(h, places);
	if (kept && means == 0 && h->blocks == 6) // 4:2:0
		wrong = read_mcus(h, &r, places, n, 1, 0, 6);
	else if (kept && means == 1 && h->blocks == 6) // of which the sparse means are kept
		wrong = read_mcus(h, &r, places, n, 1, 1, 6);
	else
		wrong = read_mcus(h, &r, places, n, kept, means, h->blocks);
	if (UNLIKELY(wrong || r.count < h->made_up)) give_up(h);
	h->bits = r.bits;
	h->count = r.count;
	h->at = r.at;
}

static int has_quantization(const struct jpeg_decompress_struct *info, const jpeg_component_info *c) {
	return c->quant_tbl_no >= 0 && c->quant_tbl_no < NUM_QUANT_TBLS && info->quant_tbl_ptrs[c->quant_tbl_no];
}

int cvf_huffman_suits(const struct jpeg_decompress_struct *info) {
	if (info->progressive_mode || info->arith_code || info->data_precision != 8 || info->num_components > MAX_COMPS_IN_SCAN ||
	    info->comps_in_scan != info->num_components || info->Ss != 0 || info->Se != 63 || info->Ah != 0 || info->Al != 0)
		return 0;
	int blocks = 0;
	for (int i = 0; i < info->num_components; i++) {
		const jpeg_component_info *c = &info->comp_info[i];
		if (info->cur_comp_info[i] != c || !cvf_has_tables(info, c) || !has_quantization(info, c)) return 0;
		blocks += c->h_samp_factor * c->v_samp_factor;
	}
	return info->num_components == 1 || blocks <= D_MAX_BLOCKS_IN_MCU;
}

void cvf_huffman_start(cvf_huffman *h, cvf_session *s, int blocks, cvf_huffman_tables *tables) {
	const struct jpeg_decompress_struct *info = &s->info;
	h->session = s;
	for (int i = 0; i < info->num_components; i++) {
		h->dc_table[i] = cvf_table_of(tables, info, 0, info->comp_info[i].dc_tbl_no);
		h->ac_table[i] = cvf_table_of(tables, info, 1, info->comp_info[i].ac_tbl_no);
		if (!h->dc_table[i] || !h->ac_table[i]) give_up(h);
	}
	for (int i = 0; i < info->num_components; i++) h->first[i] = cvf_first_of(tables, i, h->dc_table[i], h->ac_table[i]);
	h->at = info->src->next_input_byte;
	h->end = h->at + info->src->bytes_in_buffer;
	h->bits = 0;
	h->count = h->made_up = h->marker = h->met = 0;
	memset(h->dc, 0, sizeof h->dc);
	h->interval = h->left = info->restart_interval;
	h->blocks = blocks;
}

void cvf_huffman_end(cvf_huffman *h) {
	reader r = {h->bits, h->count, h->at, h->end};
	if (bytes_left(h, &r) || next_marker(h, &r) != JPEG_EOI) give_up(h);
}
