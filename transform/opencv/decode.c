#include "decode.h"

#include <limits.h>
#include <string.h>

#include "huffman.h"
#include "means.h"

// The samples before and behind a row of a plane: for the neighbours of the first and the last
// one, and for what kernels read and write there.
enum { BEFORE = 64, BEHIND = 64 + CVF_DECODE_BEHIND };

enum { COMPONENTS = 3 };

// A component of the picture.
typedef struct {
	int h, v;                // blocks in an MCU, across and down
	int across, down;        // pixels for each sample: 1 or 2
	int fancy;               // the samples between are interpolated
	int width, height;       // in samples
	int band;                // rows of samples in a row of MCUs
	ptrdiff_t stride;        // of the plane
	uint8_t *plane;          // two bands, one after the other in turns
	uint8_t *wide;           // an upsampled row
	uint8_t *thin;           // the samples of a row that are read
	cvf_dct dct;
	cvf_dct_rows rows[4];    // that are read, of each row of blocks in a row of MCUs
} component;

typedef struct {
	cvf_session *session;
	const cvf_decode_kernels *kernels;
	cvf_sink *const *sinks;
	int sink_count;
	const cvf_mask *mask;    // NULL: nothing is covered
	int width, height;       // of the picture, at its scale
	int mcus, mcu_rows;      // MCUs in a row, and rows of them
	int from, to;            // the MCUs of each row that are read
	int count;               // of the components
	int rgb;                 // their colours
	component components[COMPONENTS];
	cvf_huffman_place places[D_MAX_BLOCKS_IN_MCU];
	uint8_t *pixels;         // a row
	cvf_huffman *huffman;
	int bright;              // the component whose means are wanted
	uint8_t *means;          // NULL for none
	int16_t *dc;             // the first coefficients of its blocks in a row of MCUs
} decoder;

static size_t align(size_t n) { return (n + 63) / 64 * 64; }
static int ceil_div(int n, int by) { return (n + by - 1) / by; }

// The size of a component's blocks at n/8, as in libjpeg's jdmaster.c: those of fewer samples
// are larger, so that they need not be upsampled.
static int block_size(const struct jpeg_decompress_struct *info, const jpeg_component_info *c, int eighths) {
	int size = eighths, h = info->max_h_samp_factor * eighths, v = info->max_v_samp_factor * eighths;
	while (size < DCTSIZE && h % (c->h_samp_factor * size * 2) == 0 && v % (c->v_samp_factor * size * 2) == 0) size *= 2;
	return size;
}

// Sets all but the pointers. Returns 0 where the component has another number of samples than
// this decoder knows.
static int set_component(component *c, const struct jpeg_decompress_struct *info, int i, int eighths) {
	const jpeg_component_info *from = &info->comp_info[i];
	int size = block_size(info, from, eighths), alone = info->num_components == 1;
	int h = info->max_h_samp_factor * eighths, v = info->max_v_samp_factor * eighths;
	if (h % (from->h_samp_factor * size) || v % (from->v_samp_factor * size)) return 0;
	c->across = h / (from->h_samp_factor * size);
	c->down = v / (from->v_samp_factor * size);
	if (c->across > 2 || c->down > 2) return 0;
	c->h = alone ? 1 : from->h_samp_factor;
	c->v = alone ? 1 : from->v_samp_factor;
	c->width = ceil_div((int)info->image_width * from->h_samp_factor * size, info->max_h_samp_factor * DCTSIZE);
	c->height = ceil_div((int)info->image_height * from->v_samp_factor * size, info->max_v_samp_factor * DCTSIZE);
	c->fancy = eighths > 1 && (c->across > 1 ? c->width > 2 : c->down > 1);
	c->dct.size = size;
	c->band = c->v * size;
	return 1;
}

