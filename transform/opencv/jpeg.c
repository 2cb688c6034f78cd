#include "jpeg.h"

#include "huffman.h"
#include "idct.h"

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
static size_t align(size_t n) { return round_up(n, 64); }

// What libjpeg allocates. Of a JPEG with several scans it keeps all coefficients; all else is
// rows: of each component two rows of blocks and more, upsampled rows, and tables.
static size_t library_bytes(j_decompress_ptr info) {
	size_t bytes = 1 << 17;
	int several = jpeg_has_multiple_scans(info);
	for (int c = 0; c < info->num_components; c++) {
		const jpeg_component_info *component = &info->comp_info[c];
		size_t w = round_up(component->width_in_blocks, component->h_samp_factor);
		size_t h = round_up(component->height_in_blocks, component->v_samp_factor);
		if (several) bytes += w * h * sizeof(JBLOCK);
		bytes += w * DCTSIZE * component->v_samp_factor * DCTSIZE * 4;
	}
	return bytes + (size_t)info->image_width * info->num_components * info->max_v_samp_factor * 4;
}

static void read_header(cvf_session *s, void *job) {
	j_decompress_ptr info = &s->info;
	cvf_jpeg_header *header = job;
	if (jpeg_read_header(info, FALSE) == JPEG_HEADER_TABLES_ONLY)
		cvf_session_fail(s, "Premature end of JPEG file: it has tables and no picture");
	switch (info->jpeg_color_space) {
	case JCS_GRAYSCALE:
	case JCS_RGB:
	case JCS_YCbCr:
		header->channels = 3;
		break;
	case JCS_CMYK:
	case JCS_YCCK:
		header->channels = 4;
		break;
	default:
		cvf_session_fail(s, "Unknown color space of %d components", info->num_components);
	}
	header->library = library_bytes(info);
	header->w = (int)info->image_width;
	header->h = (int)info->image_height;
}

int cvf_jpeg_read_header(const uint8_t *data, size_t size, cvf_jpeg_header *header, char message[CVF_MESSAGE]) {
	cvf_session s;
	return cvf_session_run(&s, data, size, message, read_header, header);
}

// One attempt at a job.
typedef struct {
	cvf_jpeg_job *job;
	void *scratch;
	int own; // the Huffman codes are decoded by huffman.c
} attempt;

// libjpeg-turbo writes rows that begin at a multiple of 16 around the cache, to
// memory. That is good for whole pictures, but single rows are to stay in the cache.
#define ASKEW 8

static size_t row_bytes(const cvf_jpeg_job *job) {
	return align(ASKEW + (size_t)job->w * 3 + CVF_LINEAR_BEHIND);
}

size_t cvf_jpeg_scratch(const cvf_jpeg_job *job) {
	size_t n = align(sizeof(cvf_huffman));
	if (job->resize) n += 2 * row_bytes(job) + cvf_linear_scratch(&job->linear);
	return n;
}

// Sets what TurboJPEG sets for TJPF_BGR or TJPF_CMYK, and TJFLAG_ACCURATEDCT. Of a
// JPEG with several scans, libjpeg reads all of them here.
static void start(j_decompress_ptr info, const cvf_jpeg_job *job) {
	info->out_color_space = job->channels == 4 ? JCS_CMYK : JCS_EXT_BGR;
	info->dct_method = JDCT_ISLOW;
	info->do_fancy_upsampling = TRUE;
	info->scale_num = job->eighths;
	info->scale_denom = 8;
	jpeg_start_decompress(info);
}

// Fails where a component has no scan, or a progressive one lacks coefficients or
// their last bits. libjpeg takes an end marker there for the end of the picture, and
// shows it gray or blurred.
static void check_scans(cvf_session *s) {
	const struct jpeg_decompress_struct *info = &s->info;
	for (int c = 0; c < info->num_components; c++) {
		int missing = info->comp_info[c].quant_table == NULL; // it is saved at the first scan
		// The lowest bit that was sent of each coefficient; -1 where none was.
		for (int k = 0; info->coef_bits && k < DCTSIZE2; k++) missing |= info->coef_bits[c][k] != 0;
		if (missing)
			cvf_session_fail(s, "Premature end of JPEG file: scans of component %d are missing",
			                 info->comp_info[c].component_id);
	}
}

