#include "luma.h"

#include "huffman.h"

// One attempt at a job.
typedef struct {
	cvf_luma_job *job;
	cvf_huffman *huffman;
	int own; // the data is read by huffman.c
} attempt;

size_t cvf_luma_scratch(void) { return sizeof(cvf_huffman); }

static void read_luma(cvf_session *s, void *p) {
	attempt *a = p;
	cvf_luma_job *job = a->job;
	j_decompress_ptr info = &s->info;
	cvf_session_limit(s, job->seconds);
	jpeg_read_header(info, TRUE);
	if (info->jpeg_color_space != JCS_YCbCr && info->jpeg_color_space != JCS_GRAYSCALE)
		cvf_session_fail(s, "its colors are not YCbCr or gray");
	const jpeg_component_info *first = info->comp_info;
	for (int c = 1; c < info->num_components; c++)
		if (first->h_samp_factor < first[c].h_samp_factor || first->v_samp_factor < first[c].v_samp_factor)
			cvf_session_fail(s, "its brightness has fewer samples than its colors");
	a->own = job->internals.decode_mcu && cvf_huffman_suits(info);
	if (!a->own) cvf_session_check_codes(s);
	info->out_color_space = JCS_GRAYSCALE;
	info->dct_method = JDCT_ISLOW;
	info->scale_num = 1;
	info->scale_denom = 8;
	jpeg_start_decompress(info);
	if ((int)info->output_width != job->w || (int)info->output_height != job->h || info->output_components != 1)
		cvf_session_fail(s, "picture of %ux%u blocks where its header has %dx%d", info->output_width,
		                 info->output_height, job->w, job->h);
	if (a->own) {
		cvf_huffman_start(info, a->huffman, &job->internals);
		cvf_huffman_luma(info, job->dst, job->w, job->h);
		return;
	}
	JSAMPROW row = job->dst;
	for (int y = 0; y < job->h; y++, row += job->w) jpeg_read_scanlines(info, &row, 1);
	jpeg_finish_decompress(info);
}

int cvf_luma_read(cvf_luma_job *job, const uint8_t *data, size_t size, void *scratch, char message[CVF_MESSAGE]) {
	cvf_luma_job mine = *job;
	attempt a = {.job = &mine, .huffman = scratch};
	cvf_session s;
	int failed = cvf_session_run(&s, data, size, message, read_luma, &a);
	if (failed && a.own) {
		mine.internals = (cvf_internals){0};
		failed = cvf_session_run(&s, data, size, message, read_luma, &a);
	}
	job->used = a.own;
	return failed;
}
