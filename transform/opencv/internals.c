#define JPEG_INTERNALS // to look at what it declares
#include "internals.h"

#include <string.h>

#include "idct.h"
#include "session.h"

typedef void (*function)(void);

#if CVF_INTERNALS_KNOWN

#include <jerror.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "huffman.c reads words of the data as little-endian");
_Static_assert(sizeof(JCOEF) == 2 && sizeof(JBLOCK) == 64 * sizeof(JCOEF), "coefficients of another type");
_Static_assert(offsetof(struct jpeg_entropy_decoder, decode_mcu) == sizeof(function), "decode_mcu has moved");
_Static_assert(offsetof(struct jpeg_inverse_dct, inverse_DCT) == sizeof(function), "inverse_DCT has moved");
#ifdef WITH_SIMD
_Static_assert(sizeof(MULTIPLIER) == 2, "idct.c multiplies with quantization of 16 bits");
#endif

// What is seen of a picture whose decode has begun.
typedef struct {
	int eighths;
	int progressive;
	function start_pass, decode_mcu;
	function idct[3];
} look;

// The library that is linked may not be of the headers' version. It has checked that it
// is of the same ABI and has public structs of the same size, but knows no number of
// its version to compare. Its list of messages gets longer when features come.
static void check_version(cvf_session *s) {
	if (s->errors.last_jpeg_message != JMSG_LASTMSGCODE - 1)
		cvf_session_fail(s, "the linked library is of another version than the headers");
}

// The inverse DCT's factors are the quantization, in the same order.
static void check_factors(cvf_session *s, const jpeg_component_info *component) {
	const MULTIPLIER *factors = component->dct_table;
	for (int i = 0; i < DCTSIZE2; i++)
		if (factors[i] != component->quant_table->quantval[i])
			cvf_session_fail(s, "the factors of the inverse DCT are not the quantization");
}

static void take_a_look(cvf_session *s, void *p) {
	look *l = p;
	j_decompress_ptr info = &s->info;
	check_version(s);
	jpeg_read_header(info, TRUE);
	info->dct_method = JDCT_ISLOW;
	info->scale_num = l->eighths;
	info->scale_denom = 8;
	jpeg_start_decompress(info);
	if (info->num_components != 3 || info->comp_info[0].h_samp_factor != 2 || info->comp_info[0].v_samp_factor != 2 ||
	    info->progressive_mode != l->progressive)
		cvf_session_fail(s, "the header of a known picture is read as another one");
	l->start_pass = (function)info->entropy->start_pass;
	l->decode_mcu = (function)info->entropy->decode_mcu;
	for (int c = 0; c < 3; c++) {
		l->idct[c] = (function)info->idct->inverse_DCT[c];
		check_factors(s, &info->comp_info[c]);
	}
}

int cvf_internals_find(cvf_internals *internals, const uint8_t *baseline, size_t baseline_size,
                       const uint8_t *progressive, size_t progressive_size, char *message) {
	cvf_session s;
	look full = {.eighths = 8}, half = {.eighths = 4}, other = {.eighths = 8, .progressive = 1};
	*internals = (cvf_internals){0};
	if (cvf_session_run(&s, baseline, baseline_size, message, take_a_look, &full) ||
	    cvf_session_run(&s, baseline, baseline_size, message, take_a_look, &half) ||
	    cvf_session_run(&s, progressive, progressive_size, message, take_a_look, &other))
		return 1;
	// Huffman codes have one function for all baseline pictures, and others for
	// progressive ones.
	if (!full.decode_mcu || !full.start_pass || full.decode_mcu == full.start_pass ||
	    full.decode_mcu != half.decode_mcu || full.start_pass != half.start_pass ||
	    full.decode_mcu == other.decode_mcu || full.start_pass == other.start_pass) {
		snprintf(message, CVF_MESSAGE, "the Huffman decoder is not where it is expected");
		return 1;
	}
	// At half the size the luma becomes 4x4 pixels a block, while the chroma, of which
	// 4:2:0 has half as much, still becomes 8x8.
	function whole = full.idct[0];
	if (!whole || full.idct[1] != whole || full.idct[2] != whole || !half.idct[0] || half.idct[0] == whole ||
	    half.idct[1] != whole || half.idct[2] != whole) {
		snprintf(message, CVF_MESSAGE, "the inverse DCT is not where it is expected");
		return 1;
	}
	internals->decode_mcu = full.decode_mcu;
	if (cvf_idct_runs()) internals->idct_4x4 = half.idct[0];
	return 0;
}

#else

int cvf_internals_find(cvf_internals *internals, const uint8_t *baseline, size_t baseline_size,
                       const uint8_t *progressive, size_t progressive_size, char *message) {
	(void)baseline, (void)baseline_size, (void)progressive, (void)progressive_size;
	*internals = (cvf_internals){0};
	snprintf(message, CVF_MESSAGE, "its internals are not known for this version and processor");
	return 1;
}

#endif
