#include "cv.h"

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

static cv::Mat mat(const cvf_matrix *m) {
	return cv::Mat(m->height, m->width, CV_MAKETYPE(m->floats ? CV_32F : CV_8U, m->channels), m->p, m->stride);
}

// into calls make with src's and dst's matrices. No exception leaves it: they cannot pass
// through C.
template <typename F> static int into(const cvf_matrix *src, const cvf_matrix *dst, F make) {
	try {
		cv::Mat out = mat(dst);
		make(mat(src), out);
		return out.data == dst->p ? 0 : cv::Error::StsUnmatchedSizes; // it has allocated its own
	} catch (const cv::Exception &e) {
		return e.code;
	} catch (const std::bad_alloc &) {
		return cv::Error::StsNoMem;
	}
}

int cvf_cv_resize(const cvf_matrix *src, const cvf_matrix *dst, int how) {
	static const int flags[] = {cv::INTER_NEAREST, cv::INTER_LINEAR, cv::INTER_CUBIC, cv::INTER_AREA};
	return into(src, dst, [&](const cv::Mat &s, cv::Mat &d) { cv::resize(s, d, d.size(), 0, 0, flags[how]); });
}

int cvf_cv_gray(const cvf_matrix *src, const cvf_matrix *dst) {
	return into(src, dst, [](const cv::Mat &s, cv::Mat &d) { cv::cvtColor(s, d, cv::COLOR_BGR2GRAY); });
}

int cvf_cv_convert(const cvf_matrix *src, const cvf_matrix *dst) {
	return into(src, dst, [](const cv::Mat &s, cv::Mat &d) { s.convertTo(d, d.type()); });
}

int cvf_cv_remap(const cvf_matrix *src, const cvf_matrix *dst, const int16_t *xy, const uint16_t *parts) {
	return into(src, dst, [&](const cv::Mat &s, cv::Mat &d) {
		cv::Mat whole(d.rows, d.cols, CV_16SC2, const_cast<int16_t *>(xy));
		cv::Mat part(d.rows, d.cols, CV_16UC1, const_cast<uint16_t *>(parts));
		cv::remap(s, d, whole, part, cv::INTER_LINEAR, cv::BORDER_CONSTANT, cv::Scalar());
	});
}

void cvf_cv_threads(int n) { cv::setNumThreads(n); }

const char *cvf_cv_version(void) { return CV_VERSION; }
