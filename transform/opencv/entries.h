#ifndef CVF_ENTRIES_H
#define CVF_ENTRIES_H

#include "tables.h"

// What tables.c and huffman.c know of the entries of tables.

#define CVF_INLINE __attribute__((always_inline)) static inline

// A step from any coefficient to behind the last one, farther than a run can lead.
#define CVF_END_OF_BLOCK 80

// In an entry of cvf_huffman_first: the block ends behind its DC coefficient.
#define CVF_ENDS 256

// The value of a coefficient whose size in bits, and whose bits, are given (table F.1
// of T.81).
CVF_INLINE int extend(int bits, int size) {
	return bits < 1 << (size - 1) ? bits - (1 << size) + 1 : bits;
}

// The step to the coefficient of a symbol: for that of 16 zeros, to the last of them.
CVF_INLINE int step(const cvf_huffman_table *t, int symbol) {
	if (!t->ac) return 0;
	int run = symbol >> 4;
	return symbol & 15 || run == 15 ? run + 1 : CVF_END_OF_BLOCK;
}

CVF_INLINE unsigned length_of(cvf_huffman_entry e) { return e & 255; }
CVF_INLINE unsigned first_of(cvf_huffman_entry e) { return e >> 8 & 255; }
CVF_INLINE unsigned step_of(cvf_huffman_entry e) { return e >> 16 & 255; }
CVF_INLINE unsigned second_step_of(cvf_huffman_entry e) { return e >> 24 & 255; }
CVF_INLINE int16_t value_of(cvf_huffman_entry e) { return (int16_t)(e >> 32); }
CVF_INLINE int16_t second_value_of(cvf_huffman_entry e) { return (int16_t)(e >> 48); }

#endif
