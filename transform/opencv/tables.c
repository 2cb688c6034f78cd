#include "tables.h"

#include <string.h>

#include "entries.h"

// Tables K.3 to K.6 of ITU-T T.81: of DC and AC, for luma and for chroma.
static const JHUFF_TBL standard[2][2] = {
	{
		{.bits = {0, 0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0}, .huffval = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		{.bits = {0, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0}, .huffval = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
	},
	{
		{
			.bits = {0, 0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125},
			.huffval = {
				0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07,
				0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0,
				0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28,
				0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49,
				0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69,
				0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89,
				0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
				0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5,
				0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
				0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
				0xf9, 0xfa,
			},
		},
		{
			.bits = {0, 0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119},
			.huffval = {
				0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71,
				0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0,
				0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26,
				0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
				0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
				0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87,
				0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5,
				0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
				0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
				0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
				0xf9, 0xfa,
			},
		},
	},
};

// Returns the JPEG's table, or that of the standard which it leaves out. NULL: there is none.
static const JHUFF_TBL *table_in(const struct jpeg_decompress_struct *info, int ac, int i) {
	if (i < 0 || i >= NUM_HUFF_TBLS) return NULL;
	const JHUFF_TBL *t = ac ? info->ac_huff_tbl_ptrs[i] : info->dc_huff_tbl_ptrs[i];
	return t || i > 1 ? t : &standard[ac][i];
}

int cvf_has_tables(const struct jpeg_decompress_struct *info, const jpeg_component_info *c) {
	return table_in(info, 0, c->dc_tbl_no) && table_in(info, 1, c->ac_tbl_no);
}

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
		if (length_of(e) == 0 || step_of(e) == CVF_END_OF_BLOCK) continue;
		int first = first_of(e);
		cvf_huffman_entry next = t->look[i << first & ((1 << CVF_LOOK) - 1)];
		if (length_of(next) == 0 || first + first_of(next) > CVF_LOOK) continue;
		t->look[i] = entry(first + first_of(next), first, step_of(e), step_of(next), value_of(e), value_of(next));
	}
}

// Adds up the codes that fit into each entry's bits.
void cvf_make_skips(cvf_huffman_table *t) {
	t->skips = 1;
	for (int i = 0; i < 1 << CVF_LOOK; i++) {
		unsigned length = 0, steps = 0, end = 0;
		while (!end) {
			cvf_huffman_entry e = t->look[i << length & ((1 << CVF_LOOK) - 1)];
			if (length_of(e) == 0 || length + first_of(e) > CVF_LOOK) break;
			if (step_of(e) < CVF_END_OF_BLOCK && steps + step_of(e) >= 63) break;
			length += first_of(e);
			if (step_of(e) == CVF_END_OF_BLOCK)
				end = 1;
			else
				steps += step_of(e);
		}
		if (length == 0) steps = 63; // ends the reader's loop
		t->skip[i] = (cvf_huffman_skip)(length | (end ? steps + CVF_END_OF_BLOCK : steps) << 8);
	}
}

// Makes the table. Returns 0 where it is not sound.
static int make_table(cvf_huffman_table *t, int ac) {
	t->ac = ac;
	t->skips = 0;
	memset(t->look, 0, sizeof t->look);
	int longest = 16;
	while (longest > 0 && !t->lengths[longest]) longest--;
	for (int length = 1, code = 0, i = 0; length <= 16; length++, code <<= 1) {
		int n = t->lengths[length];
		if (i + n > 256 || (length <= longest && code + n >= 1 << length)) return 0;
		t->offset[length] = i - code;
		for (; n > 0; n--, code++, i++) {
			if (!ac && t->symbols[i] > 15) return 0;
			if (length <= CVF_LOOK) enter(t, code, length, t->symbols[i]);
		}
		t->last[length] = t->lengths[length] ? code - 1 : -1;
	}
	if (ac) pair(t);
	return 1;
}

// Enters a number for all bits that begin with the given ones.
static void enter_first(uint32_t *first, unsigned bits, int length, uint32_t e) {
	int rest = CVF_LOOK - length;
	for (unsigned i = 0; rest >= 0 && i < 1u << rest; i++) first[bits << rest | i] = e;
}

// Makes the look-up of a block's beginning.
static void make_first(uint32_t *first, const cvf_huffman_table *dc, const cvf_huffman_table *ac) {
	unsigned end = 0, end_length = CVF_LOOK + 1; // the code of an end of block
	for (unsigned length = 1, code = 0, i = 0; length <= 16; length++, code <<= 1)
		for (int n = ac->lengths[length]; n > 0; n--, code++, i++)
			if (ac->symbols[i] == 0) end = code, end_length = length;
	memset(first, 0, sizeof *first << CVF_LOOK);
	for (unsigned length = 1, code = 0, i = 0; length <= CVF_LOOK; length++, code <<= 1)
		for (int n = dc->lengths[length]; n > 0; n--, code++, i++) {
			unsigned size = dc->symbols[i], both = length + size;
			for (unsigned k = 0; both <= CVF_LOOK && k < 1u << size; k++) {
				unsigned bits = code << size | k, value = (uint16_t)(size ? extend((int)k, (int)size) : 0);
				enter_first(first, bits, (int)both, both | value << 16);
				if (both + end_length <= CVF_LOOK)
					enter_first(first, bits << end_length | end, (int)(both + end_length), (both + end_length) | CVF_ENDS | value << 16);
			}
		}
}

cvf_huffman_table *cvf_table_of(cvf_huffman_tables *all, const struct jpeg_decompress_struct *info, int ac, int i) {
	cvf_huffman_table *t = &all->tables[ac][i];
	const JHUFF_TBL *from = table_in(info, ac, i);
	if (t->made && !memcmp(t->lengths, from->bits, sizeof t->lengths) && !memcmp(t->symbols, from->huffval, sizeof t->symbols))
		return t;
	for (int k = 0; k < MAX_COMPS_IN_SCAN; k++)
		if (all->firsts[k].dc == t || all->firsts[k].ac == t) all->firsts[k].dc = all->firsts[k].ac = NULL;
	memcpy(t->lengths, from->bits, sizeof t->lengths);
	memcpy(t->symbols, from->huffval, sizeof t->symbols);
	t->made = make_table(t, ac);
	return t->made ? t : NULL;
}

const cvf_huffman_first *cvf_first_of(cvf_huffman_tables *all, int component, const cvf_huffman_table *dc,
                                      const cvf_huffman_table *ac) {
	for (int i = 0; i <= component; i++)
		if (all->firsts[i].dc == dc && all->firsts[i].ac == ac) return &all->firsts[i];
	cvf_huffman_first *first = &all->firsts[component];
	first->dc = dc;
	first->ac = ac;
	make_first(first->look, dc, ac);
	return first;
}
