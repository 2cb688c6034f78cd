#include "jpeg.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include "huffman.h"
#include "idct.h"

_Static_assert(CVF_MESSAGE >= JMSG_LENGTH_MAX, "libjpeg's messages are longer");

// As many scans as TurboJPEG accepts with TJFLAG_LIMITSCANS: a small file with
// thousands of them takes minutes.
#define MAX_SCANS 500

typedef struct {
	struct jpeg_error_mgr base; // first: libjpeg knows only this
	jmp_buf back;
	char *message;
} failure;

static void fail(j_common_ptr info) {
	failure *f = (failure *)info->err;
	f->base.format_message(info, f->message);
	longjmp(f->back, 1);
}

// A warning is an error: libjpeg warns where it goes on with pixels that it made up.
static void warn(j_common_ptr info, int level) {
	if (level < 0) fail(info);
}

static void count_scans(j_common_ptr info) {
	if (((j_decompress_ptr)info)->input_scan_number <= MAX_SCANS) return;
	failure *f = (failure *)info->err;
	snprintf(f->message, CVF_MESSAGE, "Progressive JPEG image has more than %d scans", MAX_SCANS);
	longjmp(f->back, 1);
}

// libjpeg-turbo writes rows that begin at a multiple of 16 around the cache, to
// memory: good for whole pictures, and what single rows are to avoid.
#define ASKEW 8

static size_t align(size_t n) { return (n + 63) / 64 * 64; }

static size_t row_bytes(const cvf_rows_job *job) {
	return align(ASKEW + (size_t)job->w * 3 + CVF_LINEAR_BEHIND);
}

size_t cvf_rows_scratch(const cvf_rows_job *job) {
	return align(sizeof(cvf_huffman)) + 2 * row_bytes(job) + cvf_linear_scratch(&job->linear);
}

// What TurboJPEG sets for TJPF_BGR and TJFLAG_ACCURATEDCT.
static void start(j_decompress_ptr info, int eighths) {
	info->out_color_space = JCS_EXT_BGR;
	info->dct_method = JDCT_ISLOW;
	info->do_fancy_upsampling = TRUE;
	info->scale_num = eighths;
	info->scale_denom = 8;
	jpeg_start_decompress(info);
}

// Tells whether to skip rows, which spares the conversion of their colors. Of 4:2:0
// at full size, libjpeg makes each row with its neighbours, and then skips one row
// of several by just that. For other kinds it moves counters, and loses its place
// when all of a row of blocks is skipped by and by.
static int skips(const struct jpeg_decompress_struct *info) {
	const jpeg_component_info *c = info->comp_info;
	return info->num_components == 3 && info->scale_num == 8 && info->output_width > 16 &&
	       c[0].h_samp_factor == 2 && c[0].v_samp_factor == 2 && c[1].h_samp_factor == 1 &&
	       c[1].v_samp_factor == 1 && c[2].h_samp_factor == 1 && c[2].v_samp_factor == 1;
}

// The first row is read for libjpeg to be in the midst of its work, and the last
// one for it to see all of the data.
static void read_rows(j_decompress_ptr info, cvf_rows_job *job, uint8_t *scratch, uint8_t *dst) {
	uint8_t *rows[2] = {scratch + ASKEW, scratch + ASKEW + row_bytes(job)};
	const uint8_t *parts[2]; // by the rows of the part that is resized
	for (int i = 0; i < 2; i++) parts[i] = rows[(job->y + i) & 1] + 3 * (size_t)job->x;
	int skip = skips(info);
	for (int y = 0; y < job->h; y++) {
		int part = y - job->y;
		if (skip && y > 0 && y < job->h - 1 && part < job->linear.first) {
			jpeg_skip_scanlines(info, 1);
			continue;
		}
		JSAMPROW row = rows[y & 1];
		jpeg_read_scanlines(info, &row, 1);
		cvf_linear_rows(&job->linear, parts, part, dst);
	}
}

int cvf_rows(cvf_rows_job *job, const uint8_t *data, size_t size, void *scratch,
               uint8_t *dst, char message[CVF_MESSAGE]) {
	struct jpeg_decompress_struct info;
	failure f = {.message = message};
	struct jpeg_progress_mgr progress = {.progress_monitor = count_scans};
	memset(&info, 0, sizeof info); // for jpeg_destroy, should jpeg_create fail
	info.err = jpeg_std_error(&f.base);
	f.base.error_exit = fail;
	f.base.emit_message = warn;
	if (setjmp(f.back)) {
		jpeg_destroy_decompress(&info);
		return 1;
	}
	jpeg_create_decompress(&info);
	info.progress = &progress;
	jpeg_mem_src(&info, data, size);
	jpeg_read_header(&info, TRUE);
	start(&info, job->eighths);
	if ((int)info.output_width != job->w || (int)info.output_height != job->h || info.output_components != 3) {
		snprintf(message, CVF_MESSAGE, "picture of %ux%u pixels where its header has %dx%d",
		         info.output_width, info.output_height, job->w, job->h);
		jpeg_destroy_decompress(&info);
		return 1;
	}
	uint8_t *rows = (uint8_t *)scratch + align(sizeof(cvf_huffman));
	cvf_huffman_start(&info, scratch);
	cvf_idct_start(&info);
	cvf_linear_start(&job->linear, rows + 2 * row_bytes(job));
	read_rows(&info, job, rows, dst);
	jpeg_finish_decompress(&info);
	jpeg_destroy_decompress(&info);
	return 0;
}
