#ifndef CVF_SESSION_H
#define CVF_SESSION_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

// The room that a message needs, the zero at its end included.
#define CVF_MESSAGE 200

// A session is one use of libjpeg on one JPEG in memory. Every error ends it, and every
// warning but those that say nothing about the pixels: libjpeg warns where it goes on with
// pixels that it made up.
typedef struct {
	struct jpeg_decompress_struct info; // first: libjpeg hands callbacks its address
	struct jpeg_error_mgr errors;
	struct jpeg_source_mgr source;
	struct jpeg_progress_mgr progress;
	const uint8_t *next, *end; // the data that libjpeg has not been given yet
	size_t piece;              // how much of it libjpeg is given at a time
	double deadline;           // of the thread's processor time, in seconds; 0: none
	unsigned calls;            // of the progress monitor
	char *message;
	jmp_buf back;
} cvf_session;

// cvf_session_run runs work on the data, of which libjpeg is given all at once. It
// returns 0; or 1 after an error, which message then tells. libjpeg's memory is freed
// in both cases.
int cvf_session_run(cvf_session *s, const uint8_t *data, size_t size, char message[CVF_MESSAGE],
                    void (*work)(cvf_session *s, void *job), void *job);

// cvf_session_fail ends the session with a message.
__attribute__((noreturn, format(printf, 2, 3))) void cvf_session_fail(cvf_session *s, const char *format, ...);

// cvf_session_limit ends the session when it has taken that many more seconds of the
// processor's time; 0 is no limit.
void cvf_session_limit(cvf_session *s, double seconds);

// cvf_session_check_cost ends the session where it has taken too long, or the picture has too
// many scans. It is called once in a while; libjpeg does so by itself.
void cvf_session_check_cost(cvf_session *s);

// cvf_session_check_codes has libjpeg report Huffman codes that do not exist: it is
// given the rest of the data in pieces that are too small for its fastest loop, which
// takes such a code for a zero. A decode takes 5% longer.
void cvf_session_check_codes(cvf_session *s);

#endif