// Sets what the header tells. Returns 0 where the picture is of another kind.
static int set_picture(decoder *d, const struct jpeg_decompress_struct *info, int eighths) {
	int alone = info->num_components == 1;
	d->count = info->num_components;
	d->rgb = info->jpeg_color_space == JCS_RGB;
	d->bright = d->rgb ? 1 : 0;
	if (alone ? info->jpeg_color_space != JCS_GRAYSCALE
	          : d->count != 3 || (info->jpeg_color_space != JCS_YCbCr && !d->rgb))
		return 0;
	d->width = ceil_div((int)info->image_width * eighths, DCTSIZE);
	d->height = ceil_div((int)info->image_height * eighths, DCTSIZE);
	d->mcus = ceil_div((int)info->image_width, DCTSIZE * (alone ? 1 : info->max_h_samp_factor));
	d->mcu_rows = ceil_div((int)info->image_height, DCTSIZE * (alone ? 1 : info->max_v_samp_factor));
	for (int i = 0; i < d->count; i++) {
		component *c = &d->components[i];
		if (!set_component(c, info, i, eighths)) return 0;
		c->stride = (ptrdiff_t)align(BEFORE + (size_t)d->mcus * c->h * c->dct.size + BEHIND);
	}
	return 1;
}

int cvf_decode_suits(const struct jpeg_decompress_struct *info) {
	decoder d;
	return cvf_huffman_suits(info) && set_picture(&d, info, DCTSIZE);
}

int cvf_decode_has_means(const struct jpeg_decompress_struct *info) {
	const jpeg_component_info *bright = &info->comp_info[info->jpeg_color_space == JCS_RGB ? 1 : 0];
	return bright->h_samp_factor == info->max_h_samp_factor && bright->v_samp_factor == info->max_v_samp_factor;
}

// Takes memory from *at, or only counts it where that is NULL.
static void *take(uint8_t **at, size_t *bytes, size_t n) {
	uint8_t *p = *at;
	n = align(n);
	*bytes += n;
	if (p) *at = p + n;
	return p;
}

// Hands out the memory behind the decoder itself. Returns how much it is.
static size_t set_memory(decoder *d, uint8_t *at) {
	size_t bytes = 0, row = BEFORE + (size_t)d->width + 2 * 16 + BEHIND;
	for (int i = 0; i < d->count; i++) {
		component *c = &d->components[i];
		c->plane = take(&at, &bytes, 2 * (size_t)c->band * c->stride);
		if (c->across > 1 || c->down > 1) c->wide = take(&at, &bytes, row);
		c->thin = take(&at, &bytes, row);
	}
	d->pixels = take(&at, &bytes, 4 * row);
	d->huffman = take(&at, &bytes, sizeof *d->huffman);
	const component *b = &d->components[d->bright];
	d->dc = take(&at, &bytes, sizeof *d->dc * d->mcus * b->h * b->v);
	return bytes;
}

size_t cvf_decode_scratch(const struct jpeg_decompress_struct *info, int eighths) {
	decoder d;
	if (!set_picture(&d, info, eighths)) return 0;
	return set_memory(&d, NULL);
}

// The quantization, in the order of our blocks. Numbers above the limit do not fit into 16
// bits, but then no coefficient may be anything but 0.
static void set_quantization(cvf_dct *dct, const JQUANT_TBL *from) {
	for (int v = 0; v < 8; v++)
		for (int u = 0; u < 8; u++) {
			int q = from->quantval[8 * v + u], i = CVF_COEFFICIENT(v, u);
			dct->factors[i] = (int16_t)q;
			dct->limits[i] = (int16_t)(q ? CVF_DCT_COEFFICIENT / q : INT16_MAX);
		}
}

