#ifndef CVF_CUBIC_H
#define CVF_CUBIC_H

#include "sink.h"

// The sink that resizes as cv::resize does with INTER_CUBIC where the channels are floats, and
// rounds its result, bit for bit. See sink.h for the two functions.
size_t cvf_cubic_scratch(const cvf_resize *r);
cvf_sink *cvf_cubic_start(const cvf_resize *r, void *scratch);

#endif
