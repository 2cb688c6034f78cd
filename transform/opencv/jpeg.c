#include "jpeg.h"

#include <limits.h>
#include <string.h>

#include "decode.h"
#include "means.h"

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

// What our own decoder needs, at whatever scale.
static size_t own_bytes(j_decompress_ptr info) {
	size_t most = 0;
	if (!cvf_decode_suits(info)) return 0;
	for (int n = 1; n <= DCTSIZE; n++) {
		size_t bytes = cvf_decode_scratch(info, n);
		if (bytes > most) most = bytes;
	}
	return most;
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
	int alone = info->num_components == 1;
	header->unit_w = DCTSIZE * (alone ? 1 : info->max_h_samp_factor);
	header->unit_h = DCTSIZE * (alone ? 1 : info->max_v_samp_factor);
	header->library = library_bytes(info);
	header->scratch = own_bytes(info);
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
	uint8_t *scratch;
	cvf_sink **sinks;
	int count; // of the sinks
	int own;   // it is made by our own decoder
} attempt;

// libjpeg-turbo writes rows that begin at a multiple of 16 around the cache, to
// memory. That is good for whole pictures, but single rows are to stay in the cache.
#define ASKEW 8

static size_t row_bytes(int w) { return align(ASKEW + (size_t)w * 4 + CVF_SINK_BEHIND); }

// A sink that copies the whole picture, with three bytes for each pixel.
typedef struct {
	cvf_sink sink;
	int w, h;
	uint8_t *dst;
} copy;

static void copy_row(cvf_sink *s, const uint8_t *row) {
	copy *c = (copy *)s;
	int x = 0;
	// Copying four bytes is faster than copying three.
	for (; x < c->w - 1; x++) memcpy(c->dst + 3 * x, row + 4 * x, 4);
	memcpy(c->dst + 3 * x, row + 4 * x, 3);
	c->dst += 3 * (ptrdiff_t)c->w;
	if (++s->next == c->h) s->next = INT_MAX;
}

size_t cvf_jpeg_scratch(const cvf_jpeg_job *job, const cvf_resize *resizes) {
	size_t n = align(job->scratch) + row_bytes(job->w) + align((job->count + 1) * sizeof(cvf_sink *)) + align(sizeof(copy)) + align(sizeof(cvf_means));
	for (int i = 0; i < job->count; i++) n += align(cvf_sink_scratch(&resizes[i]));
	return n;
}

// Makes the sinks in the scratch memory. What is behind them stays for the decoder.
static void make_sinks(attempt *a) {
	const cvf_jpeg_job *job = a->job;
	a->sinks = (cvf_sink **)a->scratch;
	a->scratch += align((job->count + 1) * sizeof *a->sinks);
	a->count = job->count;
	for (int i = 0; i < job->count; i++) {
		a->sinks[i] = cvf_sink_start(&job->resizes[i], a->scratch);
		a->scratch += align(cvf_sink_scratch(&job->resizes[i]));
	}
	if (job->count > 0) return;
	copy *c = (copy *)a->scratch;
	*c = (copy){.sink = {.right = job->w, .take = copy_row}, .w = job->w, .h = job->h, .dst = job->dst};
	a->sinks[0] = &c->sink;
	a->scratch += align(sizeof *c);
	a->count = 1;
}

// Adds a sink that makes the means of the pixels.
static void add_means(attempt *a) {
	const cvf_jpeg_job *job = a->job;
	cvf_means *m = (cvf_means *)a->scratch;
	cvf_means_start(m, job->w, job->h, job->eighths, job->means);
	a->sinks[a->count++] = &m->sink;
	a->scratch += align(sizeof *m);
}