// The index in the order of the data of the last coefficient that matters.
static int last_of_use(int size) {
	static const uint8_t diagonal_begins[15] = {0, 1, 3, 6, 10, 15, 21, 28, 36, 43, 49, 54, 58, 61, 63};
	if (size == 1) return 0;
	int side = 7; // the highest row and column that matter
	while (side > 0 && cvf_dct_weights[size][0][CVF_COEFFICIENT(0, side)] == 0) side--;
	// It is in the middle of its diagonal, as many coefficients before it as behind.
	int sum = 2 * side, length = sum < 8 ? sum + 1 : 15 - sum;
	return diagonal_begins[sum] + length / 2;
}

// Returns the row that some sink takes next.
static int next_row(const decoder *d) {
	int next = INT_MAX;
	for (int i = 0; i < d->sink_count; i++)
		if (d->sinks[i]->next < next) next = d->sinks[i]->next;
	return next;
}

// Tells whether a sink may take one of the rows from first to last.
static int may_take(const decoder *d, int first, int last) {
	if (first >= d->height) return 0;
	for (int i = 0; i < d->sink_count; i++) {
		const cvf_sink *s = d->sinks[i];
		if (last < s->next) continue;
		if (first <= s->next || s->step < 2 || last - s->next >= ceil_div(first - s->next, s->step) * s->step) return 1;
	}
	return 0;
}

// Finds the MCUs of each row that have what the sinks read.
static void set_columns(decoder *d) {
	int left = INT_MAX, right = 0;
	for (int i = 0; i < d->sink_count; i++) {
		if (d->sinks[i]->left < left) left = d->sinks[i]->left;
		if (d->sinks[i]->right > right) right = d->sinks[i]->right;
	}
	d->from = INT_MAX;
	d->to = 0;
	for (int i = 0; i < d->count; i++) {
		const component *c = &d->components[i];
		int neighbour = c->fancy && c->across > 1, w = c->h * c->dct.size; // in an MCU
		int first = left / c->across - neighbour, last = (right - 1) / c->across + neighbour;
		if (last > c->width - 1) last = c->width - 1;
		if (first < 0) first = 0;
		if (first / w < d->from) d->from = first / w;
		if (last / w + 1 > d->to) d->to = last / w + 1;
	}
}

static void start(decoder *d, cvf_huffman_tables *tables, void *scratch) {
	const struct jpeg_decompress_struct *info = &d->session->info;
	set_memory(d, scratch);
	for (int i = 0; i < d->count; i++) {
		cvf_dct *dct = &d->components[i].dct;
		set_quantization(dct, info->quant_tbl_ptrs[info->comp_info[i].quant_tbl_no]);
		d->kernels->prepare(dct);
	}
	set_columns(d);
	int blocks = 0;
	for (int i = 0; i < d->count; i++) blocks += d->components[i].h * d->components[i].v;
	cvf_huffman_start(d->huffman, d->session, blocks, tables);
}

// The rows of a block that are read, of blocks whose first row is row y of the component.
static cvf_dct_rows rows_read(const decoder *d, const component *c, int y) {
	unsigned rows = 0;
	for (int i = 0; i < c->dct.size; i++, y++) {
		int first = c->down * y, last = first + c->down - 1;
		if (c->fancy && c->down > 1) first--, last++;
		if (may_take(d, first, last)) rows |= 1u << i;
	}
	return cvf_dct_rows_of(c->dct.size, rows);
}

static uint8_t *row_of(const component *c, int y) {
	return c->plane + (ptrdiff_t)(y % (2 * c->band)) * c->stride + BEFORE;
}

// What lies beyond the edges is as the last samples before them.
static void extend_rows(const component *c, int y, unsigned rows) {
	for (; rows; rows >>= 1, y++) {
		uint8_t *row = row_of(c, y);
		row[-1] = row[0];
		row[c->width] = row[c->width - 1];
	}
}

