#ifndef CVF_TABLES_H
#define CVF_TABLES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

#define CVF_LOOK 11 // bits that are looked up at once

// The answer to the next bits: one coefficient or two, with their values. Where a code
// fits into the bits but its value does not, only first and value are set, to the
// code's length and its symbol. Where the code does not fit either, all is 0. From the
// lowest bits on:
//
//	 8  length of the codes and values; in the lowest bits to be shifted by as it is
//	 8  first, the length of the first code and value alone
//	 8  step from the coefficient before to this one
//	 8  step from this coefficient to the second
//	16  value
//	16  value of the second; the same value again where there is only one
typedef uint64_t cvf_huffman_entry;

// The answer to the next bits where the coefficients themselves are not needed: how many
// bits the codes and values that fit take, and the steps over all their coefficients. From
// the lowest bits on:
//
//	 8  length of the codes and values; 0 where not even one fits
//	 8  sum of the steps, with that of an end of block; 63 where not even one fits
typedef uint16_t cvf_huffman_skip;

typedef struct {
	cvf_huffman_entry look[1 << CVF_LOOK];
	cvf_huffman_skip skip[1 << CVF_LOOK]; // made when it is needed
	int32_t last[17];   // the last code of each length, -1 where there is none
	int32_t offset[17]; // from a code to its place among the symbols
	int ac, made, skips; // whether it is for AC, and whether look and skip are made
	uint8_t lengths[17], symbols[256]; // of the JPEG's table: how many codes there are of each length
} cvf_huffman_table;

// The answer to the bits at the beginning of a block: its DC coefficient, and whether the
// block ends behind it, as most do of a smooth picture. From the lowest bits on:
//
//	 8  length of the codes and the value; 0 where they do not fit
//	 8  1 where the end of the block is among them
//	16  value
typedef struct {
	const cvf_huffman_table *dc, *ac; // of which it is made; NULL: it is not made
	uint32_t look[1 << CVF_LOOK];
} cvf_huffman_first;

// All tables of a picture. Cameras send the same ones with each, so they are kept from one to the
// next.
typedef struct {
	cvf_huffman_table tables[2][NUM_HUFF_TBLS]; // for DC and for AC
	cvf_huffman_first firsts[MAX_COMPS_IN_SCAN]; // by component, which may share one
} cvf_huffman_tables;

// cvf_has_tables tells whether the header has the component's Huffman tables, or leaves out those
// of the standard, as frames of MJPEG do.
int cvf_has_tables(const struct jpeg_decompress_struct *info, const jpeg_component_info *c);

// cvf_table_of returns table i for DC, or for AC, of a header that has it. It is made unless the
// picture before had the same. NULL means that it is not a sound one, as libjpeg checks when a
// scan begins: no code is too long or all ones, and none for DC has more than 15 bits behind it.
cvf_huffman_table *cvf_table_of(cvf_huffman_tables *all, const struct jpeg_decompress_struct *info, int ac, int i);

// cvf_first_of returns the look-up of the beginning of a component's blocks.
const cvf_huffman_first *cvf_first_of(cvf_huffman_tables *all, int component, const cvf_huffman_table *dc,
                                      const cvf_huffman_table *ac);

// cvf_make_skips makes the table's skip.
void cvf_make_skips(cvf_huffman_table *t);

#endif