// Sets what TurboJPEG sets for TJPF_BGR or TJPF_CMYK, and TJFLAG_ACCURATEDCT. Of a
// JPEG with several scans, libjpeg reads all of them here.
static void start(j_decompress_ptr info, const cvf_jpeg_job *job) {
	info->out_color_space = job->count ? JCS_EXT_BGRX : job->channels == 4 ? JCS_CMYK : JCS_EXT_BGR;
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

// Returns the first row that a sink has still to take.
static int next_row(cvf_sink *const *sinks, int count) {
	int next = INT_MAX;
	for (int i = 0; i < count; i++)
		if (sinks[i]->next < next) next = sinks[i]->next;
	return next;
}

// The first and the last row are never skipped: libjpeg has to be at work before it
// can skip, and has to have read all of the data at the end.
static void read_resized(j_decompress_ptr info, attempt *a) {
	JSAMPROW row = a->scratch + ASKEW;
	int skip = skips(info), h = a->job->h;
	for (int y = 0; y < h; y++) {
		if (skip && y > 0 && y < h - 1 && y < next_row(a->sinks, a->count)) {
			jpeg_skip_scanlines(info, 1);
			continue;
		}
		jpeg_read_scanlines(info, &row, 1);
		if (a->job->mask) cvf_mask_row(a->job->mask, y, 0, a->job->w, 1, row);
		for (int i = 0; i < a->count; i++) {
			cvf_sink *s = a->sinks[i];
			if (s->next == y) s->take(s, row + 4 * (size_t)s->left);
		}
	}
}

static void read_whole(j_decompress_ptr info, const cvf_jpeg_job *job) {
	JSAMPROW row = job->dst;
	for (int y = 0; y < job->h; y++, row += (size_t)job->w * job->channels) jpeg_read_scanlines(info, &row, 1);
}

// Tells whether the picture is as its header was when the job's memory was reserved.
static int has_size(const struct jpeg_decompress_struct *info, const cvf_jpeg_job *job) {
	return (info->image_width * (unsigned)job->eighths + DCTSIZE - 1) / DCTSIZE == (unsigned)job->w &&
	       (info->image_height * (unsigned)job->eighths + DCTSIZE - 1) / DCTSIZE == (unsigned)job->h &&
	       cvf_decode_scratch(info, job->eighths) <= job->scratch;
}

static void decode(cvf_session *s, void *p) {
	attempt *a = p;
	cvf_jpeg_job *job = a->job;
	j_decompress_ptr info = &s->info;
	cvf_session_limit(s, job->seconds);
	jpeg_read_header(info, TRUE);
	job->measured = job->means != NULL;
	a->own = job->own && job->channels == 3 && cvf_decode_suits(info) && has_size(info, job);
	if (a->own) {
		make_sinks(a);
		job->measured = job->means && cvf_decode_has_means(info);
		cvf_decode_rows(s, job->own->decode, job->eighths, a->sinks, a->count, job->mask, job->means, job->tables, a->scratch);
		return;
	}
	if (!job->lax) cvf_session_check_codes(s);
	start(info, job);
	if ((int)info->output_width != job->w || (int)info->output_height != job->h ||
	    info->output_components != (job->count ? 4 : job->channels))
		cvf_session_fail(s, "picture of %ux%u pixels where its header has %dx%d", info->output_width,
		                 info->output_height, job->w, job->h);
	check_scans(s);
	if (job->count) {
		make_sinks(a);
		if (job->means) add_means(a);
		read_resized(info, a);
	} else {
		read_whole(info, job);
		if (job->means) cvf_means_of_pixels(job->dst, job->w, job->h, job->eighths, job->channels, job->means);
	}
	jpeg_finish_decompress(info);
}

int cvf_jpeg_decode(cvf_jpeg_job *job, const uint8_t *data, size_t size, void *scratch,
                    char message[CVF_MESSAGE]) {
	cvf_jpeg_job mine = *job;
	attempt a = {.job = &mine, .scratch = scratch};
	cvf_session s;
	int failed = cvf_session_run(&s, data, size, message, decode, &a);
	if (failed && a.own) {
		mine.own = NULL;
		a.scratch = scratch;
		failed = cvf_session_run(&s, data, size, message, decode, &a);
	}
	job->used = a.own;
	job->measured = mine.measured;
	return failed;
}