// Finds what is to be done with the blocks of row m of MCUs. Returns whether anything is read.
static int set_places(decoder *d, int m) {
	int n = 0, any = 0;
	for (int i = 0; i < d->count; i++) {
		component *c = &d->components[i];
		for (int v = 0; v < c->v; v++) {
			int y = m * c->band + v * c->dct.size, w = c->h * c->dct.size;
			c->rows[v] = rows_read(d, c, y);
			any |= c->rows[v].count;
			for (int x = 0; x < c->h; x++)
				d->places[n++] = (cvf_huffman_place){
				    .component = i, .limit = c->rows[v].count ? last_of_use(c->dct.size) : -1, .apart = w,
				    .idct = d->kernels->idct(c->dct.size, &c->rows[v]), .dct = &c->dct, .rows = &c->rows[v], .dst = row_of(c, y) + d->from * w + x * c->dct.size,
				    .stride = c->stride,
				};
		}
	}
	return any;
}

// Every other block of a component with an even number of them in an MCU can be told by its place;
// of others, all in a row are kept.
static int sparse_step(const component *c) { return c->h % 2 ? 1 : 2; }

// Reads n MCUs of row m, from MCU x on.
static void read_mcus(decoder *d, int m, int x, int n, int kept) {
	const component *b = &d->components[d->bright];
	int step = sparse_step(b), apart = b->h / step, first = d->bright * d->components[0].h * d->components[0].v;
	for (int v = 0; d->means && v < b->v; v++) {
		if ((m * b->v + v) % 2) continue;
		for (int h = 0; h < b->h; h += step) {
			cvf_huffman_place *p = &d->places[first + v * b->h + h];
			p->means = d->dc + (v * d->mcus + x) * apart + h / step;
			p->means_apart = apart;
		}
	}
	cvf_huffman_read(d->huffman, d->places, n, kept);
}

// Makes the sparse means of row m of MCUs.
static void make_means(const decoder *d, int m) {
	const struct jpeg_decompress_struct *info = &d->session->info;
	const component *b = &d->components[d->bright];
	int w = ceil_div((int)info->image_width, 2 * DCTSIZE), h = ceil_div((int)info->image_height, DCTSIZE);
	int factor = info->quant_tbl_ptrs[info->comp_info[d->bright].quant_tbl_no]->quantval[0], step = sparse_step(b);
	for (int v = 0; v < b->v && m * b->v + v < h; v++)
		if ((m * b->v + v) % 2 == 0)
			cvf_means_of_dc(d->dc + v * d->mcus * (b->h / step), w, 3 - step, factor, d->means + (size_t)(m * b->v + v) / 2 * w);
}

// Reads row m of MCUs, and makes the samples that are read.
static void read_band(decoder *d, int m) {
	if (!set_places(d, m)) {
		read_mcus(d, m, 0, d->mcus, 0);
		return;
	}
	read_mcus(d, m, 0, d->from, 0);
	read_mcus(d, m, d->from, d->to - d->from, 1);
	read_mcus(d, m, d->to, d->mcus - d->to, 0);
	for (int i = 0; i < d->count; i++) {
		const component *c = &d->components[i];
		for (int v = 0; v < c->v && c->fancy && c->across > 1; v++)
			extend_rows(c, m * c->band + v * c->dct.size, c->rows[v].mask);
	}
}

// Returns the row before which all can be made after row m of MCUs.
static int ready(const decoder *d, int m) {
	if (m == d->mcu_rows - 1) return d->height;
	int end = d->height;
	for (int i = 0; i < d->count; i++) {
		const component *c = &d->components[i];
		int rows = c->down * c->band * (m + 1) - (c->fancy && c->down > 1); // the last one needs the next band
		if (rows < end) end = rows;
	}
	return end;
}

// The row of samples that counts less for row y of the picture.
static int far_row(const component *c, int y) {
	int near = y / c->down, far = y & 1 ? near + 1 : near - 1;
	if (!c->fancy || c->down == 1) return near;
	return far < 0 ? 0 : far > c->height - 1 ? c->height - 1 : far;
}

