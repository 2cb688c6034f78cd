#ifndef CVF_LINEAR_H
#define CVF_LINEAR_H

#include "sink.h"

// The sink that resizes as cv::resize does, bit for bit, where each pixel of the result is
// made of one pixel of the picture, of two by two neighbours with weights of 11 bits, or of
// four as their mean: for INTER_NEAREST, INTER_LINEAR, and INTER_AREA where it enlarges or
// halves. It also copies. See sink.h for the two functions.
size_t cvf_linear_scratch(const cvf_resize *r);
cvf_sink *cvf_linear_start(const cvf_resize *r, void *scratch);

#endif