// Tells whether rows that are not needed should be skipped, which saves converting
// their colors. With 4:2:0 at full size, libjpeg computes a skipped row like any other
// and only leaves out the conversion. With other kinds it just moves counters, and
// loses its place when the rows of a whole row of blocks are skipped one by one.
static int skips(const struct jpeg_decompress_struct *info) {
	const jpeg_component_info *c = info->comp_info;
	return info->num_components == 3 && info->scale_num == 8 && info->output_width > 16 &&
	       c[0].h_samp_factor == 2 && c[0].v_samp_factor == 2 && c[1].h_samp_factor == 1 &&
	       c[1].v_samp_factor == 1 && c[2].h_samp_factor == 1 && c[2].v_samp_factor == 1;
}

// The first and the last row are never skipped: libjpeg has to be at work before it
// can skip, and has to have read all of the data at the end.
static void read_resized(j_decompress_ptr info, cvf_jpeg_job *job, uint8_t *scratch) {
	uint8_t *rows[2] = {scratch + ASKEW, scratch + row_bytes(job) + ASKEW};
	const uint8_t *parts[2]; // of the rows; even and odd as counted from job->y
	for (int i = 0; i < 2; i++) parts[i] = rows[(job->y + i) & 1] + 3 * (size_t)job->x;
	cvf_linear_start(&job->linear, scratch + 2 * row_bytes(job));
	int skip = skips(info);
	for (int y = 0; y < job->h; y++) {
		int part = y - job->y;
		if (skip && y > 0 && y < job->h - 1 && part < job->linear.first) {
			jpeg_skip_scanlines(info, 1);
			continue;
		}
		JSAMPROW row = rows[y & 1];
		jpeg_read_scanlines(info, &row, 1);
		cvf_linear_rows(&job->linear, parts, part, job->dst);
	}
}

static void read_whole(j_decompress_ptr info, const cvf_jpeg_job *job) {
	JSAMPROW row = job->dst;
	for (int y = 0; y < job->h; y++, row += (size_t)job->w * job->channels) jpeg_read_scanlines(info, &row, 1);
}

static void decode(cvf_session *s, void *p) {
	attempt *a = p;
	cvf_jpeg_job *job = a->job;
	j_decompress_ptr info = &s->info;
	cvf_session_limit(s, job->seconds);
	jpeg_read_header(info, TRUE);
	a->own = job->internals.decode_mcu && cvf_huffman_suits(info);
	if (!a->own && !job->lax) cvf_session_check_codes(s);
	start(info, job);
	if ((int)info->output_width != job->w || (int)info->output_height != job->h ||
	    info->output_components != job->channels)
		cvf_session_fail(s, "picture of %ux%u pixels where its header has %dx%d", info->output_width,
		                 info->output_height, job->w, job->h);
	check_scans(s);
	if (a->own) cvf_huffman_start(info, a->scratch, &job->internals);
	cvf_idct_start(info, &job->internals);
	if (job->resize)
		read_resized(info, job, (uint8_t *)a->scratch + align(sizeof(cvf_huffman)));
	else
		read_whole(info, job);
	if (a->own) cvf_huffman_end(info);
	jpeg_finish_decompress(info);
}

int cvf_jpeg_decode(cvf_jpeg_job *job, const uint8_t *data, size_t size, void *scratch,
                    char message[CVF_MESSAGE]) {
	cvf_jpeg_job mine = *job;
	attempt a = {.job = &mine, .scratch = scratch};
	cvf_session s;
	int failed = cvf_session_run(&s, data, size, message, decode, &a);
	if (failed && a.own) {
		mine.internals = (cvf_internals){0};
		failed = cvf_session_run(&s, data, size, message, decode, &a);
	}
	job->used = a.own;
	return failed;
}
