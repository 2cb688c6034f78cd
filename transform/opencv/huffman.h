#ifndef CVF_HUFFMAN_H
#define CVF_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>

#include "decode_kernels.h"
#include "session.h"
#include "tables.h"

// A decoder of baseline JPEG's Huffman codes, which take more than half of the time of a
// picture. It takes less than two thirds of libjpeg's time, because it looks up two
// coefficients at once, with their values.
//
// It makes the same coefficients of data that is right to the last bit: every code
// exists, no bit is missing, the restart markers are in order, at most the bits that fill
// a byte are left before a marker, and the picture ends with its only scan. With all other
// data it ends the session, and libjpeg has to decide.

typedef struct {
	cvf_session *session;
	const uint8_t *at, *end; // the data that was not read yet
	uint64_t bits;           // not used yet, from the highest on
	int count;               // how many there are
	int made_up;             // how many of them are zeros made up after the marker
	int met;                 // the marker that was met behind the bits, or 0
	unsigned interval, left; // MCUs between restart markers, or 0, and until the next one
	int marker;              // the number of that marker, 0 to 7
	int blocks;              // in an MCU
	int dc[MAX_COMPS_IN_SCAN];
	cvf_huffman_table *dc_table[MAX_COMPS_IN_SCAN], *ac_table[MAX_COMPS_IN_SCAN];
	const cvf_huffman_first *first[MAX_COMPS_IN_SCAN]; // of the two
} cvf_huffman;

// What is to be done with one of the blocks of each MCU. Its samples are made as soon as it is
// read: the processor does so while it waits for the next codes.
typedef struct {
	int component;   // its index in libjpeg's comp_info
	int limit;       // the index of the last coefficient that has to be kept; -1 for none
	ptrdiff_t apart; // from one MCU to the next, in bytes of dst
	int16_t *means;  // for the first coefficients, which are 8 times the means; or NULL
	int means_apart; // from one MCU to the next there
	cvf_idct *idct;
	const cvf_dct *dct;
	const cvf_dct_rows *rows;
	uint8_t *dst; // for the samples of the first MCU's
	ptrdiff_t stride;
} cvf_huffman_place;

// cvf_huffman_suits tells whether a JPEG whose header has been read is of the kind that
// this decoder knows: one scan of baseline Huffman codes, with all tables of its components.
int cvf_huffman_suits(const struct jpeg_decompress_struct *info);

// cvf_huffman_start begins with the data behind the header that the session has read, all of
// which has to be in libjpeg's hands. The tables are those of the picture before, or zeros.
void cvf_huffman_start(cvf_huffman *h, cvf_session *s, int blocks, cvf_huffman_tables *tables);

// cvf_huffman_read reads the next n MCUs. There is a place for each block of an MCU; unless they
// are kept, only the places' components and means matter.
void cvf_huffman_read(cvf_huffman *h, const cvf_huffman_place *places, int n, int kept);

// cvf_huffman_end checks, after the last MCU, that the data ends there.
void cvf_huffman_end(cvf_huffman *h);

#endif
