#ifndef CVF_LINEAR_H
#define CVF_LINEAR_H

#include "sink.h"

// The sink that resizes by linear interpolation. The result is that of cv::resize with
// INTER_LINEAR, bit for bit: with weights of 11 bits, or as the mean of four pixels where
// both sides are halved. See sink.h for the two functions.
size_t cvf_linear_scratch(const cvf_resize *r);
cvf_sink *cvf_linear_start(const cvf_resize *r, void *scratch);

#endif
