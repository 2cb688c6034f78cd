#ifndef CVF_ENCODE_H
#define CVF_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "session.h"

// Pixels to encode: RGB, or gray with one channel, without gaps.
typedef struct {
	const uint8_t *pixels;
	int w, h, channels;
	int quality; // 1 to 100
} cvf_encoding;

// cvf_encode_jpeg and cvf_encode_webp encode pixels. They return 0, and the bytes in *out, which
// the caller frees with free and WebPFree; or 1 after an error, with its message.
int cvf_encode_jpeg(const cvf_encoding *e, uint8_t **out, size_t *size, char message[CVF_MESSAGE]);
int cvf_encode_webp(const cvf_encoding *e, uint8_t **out, size_t *size, char message[CVF_MESSAGE]);

#endif
