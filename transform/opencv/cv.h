#pragma once
#include <stddef.h>
#include <stdint.h>

// What is used of OpenCV, which has an interface for C++ only.

#ifdef __cplusplus
extern "C" {
#endif

// A cvf_matrix is a picture in memory that OpenCV uses where it is: uint8, or float32, with
// 1 or 3 channels. Rows are stride bytes apart.
typedef struct {
	void *p;
	int width, height, channels, floats;
	size_t stride;
} cvf_matrix;

enum { CVF_CV_NEAREST, CVF_CV_LINEAR, CVF_CV_CUBIC, CVF_CV_AREA };

// The functions write to dst. They return 0, or what OpenCV's cv::Error::Code calls the error.

// cvf_cv_resize resizes to dst's size.
int cvf_cv_resize(const cvf_matrix *src, const cvf_matrix *dst, int how);
// cvf_cv_gray converts BGR.
int cvf_cv_gray(const cvf_matrix *src, const cvf_matrix *dst);
// cvf_cv_convert converts uint8 to float32, or back with rounding and saturation.
int cvf_cv_convert(const cvf_matrix *src, const cvf_matrix *dst);

// cvf_cv_remap makes each pixel of dst from src, between its pixels, at where the table says: see
// transform.RemapTable. What lies outside is black.
int cvf_cv_remap(const cvf_matrix *src, const cvf_matrix *dst, const int16_t *xy, const uint16_t *parts);

// cvf_cv_threads sets how many threads OpenCV uses, for the whole process.
void cvf_cv_threads(int n);
const char *cvf_cv_version(void);

#ifdef __cplusplus
}
#endif
