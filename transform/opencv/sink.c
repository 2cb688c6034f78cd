#include "sink.h"

#include "linear.h"

size_t cvf_sink_scratch(const cvf_resize *r) { return cvf_linear_scratch(r); }

cvf_sink *cvf_sink_start(const cvf_resize *r, void *scratch) { return cvf_linear_start(r, scratch); }
