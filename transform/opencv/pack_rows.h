// The packing of one type of elements. This file is included once for each: T is the type,
// NAME the prefix of its functions, and VALUE(c, v) the element for a pixel v of channel c,
// by means of table.

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define FUNCTION(suffix) JOIN(NAME, suffix)

// Inlined, so that the compiler makes a variant wherever step and first are constants.
static inline __attribute__((always_inline)) void FUNCTION(_row)(
    const uint8_t *restrict s, int step, int w, int first, const T *restrict table,
    T *restrict d0, T *restrict d1, T *restrict d2, int apart) {
	(void)table;
	for (int x = 0; x < w; x++) {
		d0[x * apart] = VALUE(0, s[x * step + first]);
		d1[x * apart] = VALUE(1, s[x * step + 1]);
		d2[x * apart] = VALUE(2, s[x * step + 2 - first]);
	}
}

// A row of three channels, from pixels side by side to a plane for each channel.
CVF_CLONES static void FUNCTION(_row_planar)(const uint8_t *s, int w, int reverse,
                                             const T *table, T *d, size_t plane) {
	if (reverse)
		FUNCTION(_row)(s, 3, w, 2, table, d, d + plane, d + 2 * plane, 1);
	else
		FUNCTION(_row)(s, 3, w, 0, table, d, d + plane, d + 2 * plane, 1);
}

// A row of three channels, to elements side by side.
CVF_CLONES static void FUNCTION(_row_interleaved)(const uint8_t *s, int step, int w, int reverse,
                                                  const T *table, T *d) {
	if (step == 3 && reverse)
		FUNCTION(_row)(s, 3, w, 2, table, d, d + 1, d + 2, 3);
	else if (step == 3)
		FUNCTION(_row)(s, 3, w, 0, table, d, d + 1, d + 2, 3);
	else
		FUNCTION(_row)(s, step, w, reverse ? 2 : 0, table, d, d + 1, d + 2, 3);
}

// A row of one channel.
CVF_CLONES static void FUNCTION(_row_single)(const uint8_t *restrict s, int step, int w,
                                             const T *restrict table, T *restrict d) {
	(void)table;
	for (int x = 0; x < w; x++) d[x] = VALUE(0, s[x * step]);
}

// n pixels of padding, in one plane.
CVF_CLONES static void FUNCTION(_fill)(T *d, size_t n, T value) {
	for (size_t i = 0; i < n; i++) d[i] = value;
}

// n pixels of padding of three channels side by side.
CVF_CLONES static void FUNCTION(_fill_interleaved)(T *d, size_t n, T v0, T v1, T v2) {
	for (size_t i = 0; i < n; i++) {
		d[3 * i] = v0;
		d[3 * i + 1] = v1;
		d[3 * i + 2] = v2;
	}
}

// The padding of one plane.
static void FUNCTION(_pad)(const cvf_pack_job *j, T pad, T *d) {
	size_t end = (size_t)(j->top + j->h) * j->tw;
	FUNCTION(_fill)(d, (size_t)j->top * j->tw, pad);
	for (int y = j->top; y < j->top + j->h; y++) {
		T *row = d + (size_t)y * j->tw;
		FUNCTION(_fill)(row, j->left, pad);
		FUNCTION(_fill)(row + j->left + j->w, j->tw - j->left - j->w, pad);
	}
	FUNCTION(_fill)(d + end, (size_t)j->tw * j->th - end, pad);
}

// The padding of three channels side by side.
static void FUNCTION(_pad_interleaved)(const cvf_pack_job *j, const T *table, T *dst) {
	(void)table;
	T v0 = VALUE(0, j->pad), v1 = VALUE(1, j->pad), v2 = VALUE(2, j->pad);
	size_t right = j->tw - j->left - j->w, bottom = j->th - j->top - j->h;
	FUNCTION(_fill_interleaved)(dst, (size_t)j->top * j->tw, v0, v1, v2);
	for (int y = j->top; y < j->top + j->h; y++) {
		T *row = dst + 3 * (size_t)y * j->tw;
		FUNCTION(_fill_interleaved)(row, j->left, v0, v1, v2);
		FUNCTION(_fill_interleaved)(row + 3 * (j->left + j->w), right, v0, v1, v2);
	}
	FUNCTION(_fill_interleaved)(dst + 3 * (size_t)(j->top + j->h) * j->tw, bottom * j->tw, v0, v1, v2);
}

// row does the same as FUNCTION(_row_planar): for the rows of three channels.
static void FUNCTION(_planar)(const cvf_pack_job *j, const T *table, T *dst,
                              void (*row)(const uint8_t *, int, int, const T *, T *, size_t)) {
	size_t plane = (size_t)j->tw * j->th;
	for (int c = 0; c < j->channels && !j->padded; c++)
		FUNCTION(_pad)(j, VALUE(c, j->pad), dst + c * plane);
	for (int y = 0; y < j->h; y++) {
		const uint8_t *s = j->src + y * j->stride;
		T *d = dst + (size_t)(j->top + y) * j->tw + j->left;
		if (j->channels == 1)
			FUNCTION(_row_single)(s, j->step, j->w, table, d);
		else if (j->step == 3)
			row(s, j->w, j->reverse, table, d, plane);
		else
			for (int x = 0; x < j->w; x += CVF_GATHERED) {
				uint8_t pixels[3 * CVF_GATHERED];
				int n = j->w - x < CVF_GATHERED ? j->w - x : CVF_GATHERED;
				cvf_gather(s + (ptrdiff_t)x * j->step, j->step, n, pixels);
				row(pixels, n, j->reverse, table, d + x, plane);
			}
	}
}

static void FUNCTION(_interleaved)(const cvf_pack_job *j, const T *table, T *dst) {
	if (!j->padded) FUNCTION(_pad_interleaved)(j, table, dst);
	for (int y = 0; y < j->h; y++)
		FUNCTION(_row_interleaved)(j->src + y * j->stride, j->step, j->w, j->reverse, table,
		                           dst + 3 * ((size_t)(j->top + y) * j->tw + j->left));
}

static void NAME(const cvf_pack_job *j, const T *table, T *dst) {
	if (j->planar || j->channels == 1)
		FUNCTION(_planar)(j, table, dst, FUNCTION(_row_planar));
	else
		FUNCTION(_interleaved)(j, table, dst);
}

#undef JOIN_
#undef JOIN
#undef FUNCTION
#undef T
#undef NAME
#undef VALUE
