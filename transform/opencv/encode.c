#include "encode.h"

#include <stdlib.h>
#include <string.h>

#include <webp/encode.h>

typedef struct {
	struct jpeg_compress_struct info; // first: libjpeg hands callbacks its address
	struct jpeg_error_mgr errors;
	char *message;
	jmp_buf back;
} session;

static void fail(j_common_ptr info) {
	session *s = (session *)info;
	char text[JMSG_LENGTH_MAX];
	info->err->format_message(info, text);
	snprintf(s->message, CVF_MESSAGE, "%s", text);
	longjmp(s->back, 1);
}

static void ignore(j_common_ptr info, int level) {
	(void)info;
	(void)level;
}

int cvf_encode_jpeg(const cvf_encoding *e, uint8_t **out, size_t *size, char message[CVF_MESSAGE]) {
	session s;
	unsigned char *buffer = NULL;
	unsigned long length = 0;
	memset(&s, 0, sizeof s);
	s.message = message;
	s.info.err = jpeg_std_error(&s.errors);
	s.errors.error_exit = fail;
	s.errors.emit_message = ignore;
	jpeg_create_compress(&s.info);
	if (setjmp(s.back)) {
		jpeg_destroy_compress(&s.info);
		free(buffer);
		return 1;
	}
	jpeg_mem_dest(&s.info, &buffer, &length);
	s.info.image_width = e->w;
	s.info.image_height = e->h;
	s.info.input_components = e->channels;
	s.info.in_color_space = e->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
	jpeg_set_defaults(&s.info);
	jpeg_set_quality(&s.info, e->quality, TRUE);
	jpeg_start_compress(&s.info, TRUE);
	while (s.info.next_scanline < s.info.image_height) {
		JSAMPROW row = (JSAMPROW)(e->pixels + (size_t)s.info.next_scanline * e->w * e->channels);
		jpeg_write_scanlines(&s.info, &row, 1);
	}
	jpeg_finish_compress(&s.info);
	jpeg_destroy_compress(&s.info);
	*out = buffer;
	*size = length;
	return 0;
}

int cvf_encode_webp(const cvf_encoding *e, uint8_t **out, size_t *size, char message[CVF_MESSAGE]) {
	const uint8_t *rgb = e->pixels;
	uint8_t *copied = NULL;
	if (e->channels == 1) { // WebP has no gray
		size_t n = (size_t)e->w * e->h;
		rgb = copied = malloc(3 * n);
		if (!copied) {
			snprintf(message, CVF_MESSAGE, "out of memory");
			return 1;
		}
		for (size_t i = 0; i < n; i++) memset(copied + 3 * i, e->pixels[i], 3);
	}
	*size = WebPEncodeRGB(rgb, e->w, e->h, 3 * e->w, (float)e->quality, out);
	free(copied);
	if (*size == 0) {
		snprintf(message, CVF_MESSAGE, "libwebp has failed: too little memory, or a side longer than %d pixels", WEBP_MAX_DIMENSION);
		return 1;
	}
	return 0;
}
