#ifndef CVF_AREA_H
#define CVF_AREA_H

#include "sink.h"

// The sink that resizes as cv::resize does with INTER_AREA where it enlarges neither side, bit
// for bit: the mean of whole pixels, in integers, where both sides are divided by whole
// numbers, and otherwise of parts of pixels, in floats. See sink.h for the two functions.
size_t cvf_area_scratch(const cvf_resize *r);
cvf_sink *cvf_area_start(const cvf_resize *r, void *scratch);

#endif
