#ifndef CVF_DECODE_H
#define CVF_DECODE_H

#include "kernels.h"
#include "mask.h"
#include "session.h"
#include "sink.h"
#include "tables.h"

// A decoder of our own for baseline JPEG. It makes the very pixels of libjpeg-turbo with
// JDCT_ISLOW and fancy upsampling, at n/8 of the size, and only those that are read: rows and
// columns that no sink takes are neither transformed nor upsampled nor converted. libjpeg
// reads the header.
//
// It decodes what is right to the last bit (see huffman.h), and of which no number is so large
// that versions of libjpeg differ (see decode_kernels.h). With all other data it ends the
// session, and libjpeg has to decide.

// cvf_decode_suits tells whether a JPEG whose header has been read is of the kind that it
// knows: one scan of Huffman codes; gray, YCbCr or RGB; and each component with as many
// samples as there are pixels, or half as many, along each side.
int cvf_decode_suits(const struct jpeg_decompress_struct *info);

// cvf_decode_has_means tells whether the brightness of such a picture has as many samples as there
// are pixels. Of an RGB picture it is that of green.
int cvf_decode_has_means(const struct jpeg_decompress_struct *info);

// cvf_decode_scratch returns how many bytes of scratch memory it needs at n/8.
size_t cvf_decode_scratch(const struct jpeg_decompress_struct *info, int eighths);

// cvf_decode_rows decodes the picture behind the header that the session has read, and gives
// the sinks their rows, covered by the mask unless that is NULL. means, unless NULL, gets the sparse
// means (means.h), whatever the sinks read and the mask covers, of a picture that has brightness. The
// tables are those of the picture before, or zeros. The scratch memory is aligned to 64 bytes.
void cvf_decode_rows(cvf_session *s, const cvf_decode_kernels *kernels, int eighths, cvf_sink *const *sinks,
                     int count, const cvf_mask *mask, uint8_t *means, cvf_huffman_tables *tables, void *scratch);

#endif
