#include "luma.h"

#include <string.h>

#include "huffman.h"
#include "means.h"

// One attempt at a job.
typedef struct {
	cvf_luma_job *job;
	cvf_huffman *huffman;
	int own; // the data is read by huffman.c
} attempt;

// A row of MCUs has up to four rows of blocks, and up to three blocks beyond the edge.
enum { ROWS = 4, BEYOND = 3 };

static size_t means(int w) { return (size_t)ROWS * (w + BEYOND); }

size_t cvf_luma_scratch(int w) { return sizeof(cvf_huffman) + means(w) * sizeof(int16_t); }

// Reads the DC coefficients alone. They are 8 times the means.
static void read_own(cvf_session *s, const cvf_luma_job *job, cvf_huffman *huffman) {
	const struct jpeg_decompress_struct *info = &s->info;
	const jpeg_component_info *first = info->comp_info;
	int alone = info->num_components == 1, h = alone ? 1 : first->h_samp_factor, v = alone ? 1 : first->v_samp_factor;
	int mcus = (job->w + h - 1) / h, blocks = 0, factor = info->quant_tbl_ptrs[first->quant_tbl_no]->quantval[0];
	int16_t *means_of = (int16_t *)(huffman + 1);
	cvf_huffman_place places[D_MAX_BLOCKS_IN_MCU];
	for (int c = 0; c < info->num_components; c++) {
		int n = alone ? 1 : info->comp_info[c].h_samp_factor * info->comp_info[c].v_samp_factor;
		for (int i = 0; i < n; i++) {
			int at = i / h * mcus * h + i % h;
			places[blocks++] = (cvf_huffman_place){
			    .component = c, .limit = -1, .means = c ? NULL : means_of + at, .means_apart = h};
		}
	}
	cvf_huffman_start(huffman, s, blocks, job->tables);
	for (int y = 0; y < job->h; y += v) {
		cvf_session_check_cost(s);
		cvf_huffman_read(huffman, places, mcus, 1);
		for (int i = 0; i < v && y + i < job->h; i++)
			if (cvf_means_of_dc(means_of + i * mcus * h, job->w, 1, factor, job->dst + (y + i) * job->w))
				cvf_session_fail(s, "a coefficient is too large");
	}
	cvf_huffman_end(huffman);
}

// Fails where the picture has no brightness of its own that has the most samples.
static void check_kind(cvf_session *s) {
	const struct jpeg_decompress_struct *info = &s->info;
	if (info->jpeg_color_space != JCS_YCbCr && info->jpeg_color_space != JCS_GRAYSCALE)
		cvf_session_fail(s, "its colors are not YCbCr or gray");
	const jpeg_component_info *first = info->comp_info;
	for (int c = 1; c < info->num_components; c++)
		if (first->h_samp_factor < first[c].h_samp_factor || first->v_samp_factor < first[c].v_samp_factor)
			cvf_session_fail(s, "its brightness has fewer samples than its colors");
}

// Tells whether our own decoder can read the means.
static int suits(const struct jpeg_decompress_struct *info, const cvf_luma_job *job) {
	return cvf_huffman_suits(info) &&
	       (info->image_width + DCTSIZE - 1) / DCTSIZE == (unsigned)job->w &&
	       (info->image_height + DCTSIZE - 1) / DCTSIZE == (unsigned)job->h;
}

static void read_luma(cvf_session *s, void *p) {
	attempt *a = p;
	cvf_luma_job *job = a->job;
	j_decompress_ptr info = &s->info;
	cvf_session_limit(s, job->seconds);
	jpeg_read_header(info, TRUE);
	check_kind(s);
	a->own = job->own && suits(info, job);
	if (a->own) {
		read_own(s, job, a->huffman);
		return;
	}
	cvf_session_check_codes(s);
	info->out_color_space = JCS_GRAYSCALE;
	info->dct_method = JDCT_ISLOW;
	info->scale_num = 1;
	info->scale_denom = 8;
	jpeg_start_decompress(info);
	if ((int)info->output_width != job->w || (int)info->output_height != job->h || info->output_components != 1)
		cvf_session_fail(s, "picture of %ux%u blocks where its header has %dx%d", info->output_width,
		                 info->output_height, job->w, job->h);
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
		mine.own = 0;
		failed = cvf_session_run(&s, data, size, message, read_luma, &a);
	}
	job->used = a.own;
	return failed;
}
