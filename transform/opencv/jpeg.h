#ifndef CVF_JPEG_H
#define CVF_JPEG_H

#include "linear.h"

// A JPEG whose picture is resized while it is decoded, and never is in memory as a
// whole.
typedef struct {
	int eighths;       // the picture is decoded at n/8
	int w, h;          // its size then
	int x, y;          // where the part of it begins that is resized
	cvf_linear linear; // with its first four fields set
} cvf_rows_job;

// The size of a message, which is JMSG_LENGTH_MAX of libjpeg.
#define CVF_MESSAGE 200

// cvf_rows_scratch returns how many bytes cvf_rows needs.
size_t cvf_rows_scratch(const cvf_rows_job *job);

// cvf_rows writes the resized picture, BGR, to dst. It returns 0; or 1 where
// libjpeg reports an error or a warning, with its message. The data is then at
// fault, and dst of no use.
int cvf_rows(cvf_rows_job *job, const uint8_t *data, size_t size, void *scratch,
               uint8_t *dst, char message[CVF_MESSAGE]);

#endif
