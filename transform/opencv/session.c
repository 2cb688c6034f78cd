#define _POSIX_C_SOURCE 200809L // clock_gettime
#include "session.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <jerror.h>

_Static_assert(CVF_MESSAGE >= JMSG_LENGTH_MAX, "libjpeg's messages are longer");

// Encoders make up to a dozen scans of a picture. Each takes time in proportion to the
// picture's size, however few bytes it has.
#define MAX_SCANS 50

// The clock is read once in so many rows, because it is a system call.
#define ROWS_PER_LOOK 64

// libjpeg's fastest loop needs this many bytes for each block of an MCU.
#define FAST_BYTES 512

void cvf_session_fail(cvf_session *s, const char *format, ...) {
	va_list values;
	va_start(values, format);
	vsnprintf(s->message, CVF_MESSAGE, format, values);
	va_end(values);
	longjmp(s->back, 1);
}

static void fail(j_common_ptr info) {
	cvf_session *s = (cvf_session *)info;
	info->err->format_message(info, s->message);
	longjmp(s->back, 1);
}

// Tells whether a warning says nothing about the pixels. The parameters of a sequential
// scan have only one sense, and cameras send others; a later JFIF is one of the fields
// that libjpeg does not use; and with a color transform that it does not know, libjpeg
// takes the one that there is for so many components.
static int harmless(const struct jpeg_error_mgr *errors) {
	return errors->msg_code == JWRN_NOT_SEQUENTIAL || errors->msg_code == JWRN_JFIF_MAJOR ||
	       errors->msg_code == JWRN_ADOBE_XFORM;
}

// The level is negative for a warning.
static void warn(j_common_ptr info, int level) {
	if (level < 0 && !harmless(info->err)) fail(info);
}

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void cvf_session_limit(cvf_session *s, double seconds) { s->deadline = seconds > 0 ? now() + seconds : 0; }

void cvf_session_check_cost(cvf_session *s) {
	if (s->info.input_scan_number > MAX_SCANS)
		cvf_session_fail(s, "Too costly: more than %d scans", MAX_SCANS);
	if (s->deadline > 0 && ++s->calls % ROWS_PER_LOOK == 0 && now() > s->deadline)
		cvf_session_fail(s, "Too costly: it takes too long to decode");
}

// libjpeg calls it with each row of blocks of each scan of several, and with each row of
// pixels.
static void check_cost(j_common_ptr info) { cvf_session_check_cost((cvf_session *)info); }

static void do_nothing(j_decompress_ptr info) { (void)info; }

static boolean next_piece(j_decompress_ptr info) {
	cvf_session *s = (cvf_session *)info;
	size_t n = s->end - s->next;
	if (n == 0) ERREXIT(info, JWRN_JPEG_EOF);
	if (n > s->piece) n = s->piece;
	s->source.next_input_byte = s->next;
	s->source.bytes_in_buffer = n;
	s->next += n;
	return TRUE;
}

static void skip(j_decompress_ptr info, long n) {
	struct jpeg_source_mgr *source = info->src;
	if (n <= 0) return;
	while ((size_t)n > source->bytes_in_buffer) {
		n -= (long)source->bytes_in_buffer;
		next_piece(info);
	}
	source->next_input_byte += n;
	source->bytes_in_buffer -= n;
}

int cvf_session_run(cvf_session *s, const uint8_t *data, size_t size, char message[CVF_MESSAGE],
                    void (*work)(cvf_session *s, void *job), void *job) {
	memset(s, 0, sizeof *s); // for jpeg_destroy, should jpeg_create fail
	s->next = data;
	s->end = data + size;
	s->piece = size;
	s->message = message;
	s->info.err = jpeg_std_error(&s->errors);
	s->errors.error_exit = fail;
	s->errors.emit_message = warn;
	s->progress.progress_monitor = check_cost;
	s->source = (struct jpeg_source_mgr){
	    .init_source = do_nothing,
	    .fill_input_buffer = next_piece,
	    .skip_input_data = skip,
	    .resync_to_restart = jpeg_resync_to_restart,
	    .term_source = do_nothing,
	};
	if (setjmp(s->back)) {
		jpeg_destroy_decompress(&s->info);
		return 1;
	}
	jpeg_create_decompress(&s->info);
	s->info.src = &s->source;
	s->info.progress = &s->progress;
	work(s, job);
	jpeg_destroy_decompress(&s->info);
	return 0;
}

void cvf_session_check_codes(cvf_session *s) {
	s->piece = FAST_BYTES - 1;
	if (s->source.bytes_in_buffer <= s->piece) return;
	s->source.bytes_in_buffer = s->piece;
	s->next = s->source.next_input_byte + s->piece;
}
