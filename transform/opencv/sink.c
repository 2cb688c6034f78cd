#include "sink.h"

#include "area.h"
#include "cubic.h"
#include "kernels.h"
#include "linear.h"
#include "pack.h"
#include "pillow.h"
#include "torch.h"

// The functions of a sink.
typedef struct {
	size_t (*scratch)(const cvf_resize *r);
	cvf_sink *(*start)(const cvf_resize *r, void *scratch);
} maker;

static const maker linear = {cvf_linear_scratch, cvf_linear_start};
static const maker area = {cvf_area_scratch, cvf_area_start};
static const maker cubic = {cvf_cubic_scratch, cvf_cubic_start};
static const maker torch = {cvf_torch_scratch, cvf_torch_start};
static const maker pillow = {cvf_pillow_scratch, cvf_pillow_start};

// Returns the job with what is in effect another way to resize.
static cvf_resize simplified(const cvf_resize *r) {
	cvf_resize s = *r;
	if (r->w == r->full_w && r->h == r->full_h) s.kind = CVF_COPY;
	return s;
}

static const maker *maker_of(const cvf_resize *r) {
	switch (r->kind) {
	case CVF_TORCH_BILINEAR:
	case CVF_TORCH_BICUBIC:
		return r->floats ? &torch : &pillow;
	case CVF_BILINEAR:
	case CVF_BICUBIC:
	case CVF_LANCZOS:
		return &pillow;
	case CVF_CUBIC:
		return &cubic;
	case CVF_AREA:
		// OpenCV enlarges with the weights of two neighbours. The mean of four is rounded up.
		if (r->full_w > r->w || r->full_h > r->h || (r->w == 2 * r->full_w && r->h == 2 * r->full_h)) return &linear;
		return &area;
	}
	return &linear;
}

size_t cvf_sink_scratch(const cvf_resize *r) {
	cvf_resize s = simplified(r);
	return maker_of(&s)->scratch(&s);
}

cvf_sink *cvf_sink_start(const cvf_resize *r, void *scratch) {
	cvf_resize s = simplified(r);
	return maker_of(&s)->start(&s, scratch);
}

// What a feed works with.
typedef struct {
	uint8_t *bgr, *row; // a row of three bytes a pixel, and of four
	cvf_sink **sinks;
	uintptr_t next; // where the sinks' memory begins
	size_t bytes;
} feed;

static feed lay_out(const cvf_feed *f, void *scratch) {
	feed p;
	uintptr_t next = (uintptr_t)scratch;
	p.bgr = cvf_sink_reserve(&next, 3 * (size_t)f->w + CVF_SINK_BEHIND);
	p.row = cvf_sink_reserve(&next, 4 * (size_t)f->w + CVF_SINK_BEHIND);
	p.sinks = cvf_sink_reserve(&next, f->count * sizeof *p.sinks);
	p.next = next;
	for (int i = 0; i < f->count; i++) cvf_sink_reserve(&next, cvf_sink_scratch(&f->resizes[i]));
	p.bytes = next - (uintptr_t)scratch;
	return p;
}

size_t cvf_feed_scratch(int w, const cvf_resize *resizes, int count) {
	return lay_out(&(cvf_feed){.w = w, .resizes = resizes, .count = count}, NULL).bytes;
}

// Makes pixels of four bytes of a row.
static void convert(const cvf_feed *f, const feed *p, const uint8_t *src) {
	const cvf_resize_kernels *k = cvf_kernels_best()->resize;
	switch (f->channels) {
	case 1:
		k->weave((const uint8_t *[]){src, src, src, src}, f->w, p->row);
		return;
	case 4:
		cvf_cmyk_to_bgr(src, p->bgr, f->w);
		src = p->bgr;
	}
	k->to_four(src, f->w, p->row);
}

void cvf_feed_run(const cvf_feed *f, void *scratch) {
	feed p = lay_out(f, scratch);
	for (int i = 0; i < f->count; i++) {
		const cvf_resize *r = &f->resizes[i];
		p.sinks[i] = cvf_sink_start(r, cvf_sink_reserve(&p.next, cvf_sink_scratch(r)));
	}
	for (int y = 0; y < f->h; y++) {
		int converted = 0;
		for (int i = 0; i < f->count; i++) {
			cvf_sink *s = p.sinks[i];
			if (s->next != y) continue;
			if (!converted++) convert(f, &p, f->pixels + y * f->stride);
			s->take(s, p.row + 4 * (size_t)s->left);
		}
	}
}