// Returns the samples of a component for row y of the picture, from column left to before
// right.
static const uint8_t *upsampled(const decoder *d, const component *c, int y, int left, int right) {
	int x = left / c->across, n = ceil_div(right, c->across) - x;
	const uint8_t *a = row_of(c, y / c->down) + x, *b = row_of(c, far_row(c, y)) + x;
	if (c->across == 1 && !c->fancy) return a;
	if (c->across == 1)
		d->kernels->h1v2(a, b, y & 1 ? 2 : 1, n, c->wide);
	else if (!c->fancy)
		for (int i = 0; i < 2 * n; i++) c->wide[i] = a[i / 2];
	else if (c->down == 1)
		d->kernels->h2v1(a, n, c->wide);
	else
		d->kernels->h2v2(a, b, n, c->wide);
	return c->wide + left - x * c->across;
}

// Returns every across-th of these, n of them.
static const uint8_t *thinned(const decoder *d, const component *c, int y, int left, int right, int across, int n) {
	if (across == 3 && c->fancy && c->across == 2 && c->down == 2)
		d->kernels->h2v2_third(row_of(c, y / 2) + left / 2, row_of(c, far_row(c, y)) + left / 2, left & 1, n, c->thin);
	else
		d->kernels->thin(upsampled(d, c, y, left, right), across, n, c->thin);
	return c->thin;
}

// Makes the pixels of row y from column left to before right. Of these, every across-th is
// made.
static void make_pixels(const decoder *d, int y, int left, int right, int across) {
	const uint8_t *samples[COMPONENTS] = {0};
	int n = ceil_div(right - left, across);
	for (int i = 0; i < COMPONENTS; i++) {
		const component *c = &d->components[i];
		if (i >= d->count)
			samples[i] = samples[0];
		else
			samples[i] = across > 1 ? thinned(d, c, y, left, right, across, n) : upsampled(d, c, y, left, right);
	}
	(d->count == 1 || d->rgb ? d->kernels->rgb : d->kernels->ycc)(samples[0], samples[1], samples[2], n, d->pixels);
	if (d->mask) cvf_mask_row(d->mask, y, left, right, across, d->pixels);
}

// Makes row y, and gives it to the sinks that take it.
static void make_row(const decoder *d, int y) {
	int left = INT_MAX, right = 0, takers = 0;
	cvf_sink *last = NULL;
	for (int i = 0; i < d->sink_count; i++) {
		cvf_sink *s = d->sinks[i];
		if (s->next != y) continue;
		if (s->left < left) left = s->left;
		if (s->right > right) right = s->right;
		last = s;
		takers++;
	}
	if (takers == 1 && last->across > 1) {
		make_pixels(d, y, left, right, last->across);
		last->take_picked(last, d->pixels);
		return;
	}
	make_pixels(d, y, left, right, 1);
	for (int i = 0; i < d->sink_count; i++) {
		cvf_sink *s = d->sinks[i];
		if (s->next == y) s->take(s, d->pixels + 4 * (ptrdiff_t)(s->left - left));
	}
}

void cvf_decode_rows(cvf_session *s, const cvf_decode_kernels *kernels, int eighths, cvf_sink *const *sinks,
                     int count, const cvf_mask *mask, uint8_t *means, cvf_huffman_tables *tables, void *scratch) {
	decoder d = {.session = s, .kernels = kernels, .sinks = sinks, .sink_count = count, .mask = mask};
	if (!set_picture(&d, &s->info, eighths)) cvf_session_fail(s, "this is of another kind");
	if (cvf_decode_has_means(&s->info)) d.means = means;
	start(&d, tables, scratch);
	for (int m = 0; m < d.mcu_rows; m++) {
		cvf_session_check_cost(s);
		read_band(&d, m);
		if (d.means) make_means(&d, m);
		for (int y, end = ready(&d, m); (y = next_row(&d)) < end;) make_row(&d, y);
	}
	cvf_huffman_end(d.huffman);
}
